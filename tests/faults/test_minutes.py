"""Runs given in minutes, on machines whose speed changes: they end when they were told to."""

import json
import shutil
import time

import numpy as np
import pytest
from command import invoke
from processes import TINY
from tiny_run import StopAfter, files_of, make_run, make_task, never

from charrnn.errors import InputError
from charrnn.storage.metrics import read_metrics
from charrnn.storage.run_files import METRICS_NAME, TRAINING_NAME
from charrnn.storage.training_file import TrainingFile, read_training, write_training
from charrnn.training import event, run
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.learner import Learner
from charrnn.training.plan import Plan, Speed
from charrnn.training.settings import UNCHANGED, Pace, TrainingSettings, learning_rate_at, share_of_decay
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
        if is_measured or plan.is_look_due(len(measured), sum(measured)):
            speed = Speed(seconds, sum(measured) / len(measured), EVALUATION_SECONDS, FINAL_SECONDS)
            (plan.fix if is_measured else plan.revise)(step, speed=speed, world=ALONE)
            measured = []
    return seconds + FINAL_SECONDS


def ends_in_time(minutes, taken):
    """Whether a run ended within what a quarter of an hour allows: half a minute less, a quarter more."""
    return 60 * minutes * 14.5 / 15 <= taken <= 60 * minutes * 15.25 / 15


