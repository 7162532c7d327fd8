"""What becomes of a write that fails: a warning, another attempt, and at the third failure in a row the end."""

import pytest

from charrnn.errors import OutputError
from charrnn.training import event
from charrnn.training.saving import Saver


class Disk:
    """Fails at the attempts it is told to, counted from 1."""

    def __init__(self, *failing):
        self.failing, self.num_attempts = failing, 0

    def write(self):
        self.num_attempts += 1
        if self.num_attempts in self.failing:
            raise OutputError("no room")


def attempts(disk, count, *, what="the model", saver=None):
    saver = saver or Saver(writes=True)
    return [list(saver.attempt(disk.write, what, step=step)) for step in range(1, count + 1)]


def test_a_write_that_succeeds_says_nothing():
    assert attempts(Disk(), 3) == [[], [], []]


def test_a_failure_is_told_with_what_and_when_and_the_run_goes_on():
    assert attempts(Disk(2), 3) == [
        [],
        [event.Warned("the model could not be saved at step 2: no room; training goes on")],
        [],
    ]


def test_the_third_failure_in_a_row_ends_the_run():
    disk = Disk(1, 2, 4, 5, 6)
    saver = Saver(writes=True)
    assert [len(told) for told in attempts(disk, 5, saver=saver)] == [1, 1, 0, 1, 1]
    with pytest.raises(OutputError, match="no room"):
        attempts(disk, 1, saver=saver)


def test_failures_of_one_thing_are_not_those_of_another():
    saver = Saver(writes=True)
    for _ in range(2):
        attempts(Disk(1), 1, what="the model", saver=saver)
        attempts(Disk(1), 1, what="the training state", saver=saver)
    assert saver.has_failed("the model")
    assert attempts(Disk(), 1, what="the model", saver=saver) == [[]]
    assert not saver.has_failed("the model")
    assert saver.has_failed("the training state")
    assert not saver.has_failed("something else")


def test_a_process_that_does_not_write_never_tries():
    disk = Disk(1)
    assert attempts(disk, 3, saver=Saver(writes=False)) == [[], [], []]
    assert disk.num_attempts == 0
