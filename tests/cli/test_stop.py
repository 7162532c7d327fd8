"""Runs stopped by a signal, as a person or a scheduler stops them, and resumed to the very same end."""

import os
import signal
from functools import cache

import pytest
from cells import OPTIONS
from command import end_of, run, start, wait_for
from tiny_run import files_of

from charrnn.cli.signals import stop_on_signals

SETTINGS = "--hidden-size 8 --batch-size 2 --bptt 5 --dropout 0.1 --steps 300 --eval-every 2 --patience 999 --threads 1"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory for all runs here, and the text they learn from: where it lies stands in their files."""
    directory = tmp_path_factory.mktemp("stop")
    (directory / "play.txt").write_text("to be or not to be, that is the question\n" * 40)
    return directory


@pytest.fixture(scope="module")
def straight(place):
    """Gives the files of a run of a cell that was never stopped."""

    @cache
    def files(cell):
        code, _, err = run(*arguments(cell, f"straight-{cell}"), cwd=place)
        assert code == 0, err
        return files_of(place / "checkpoints" / f"straight-{cell}")

    return files


def arguments(cell, name):
    return ["train", "play.txt", *OPTIONS[cell], *SETTINGS.split(), "--name", name]


def started(place, cell, name, *, num_evaluations):
    """A run that is under way: it writes more than its pipe holds, so it cannot end before it is read."""
    process = start(*arguments(cell, name), cwd=place, pipesize=4096)
    wait_for(process, "step ", count=num_evaluations)
    return process


def resumed(place, name):
    """The files of a run that was stopped, resumed and has ended."""
    code, _, err = run("train", "--resume", f"checkpoints/{name}", cwd=place)
    assert code == 0, err
    assert "not bit for bit" not in err
    return files_of(place / "checkpoints" / name)


@pytest.mark.long
@pytest.mark.parametrize(
    ("cell", "number", "code"),
    [
        ("rnn", signal.SIGINT, 130),
        ("lstm", signal.SIGTERM, 143),
        ("gru", signal.SIGHUP, 129),
        ("gru", signal.SIGINT, 130),
        ("gru-before", signal.SIGTERM, 143),
    ],
)
def test_a_signalled_run_saves_and_resumes_as_if_never_stopped(place, straight, cell, number, code):
    name = f"signalled-{cell}-{code}"
    process = started(place, cell, name, num_evaluations=1)
    process.send_signal(number)
    ended = end_of(process)
    assert ended.code == code
    assert f"go on with: charrnn train --resume {name}\n" in ended.err
    assert "until it was stopped" in ended.out
    assert resumed(place, name) == straight(cell)


def test_a_hangup_that_nohup_ignores_does_not_stop_a_run():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as request, request.saving():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not request()
            os.kill(os.getpid(), signal.SIGTERM)
            assert request()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_at_once_and_harms_no_file(place, straight):
    process = started(place, "gru", "twice", num_evaluations=2)  # the second comes after the first was saved
    process.send_signal(signal.SIGSTOP)  # both signals are there when it goes on
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert end_of(process).code in (130, 143)
    assert resumed(place, "twice") == straight("gru")


@pytest.mark.long
def test_a_killed_run_resumes_from_its_last_save_to_the_same_end(place, straight):
    process = started(place, "gru", "killed", num_evaluations=2)
    process.kill()
    assert end_of(process).code == -signal.SIGKILL
    assert resumed(place, "killed") == straight("gru")