@pytest.mark.parametrize("minutes", [2, 15])
@pytest.mark.parametrize("factor", [0.5, 0.75, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("when", [0.1, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("more", [{}, {"eval_every": 400}], ids=["", "eval-every"])
def test_a_machine_that_grows_faster_or_slower_changes_the_steps_and_not_the_minutes(minutes, factor, when, more):
    budget = 60 * minutes
    taken = seconds_taken(minutes, lambda seconds: 0.04 * (factor if seconds > when * budget else 1), **more)
    assert ends_in_time(minutes, taken)


@pytest.mark.parametrize("period", [3, 20, 100])
def test_a_neighbour_that_comes_and_goes_changes_the_steps_and_not_the_minutes(period):
    taken = seconds_taken(15, lambda seconds: 0.04 * (2 if seconds % period < period / 2 else 1))
    assert ends_in_time(15, taken)


@pytest.mark.parametrize("when", [0.06, 0.3, 0.5, 0.9])
def test_the_rate_falls_smoothly_to_its_end_however_often_it_is_planned(when):
    settings = TrainingSettings(minutes=15, batch_size=1, bptt=1, learning_rate=1.0, warmup_steps=50)
    plan = Plan(settings, windows_per_epoch=100)
    plan.fix(100, speed=Speed(5.0, 0.1, 0.5, 0.5), world=ALONE)
    seconds, rates, plans = 5.0, [], {plan.num_steps}
    for step in range(100, 100_000):
        if step >= plan.num_steps:
            break
        rates.append(learning_rate_at(step, settings, num_steps=plan.num_steps, pace=plan.pace))
        per_step = 0.1 if seconds < 900 * when else 0.2
        seconds += per_step
        if step % 90 == 0:
            plan.revise(step + 1, speed=Speed(seconds, per_step, 0.5, 0.5), world=ALONE)
            plans.add(plan.num_steps)
    assert len(plans) > 1
    falls = -np.diff(rates)
    # A cosine of so many steps falls by at most pi / 2 of their number's share from one to the next; half as many
    # steps, twice that. No step may be seen where the plan was changed.
    assert (falls >= 0).all()
    assert falls.max() < 2.2 * np.pi / 2 / max(plans)
    assert rates[-1] == pytest.approx(settings.final_learning_rate, abs=0.001)


def test_a_changed_plan_has_done_as_much_of_the_decay_as_the_one_before():
    settings = TrainingSettings(minutes=1, batch_size=1, bptt=1, learning_rate=1.0, warmup_steps=8)
    plan = Plan(settings, windows_per_epoch=100)
    plan.fix(100, speed=Speed(5.0, 0.1, 0.1, 0.1), world=ALONE)
    before = plan.num_steps
    rate = learning_rate_at(300, settings, num_steps=before)
    plan.revise(300, speed=Speed(20.0, 0.3, 0.1, 0.1), world=ALONE)
    assert plan.num_steps < before
    assert plan.pace == Pace(300, (300 - 8) / (before - 8))
    assert learning_rate_at(300, settings, num_steps=plan.num_steps, pace=plan.pace) == pytest.approx(rate, rel=1e-12)
    halfway = share_of_decay((300 + plan.num_steps) // 2, settings, num_steps=plan.num_steps, pace=plan.pace)
    assert halfway == pytest.approx((1 + plan.pace.done) / 2, abs=0.01)


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

    def slow(self, **more):
        if more["num_steps"] is not None:
            time.sleep(0.01)
        return update(self, **more)

    update = Learner.update
    monkeypatch.setattr(Learner, "update", slow)
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    code, _, err = invoke("train", text, "--out", tmp_path, "--name", "run", "--minutes", "0.05", "--verbose", *TINY)
    assert code == 0
    plans = [int(line.split()[1].replace(",", "")) for line in err.splitlines() if line.startswith("plan:")]
    assert len(plans) > 1
    checkpoint = read_checkpoint(tmp_path / "run" / "training.safetensors")
    assert checkpoint.step == checkpoint.num_steps == plans[-1] < plans[0]
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["seconds"] < 60 * 0.05 * 1.5


class Machine:
    """A machine whose clock goes on by what updates and evaluations take there, and by nothing else.

    Args:
        seconds_of: an update, by the number of those before it.
        busy: what an update takes longer; 1 is no more.
    """

    def __init__(self, monkeypatch, seconds_of, *, busy=1.0):
        self.now = 1000.0
        self.busy = busy
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        update, score = Learner.update, run.evaluate

        def timed_update(learner, **more):
            self.now += seconds_of(learner.step) * self.busy
            return update(learner, **more)

        def timed_score(*arguments):
            self.now += 0.4
            return score(*arguments)

        monkeypatch.setattr(Learner, "update", timed_update)
        monkeypatch.setattr(run, "evaluate", timed_score)


def half_as_fast_from(step):
    return lambda number: 0.1 if number < step else 0.2


@pytest.mark.parametrize("step", [40, 250, 480, 560])
def test_a_run_ends_in_its_minutes_on_a_machine_that_halves_its_speed(tmp_path, monkeypatch, step):
    machine = Machine(monkeypatch, half_as_fast_from(step))
    began = machine.now
    events = list(make_run(make_task(training={"minutes": 1.0}), tmp_path / "run").events(never))
    assert ends_in_time(1, machine.now - began)
    told = [happened for happened in events if isinstance(happened, event.Planned)]
    lines = read_metrics(tmp_path / "run" / METRICS_NAME)
    assert [line["num_steps"] for line in lines if line["event"] == "planned"] == [e.num_steps for e in told[1:]]
    assert len(told) > 1
    rates = [line["learning_rate"] for line in lines if line["event"] == "evaluated"]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.0001, rel=0.01)  # a hundredth of the peak: the decay was ended


def changes_after(step, directory):
    lines = read_metrics(directory / METRICS_NAME)
    return [(line["step"], line["num_steps"]) for line in lines if line["event"] == "planned" and line["step"] > step]


@pytest.mark.parametrize("busy", [1.0, 3.0], ids=["as before", "slower"])
def test_a_run_that_died_makes_its_changes_of_plan_again(tmp_path, monkeypatch, busy):
    machine = Machine(monkeypatch, half_as_fast_from(200))
    task = make_task(training={"minutes": 1.0})
    straight, dead = tmp_path / "straight", tmp_path / "dead"
    for happened in make_run(task, straight).events(never):
        if isinstance(happened, event.Saved) and happened.step > 100 and not dead.exists():
            shutil.copytree(straight, dead)
    # All of its history is there, as of a run that died when it had not saved for long.
    shutil.copy(straight / METRICS_NAME, dead / METRICS_NAME)
    checkpoint = read_checkpoint(dead / TRAINING_NAME)
    changes = changes_after(checkpoint.step, straight)
    assert len(changes) > 1
    machine.busy = busy
    list(make_run(task, dead, checkpoint=checkpoint).events(never))
    assert changes_after(checkpoint.step, dead)[: len(changes)] == changes
    if busy == 1.0:
        assert files_of(dead) == files_of(straight)


def test_a_run_that_was_stopped_goes_on_at_the_rate_it_would_have_had(tmp_path, monkeypatch):
    Machine(monkeypatch, half_as_fast_from(100))
    task = make_task(training={"minutes": 1.0})
    for directory, stop in ((tmp_path / "straight", never), (tmp_path / "stopped", StopAfter(150))):
        list(make_run(task, directory).events(stop))
    checkpoint = read_checkpoint(tmp_path / "stopped" / TRAINING_NAME)
    assert checkpoint.pace.step > 100
    assert 0 < checkpoint.pace.done < 0.9
    list(make_run(task, tmp_path / "stopped", checkpoint=checkpoint).events(never))

    def rates(directory):
        lines = read_metrics(tmp_path / directory / METRICS_NAME)
        return {line["step"]: line["learning_rate"] for line in lines if line["event"] == "evaluated"}

    straight, stopped = rates("straight"), rates("stopped")
    shared = [step for step in straight if step in stopped and 150 < step < max(straight)]
    assert len(shared) > 1
    for step in shared:  # the clock rounds what it has stored, so that a plan may differ by an update
        assert stopped[step] == pytest.approx(straight[step], rel=0.02)


def test_a_history_that_says_nonsense_of_plans_is_passed_over(tmp_path, monkeypatch):
    Machine(monkeypatch, lambda _: 0.1)
    task = make_task(training={"minutes": 1.0})
    list(make_run(task, tmp_path / "run").events(StopAfter(200)))
    checkpoint = read_checkpoint(tmp_path / "run" / TRAINING_NAME)
    with (tmp_path / "run" / METRICS_NAME).open("a") as history:
        for step, num_steps in (("210", 300), (210, "300"), (210, 205), (210, 1 << 70), (210.0, 300), (None, None)):
            history.write(json.dumps({"event": "planned", "step": step, "num_steps": num_steps}) + "\n")
    events = list(make_run(task, tmp_path / "run", checkpoint=checkpoint).events(never))
    assert events[-1].step > 400


def test_a_run_of_a_version_that_knew_no_pace_goes_on_by_its_plan(tmp_path):
    task = make_task(training={"steps": 12})
    list(make_run(task, tmp_path).events(StopAfter(5)))
    path = tmp_path / TRAINING_NAME
    file = read_training(path)
    del file.facts["pace"]
    write_training(path, TrainingFile(file.tensors, file.facts))
    assert read_checkpoint(path).pace == UNCHANGED


@pytest.mark.parametrize("pace", [{"step": -1, "done": 0.5}, {"step": 1, "done": 1.5}, {"step": 1, "done": "0"}, {}])
def test_a_pace_that_cannot_be_is_refused(tmp_path, pace):
    list(make_run(make_task(), tmp_path).events(StopAfter(5)))
    path = tmp_path / TRAINING_NAME
    file = read_training(path)
    file.facts["pace"] = pace
    write_training(path, TrainingFile(file.tensors, file.facts))
    with pytest.raises(InputError, match="do not fit together"):
        read_checkpoint(path)
