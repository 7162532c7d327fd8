"""How long a run is, and when it evaluates."""

import time

import pytest

from charrnn.training.plan import Clock, Plan, Speed
from charrnn.training.settings import TrainingSettings
from charrnn.training.world import ALONE, World

RECIPE = {"batch_size": 2, "bptt": 7, "learning_rate": 0.01}


def plan_of(*, windows_per_epoch=10, **length):
    return Plan(TrainingSettings(**RECIPE, **length), windows_per_epoch=windows_per_epoch)


def fixed(plan, *, step=20, seconds=5.0, seconds_per_step=0.01, evaluation_seconds=0.5, final=1.0, world=ALONE):
    return plan.fix(
        step, speed=Speed(seconds, seconds_per_step, evaluation_seconds, final * evaluation_seconds), world=world
    )


@pytest.mark.parametrize(
    ("length", "num_steps"),
    [({"steps": 7}, 7), ({"epochs": 2.5}, 25), ({"epochs": 0.26}, 3), ({"epochs": 0.001}, 1), ({"minutes": 1.0}, None)],
    ids=str,
)
def test_the_length_comes_from_steps_or_passes_over_the_text(length, num_steps):
    assert plan_of(**length).num_steps == num_steps


@pytest.mark.parametrize(("num_steps", "eval_every"), [(1, 1), (19, 1), (20, 1), (21, 2), (2000, 100)])
def test_a_run_is_evaluated_some_twenty_times(num_steps, eval_every):
    told = plan_of(steps=num_steps).announce()
    assert (told.num_steps, told.eval_every, told.seconds_per_step) == (num_steps, eval_every, 0.0)


def test_a_distance_between_evaluations_that_is_given_stays():
    assert plan_of(steps=2000, eval_every=7).announce().eval_every == 7
    assert fixed(plan_of(minutes=1.0, eval_every=7)).eval_every == 7


def test_what_is_not_planned_cannot_be_announced():
    with pytest.raises(ValueError, match="not planned"):
        plan_of(minutes=1.0).announce()


def test_an_evaluation_is_due_at_its_distance_and_at_the_end():
    plan = plan_of(steps=14, eval_every=4)
    assert [step for step in range(1, 15) if plan.is_evaluation_due(step)] == [4, 8, 12, 14]
    assert not any(plan_of(minutes=1.0, eval_every=4).is_evaluation_due(step) for step in range(1, 15))


@pytest.mark.parametrize(
    ("minutes", "num_measured", "seconds", "is_measured"),
    [
        (60.0, 10, 5.0, True),
        (60.0, 9, 100.0, False),
        (60.0, 1000, 4.9, False),
        (0.1, 10, 0.31, True),  # a twentieth of six seconds
        (0.1, 10, 0.29, False),
    ],
)
def test_the_speed_is_measured_over_some_updates_and_some_seconds(minutes, num_measured, seconds, is_measured):
    assert plan_of(minutes=minutes).is_measured(num_measured, seconds) == is_measured


@pytest.mark.parametrize(
    ("minutes", "step", "seconds_per_step", "evaluation_seconds", "final"),
    [(1.0, 20, 0.01, 0.5, 1.0), (15.0, 400, 0.05, 2.0, 6.0), (5.0, 11, 0.2, 0.01, 1.0)],
)
def test_updates_evaluations_and_the_final_score_fit_into_the_minutes(
    minutes, step, seconds_per_step, evaluation_seconds, final
):
    told = fixed(
        plan_of(minutes=minutes),
        step=step,
        seconds_per_step=seconds_per_step,
        evaluation_seconds=evaluation_seconds,
        final=final,
    )
    num_evaluations = -(-told.num_steps // told.eval_every) - step // told.eval_every
    taken = 5.0 + (told.num_steps - step) * seconds_per_step + (num_evaluations + final) * evaluation_seconds
    # A margin of 4 %, and an evaluation more or less where the distance does not divide the length.
    assert 0.94 * 60 * minutes - 2 * evaluation_seconds <= taken <= 60 * minutes
    assert 3 <= num_evaluations <= 22
    assert told.seconds_per_step == seconds_per_step


def test_of_minutes_that_are_used_up_one_update_is_left():
    assert fixed(plan_of(minutes=0.01), step=20, seconds=100.0).num_steps == 21


def test_a_plan_that_was_stored_is_gone_on_with():
    plan = plan_of(minutes=1.0)
    plan.restore(num_steps=300, eval_every=30)
    assert (plan.num_steps, plan.announce().eval_every) == (300, 30)
    assert plan.is_evaluation_due(60)


def test_of_several_processes_the_firsts_clock_counts():
    class Second(World):
        def from_first(self, value):
            assert value != [777, 77]
            return [777, 77]

    told = fixed(plan_of(minutes=1.0), world=Second(1, 2))
    assert (told.num_steps, told.eval_every) == (777, 77)


def test_the_clock_adds_up_the_parts_of_a_run(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(12.5)
    assert clock.seconds() == 12.5
    now[0] += 3
    assert clock.seconds() == 15.5
