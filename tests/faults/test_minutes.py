"""Runs given in minutes, on machines whose speed changes: they end when they were told to."""

import pytest
from command import invoke
from processes import TINY

from charrnn.storage.metrics import read_metrics
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.learner import Learner
from charrnn.training.plan import Plan, Speed
from charrnn.training.settings import TrainingSettings
from charrnn.training.world import ALONE

TEXT = "the quick brown fox jumps over the lazy dog; " * 60
EVALUATION_SECONDS, FINAL_SECONDS = 2.0, 6.0


def seconds_taken(minutes, seconds_per_step, **more):
    """What a run takes that evaluates in no time of its own machine but that of the constants above.

    Args:
        seconds_per_step: of an update, as a function of the seconds since the run began.
    """
    settings = TrainingSettings(minutes=minutes, batch_size=1, bptt=1, learning_rate=0.1, **more)
    plan = Plan(settings, windows_per_epoch=100)
    seconds, step, measured = 0.0, 0, []
    while plan.num_steps is None or step < plan.num_steps:
        measured.append(seconds_per_step(seconds))
        seconds += measured[-1]
        step += 1
        is_due, is_measured = plan.is_evaluation_due(step), plan.num_steps is None and plan.is_measured(step, seconds)
        if is_due or is_measured:
            seconds += EVALUATION_SECONDS
            speed = Speed(seconds, sum(measured) / len(measured), EVALUATION_SECONDS, FINAL_SECONDS)
            (plan.fix if is_measured else plan.revise)(step, speed=speed, world=ALONE)
            measured = []
    return seconds + FINAL_SECONDS


@pytest.mark.parametrize("minutes", [1.42, 15])
@pytest.mark.parametrize("factor", [0.6, 0.75, 1.0, 1.3, 1.6])
@pytest.mark.parametrize("when", [0.1, 0.4])
@pytest.mark.parametrize("more", [{}, {"eval_every": 400}], ids=["", "eval-every"])
def test_a_machine_that_grows_faster_or_slower_changes_the_steps_and_not_the_minutes(minutes, factor, when, more):
    budget = 60 * minutes
    taken = seconds_taken(minutes, lambda seconds: 0.02 * (factor if seconds > when * budget else 1), **more)
    # A plan leaves 4 % of the time left, and what comes after the last evaluation but one is not planned again.
    assert 0.93 * budget < taken < 1.04 * budget


def test_a_plan_that_holds_is_not_announced_again():
    plan = Plan(TrainingSettings(minutes=2, batch_size=1, bptt=1, learning_rate=0.1), windows_per_epoch=100)
    plan.fix(100, speed=Speed(5.0, 0.01, 0.5, 0.5), world=ALONE)
    planned = plan.num_steps
    step = 100 + plan.eval_every
    # The margin of the first plan is a little time gained here: the speed that makes up for it is the same plan.
    left = planned - step
    seconds = 120 - 0.5 - left * (0.01 + 0.5 / plan.eval_every) / 0.96
    assert plan.revise(step, speed=Speed(seconds, 0.01, 0.5, 0.5), world=ALONE) is None
    assert plan.num_steps == planned
    assert plan.revise(step, speed=Speed(seconds, 0.02, 0.5, 0.5), world=ALONE).num_steps < planned


def test_a_run_that_is_not_given_in_minutes_is_never_planned_again():
    plan = Plan(TrainingSettings(steps=50, batch_size=1, bptt=1, learning_rate=0.1), windows_per_epoch=100)
    plan.announce()
    assert plan.revise(10, speed=Speed(1.0, 5.0, 1.0, 1.0), world=ALONE) is None
    assert plan.num_steps == 50


def test_the_revised_plan_is_stored_and_gone_on_with(tmp_path, monkeypatch):
    """A machine that halts for some milliseconds at every update once it was measured."""
    import time

    def slow(self, **more):
        if more["num_steps"] is not None:
            time.sleep(0.01)
        return update(self, **more)

    update = Learner.update
    monkeypatch.setattr(Learner, "update", slow)
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    code, _, err = invoke("train", text, "--out", tmp_path, "--name", "run", "--minutes", "0.05", *TINY)
    assert code == 0
    plans = [int(line.split()[1].replace(",", "")) for line in err.splitlines() if line.startswith("plan:")]
    assert len(plans) > 1
    checkpoint = read_checkpoint(tmp_path / "run" / "training.safetensors")
    assert checkpoint.step == checkpoint.num_steps == plans[-1] < plans[0]
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["seconds"] < 60 * 0.05 * 1.5
