"""Whole runs of tiny models: resumed bit for bit, stopped, starved of disk, made to diverge."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from cells import CELLS
from tiny_run import NAMES, ON_ONE_THREAD, StopAfter, files_of, make_run, make_task, never

from charrnn.errors import DivergedError, OutputError
from charrnn.inference.language_model import LanguageModel
from charrnn.models.native.build import library
from charrnn.storage import metrics
from charrnn.storage.model_file import read_model, write_model
from charrnn.storage.run_files import METRICS_NAME
from charrnn.training import event, history, run
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.device import place
from charrnn.training.learner import Learner
from charrnn.training.machine import MachineSettings
from charrnn.training.run import Run

EVENTS = ("updated", "evaluated", "sampled")
FORMS = [
    {},
    {"num_layers": 2, "dropout": 0.3, "weight_dropout": 0.2},
    {"input": "embedding", "embedding_size": 4, "dropout": 0.2},
    {"bias": False},
]


def resumed(task, directory):
    """The run that goes on from what the directory holds."""
    return make_run(task, directory, checkpoint=read_checkpoint(directory / NAMES[1]))


def without_seconds(directory):
    return [
        {k: v for k, v in line.items() if k != "seconds"} for line in metrics.read_metrics(directory / "metrics.jsonl")
    ]


@pytest.mark.parametrize("stops", [(6,), (1, 1, 4)], ids=["once", "often"])
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_a_resumed_run_ends_in_the_very_files_of_one_that_never_stopped(tmp_path, cell, form, stops):
    task = make_task(model={"cell": cell, **form}, training={"steps": 12, "eval_every": 4})
    list(make_run(task, tmp_path / "straight").events(never))
    stopped = tmp_path / "stopped"
    list(make_run(task, stopped).events(StopAfter(stops[0])))
    for count in (*stops[1:], None):
        events = list(resumed(task, stopped).events(never if count is None else StopAfter(count)))
    assert events[-1].reason == "end"
    assert files_of(stopped) == files_of(tmp_path / "straight")
    assert without_seconds(stopped) == without_seconds(tmp_path / "straight")


@pytest.mark.parametrize("num_updates", range(1, 15))
def test_stopped_after_any_update_a_run_evaluates_and_ends_as_one_that_never_stopped(tmp_path, num_updates):
    task = make_task(model={"cell": "gru"}, training={"steps": 14, "eval_every": 4})
    list(make_run(task, tmp_path / "straight").events(never))
    list(make_run(task, tmp_path / "stopped").events(StopAfter(num_updates)))
    list(resumed(task, tmp_path / "stopped").events(never))
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "straight")
    assert without_seconds(tmp_path / "stopped") == without_seconds(tmp_path / "straight")
    lines = metrics.read_metrics(tmp_path / "stopped" / METRICS_NAME)
    steps = {what: [line["step"] for line in lines if line["event"] == what] for what in EVENTS}
    assert steps == {"updated": list(range(1, 15)), "evaluated": [4, 8, 12, 14], "sampled": [4, 8, 14]}
    assert len(lines) == sum(map(len, steps.values()))


def test_the_history_keeps_updates_as_they_were_and_what_the_models_wrote(tmp_path):
    task = make_task(training={"steps": 12, "eval_every": 4, "grad_clip": 0.01})
    made = make_run(task, tmp_path)
    updates, update = [], made._learner.update
    made._learner.update = lambda **given: updates.append(update(**given)) or updates[-1]
    events = list(made.events(never))
    lines = metrics.read_metrics(tmp_path / METRICS_NAME)
    kept = [line for line in lines if line["event"] == "updated"]
    for key, value in (("nats", "loss"), ("gradient_norm",) * 2, ("learning_rate",) * 2):
        assert [line[key] for line in kept] == pytest.approx([float(getattr(u, value)) for u in updates], rel=1e-5)
    assert min(line["gradient_norm"] for line in kept) > 0.01  # as it was before it was clipped
    sampled = [happened for happened in events if isinstance(happened, event.Sampled)]
    assert [(each.step, each.text) for each in sampled] == [
        (line["step"], line["text"]) for line in lines if line["event"] == "sampled"
    ]
    best = next(e for e in events if isinstance(e, event.Evaluated) and e.step == sampled[-1].step)
    assert sampled[-1].text == LanguageModel(best.model).sample(length=240, temperature=0.8, seed=0)[0]


def test_a_long_history_is_short_and_dense_where_a_loss_falls_fast():
    kept = [step for step in range(1, 1 << 17) if history.is_kept(step)]
    assert kept[:256] == list(range(1, 257))
    assert len(kept) == 256 + 128 * 9 - 1
    assert all(after - before <= max(1, before / 128) for before, after in pairwise(kept))


def test_a_run_that_dies_without_saving_resumes_from_its_last_save_to_the_same_end(tmp_path):
    task = make_task(training={"steps": 12, "eval_every": 3})
    list(make_run(task, tmp_path / "straight").events(never))
    dying = tmp_path / "dying"
    events = make_run(task, dying).events(never)
    for happened in events:
        if isinstance(happened, event.Saved) and happened.step == 6:
            break
    next(events)  # evaluates step 9, or trains on towards it; nothing is saved
    events.close()
    assert read_checkpoint(dying / "training.safetensors").step == 6
    list(resumed(task, dying).events(never))
    assert files_of(dying) == files_of(tmp_path / "straight")


def test_the_saved_model_is_the_best_and_holds_its_score_but_no_path(tmp_path):
    task = make_task(training={"steps": 40, "eval_every": 4, "learning_rate": 0.05})
    events = list(make_run(task, tmp_path / "run").events(never))
    scores = {e.step: e.score.nats_per_char for e in events if isinstance(e, event.Evaluated)}
    finished = events[-1]
    assert finished.best.nats_per_char == min(scores.values())
    assert scores[finished.best_step] == min(scores.values())
    facts = read_model(tmp_path / "run").facts
    assert facts["held_out"]["nats_per_char"] == pytest.approx(min(scores.values()), rel=1e-15)
    assert facts["step"] == finished.best_step
    assert facts["corpus"] == task.text.to_json()
    assert facts["training"] == task.training.to_json()
    assert "source" not in facts
    assert "texts" not in facts["corpus"]


def test_the_run_ends_early_when_patience_is_exhausted_and_keeps_the_best(tmp_path):
    noise = "".join(np.random.default_rng(0).choice(list("abcdefg"), 300))
    task = make_task(
        noise,
        training={"steps": 3000, "eval_every": 10, "patience": 3, "learning_rate": 0.03},
        model={"hidden_size": 32},
    )
    events = list(make_run(task, tmp_path / "run").events(never))
    finished = events[-1]
    assert finished.reason == "patience"
    assert finished.step == finished.best_step + 30
    assert read_model(tmp_path / "run").facts["step"] == finished.best_step


def test_a_run_whose_gradients_stay_not_finite_ends_with_its_checkpoint_whole(monkeypatch, tmp_path):
    task = make_task(training={"steps": 5000, "eval_every": 4, "patience": 5000})
    going = make_run(task, tmp_path / "run")
    compute = Learner._set_gradients

    def spoiled(self, *window):
        found = compute(self, *window)
        if going.step >= 8:
            self._model.output.weight.grad.fill_(math.inf)
        return found

    monkeypatch.setattr(Learner, "_set_gradients", spoiled)
    with pytest.raises(DivergedError, match=r"not finite in .* none was applied.*`learning_rate`"):
        list(going.events(never))
    assert read_checkpoint(tmp_path / "run" / "training.safetensors").step >= 8
    read_model(tmp_path / "run")


def test_a_run_given_in_minutes_measures_plans_in_steps_and_resumes_by_that_plan(tmp_path):
    task = make_task(training={"minutes": 0.02})
    events = list(make_run(task, tmp_path / "run").events(never))
    plans = [e for e in events if isinstance(e, event.Planned)]
    assert all(plan.seconds_per_step > 0 for plan in plans)
    plan = plans[-1]  # planned again where the speed changed
    assert events[-1].step == plan.num_steps
    checkpoint = read_checkpoint(tmp_path / "run" / "training.safetensors")
    assert (checkpoint.num_steps, checkpoint.eval_every) == (plan.num_steps, plan.eval_every)


def test_failed_saves_are_told_and_end_the_run_only_in_a_row(tmp_path, monkeypatch):
    def fail(path, checkpoint):
        raise OutputError("no room")

    monkeypatch.setattr(run, "write_checkpoint", fail)
    task = make_task(training={"steps": 12, "eval_every": 3})
    seen = []
    with pytest.raises(OutputError, match="no room"):
        seen.extend(make_run(task, tmp_path / "run").events(never))
    assert sum(isinstance(e, event.Warned) for e in seen) == 2
    assert not any(isinstance(e, event.Saved) for e in seen)


def test_a_stop_before_the_first_evaluation_still_leaves_a_model_and_a_checkpoint(tmp_path):
    task = make_task(training={"steps": 100, "eval_every": 50})
    events = list(make_run(task, tmp_path / "run").events(StopAfter(1)))
    assert events[-1].reason == "stopped"
    assert read_checkpoint(tmp_path / "run" / "training.safetensors").step == 1
    read_model(tmp_path / "run")


def test_hello_is_learned(tmp_path):
    vocab_text = "hello"
    task = make_task(vocab_text, training={"steps": 150, "batch_size": 1, "bptt": 3, "learning_rate": 0.05},
                     model={"cell": "rnn", "hidden_size": 8}, held_out=vocab_text)  # fmt: skip
    list(make_run(task, tmp_path / "run").events(never))
    from charrnn import load

    model = load(tmp_path / "run")
    assert model.sample("h", length=3, temperature=0)[0] == "ell"


def test_the_held_out_loss_of_a_markov_chain_comes_near_its_entropy_and_not_below(tmp_path):
    # Three symbols; the entropy rate is the stationary mean of the rows' entropies.
    rows = np.array([[0.8, 0.15, 0.05], [0.1, 0.2, 0.7], [0.45, 0.1, 0.45]])
    values, vectors = np.linalg.eig(rows.T)
    stationary = np.real(vectors[:, np.argmax(values.real)])
    stationary /= stationary.sum()
    entropy = float(-(stationary[:, None] * rows * np.log(rows)).sum())
    rng = np.random.default_rng(7)
    symbols = [0]
    for uniform in rng.random(40_000):
        symbols.append(int(np.searchsorted(rows[symbols[-1]].cumsum(), uniform)))
    text = "".join("abc"[min(s, 2)] for s in symbols)
    task = make_task(text, training={"steps": 500, "batch_size": 16, "bptt": 20}, model={"hidden_size": 16})
    finished = list(make_run(task, tmp_path / "run").events(never))[-1]
    assert finished.best.nats_per_char > entropy - 3 * finished.best.standard_error
    # 2 % above, and what 4,000 held-out symbols may differ by chance.
    assert finished.best.nats_per_char < 1.02 * entropy + 3 * finished.best.standard_error


# --- runs that diverge ------------------------------------------------------------------------------------------------


def followed(going, directory):
    """Follows a run that diverges; the error, and the files at its last save."""
    saved = []

    def follow():
        for happened in going.events(never):
            if isinstance(happened, event.Saved):
                saved.append(files_of(directory))

    with pytest.raises(DivergedError, match=r"diverged at step \d+: .*`learning_rate`") as caught:
        follow()
    return caught.value, saved[-1] if saved else None


def lose(monkeypatch, is_lost):
    """Makes loss and gradients NaN in those updates for which ``is_lost`` says so; they are counted from 0."""
    count = iter(range(10**9))
    compute = Learner._set_gradients

    def lost(self, *window):
        loss, state = compute(self, *window)
        if not is_lost(next(count)):
            return loss, state
        for weight in self._weights:
            weight.grad.fill_(math.nan)
        return loss * math.nan, state

    monkeypatch.setattr(Learner, "_set_gradients", lost)


DIVERGING = {
    "by decay": {"learning_rate": 1.0, "weight_decay": 5.0, "grad_clip": 1e6},
    "by rate": {"learning_rate": 10.0, "weight_decay": 10.0},
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("cause", DIVERGING)
def test_a_run_that_diverges_leaves_its_last_good_files_as_they_were(tmp_path, cell, cause):
    calm = {"steps": 5000, "eval_every": 4, "patience": 5000, "warmup_steps": 0}
    task = make_task(model={"cell": cell}, training=calm)
    list(make_run(task, tmp_path).events(StopAfter(8)))
    wild = make_task(model={"cell": cell}, training={**calm, **DIVERGING[cause]})
    model = read_model(tmp_path)  # as if the run had been wild from its first step on
    write_model(tmp_path / NAMES[0], replace(model, facts={**model.facts, "training": wild.training.to_json()}))
    good = files_of(tmp_path)
    error, saved = followed(resumed(wild, tmp_path), tmp_path)
    assert error.exit_code == 5
    assert "the last good model and training state are kept in" in str(error)
    # Worse models are not stored; the training state is that of the last save, whole and finite.
    assert files_of(tmp_path)[NAMES[0]] == good[NAMES[0]]
    assert files_of(tmp_path) == (saved or good)
    read_model(tmp_path)
    checkpoint = read_checkpoint(tmp_path / NAMES[1])
    assert 8 <= checkpoint.step < 5000
    # The run can be resumed: and diverges again, its files once more as they were.
    before = files_of(tmp_path)
    _, saved = followed(resumed(wild, tmp_path), tmp_path)
    assert files_of(tmp_path) == (saved or before)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("cause", DIVERGING)
def test_a_new_run_that_diverges_stores_nothing_that_is_not_finite(tmp_path, cell, cause):
    training = {"steps": 5000, "eval_every": 3, "patience": 5, "warmup_steps": 0, **DIVERGING[cause]}
    try:
        finished = list(make_run(make_task(model={"cell": cell}, training=training), tmp_path).events(never))[-1]
        assert finished.reason == "patience"  # it gave up before it could diverge
    except DivergedError:
        pass
    for name, read in zip(NAMES, (read_model, lambda path: read_checkpoint(path / NAMES[1])), strict=True):
        if (tmp_path / name).exists():
            read(tmp_path)  # refuses what is not finite


def test_patience_does_not_hide_a_divergence(tmp_path):
    training = {"steps": 200, "eval_every": 1, "patience": 1, "warmup_steps": 0, **DIVERGING["by rate"]}
    task = make_task(model={"cell": "lstm"}, training=training)
    going = make_run(task, tmp_path)
    with torch.no_grad():
        going._learner._optimizer.averages["output.bias"].fill_(math.nan)
    with pytest.raises(DivergedError, match="not finite; nothing was kept"):
        list(going.events(never))
    assert not any((tmp_path / name).exists() for name in NAMES)


def test_one_loss_that_is_no_number_is_passed_over_and_leaves_no_trace(tmp_path, monkeypatch):
    task = make_task(training={"steps": 12, "eval_every": 6})
    lose(monkeypatch, lambda update: update == 3)
    (first, second) = [e for e in make_run(task, tmp_path / "run").events(never) if isinstance(e, event.Evaluated)]
    assert math.isfinite(first.train_nats)
    assert math.isfinite(second.train_nats)
    checkpoint = read_checkpoint(tmp_path / "run" / NAMES[1])
    assert checkpoint.step == 12
    assert all(np.isfinite(tensor).all() for tensor in checkpoint.tensors.values())
    lines = without_seconds(tmp_path / "run")
    assert all(line["train_nats"] is not None for line in lines if line["event"] == "evaluated")
    # The history alone tells of the update, the fourth, which was not applied.
    assert [line["step"] for line in lines if line["event"] == "updated" and line["nats"] is None] == [4]


def test_a_stop_after_a_loss_that_is_no_number_can_be_resumed(tmp_path, monkeypatch):
    task = make_task(training={"steps": 12, "eval_every": 6})
    lose(monkeypatch, lambda update: update == 3)
    list(make_run(task, tmp_path / "straight").events(never))
    lose(monkeypatch, lambda update: update == 3)
    list(make_run(task, tmp_path / "stopped").events(StopAfter(4)))
    list(resumed(task, tmp_path / "stopped").events(never))
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "straight")


def test_repeated_nan_losses_end_the_run_and_leave_its_files_unchanged(tmp_path, monkeypatch):
    task = make_task(training={"steps": 5000, "eval_every": 4, "patience": 5000})
    list(make_run(task, tmp_path).events(StopAfter(8)))
    good = files_of(tmp_path)
    lose(monkeypatch, lambda update: True)
    error, saved = followed(resumed(task, tmp_path), tmp_path)
    assert "none was applied" in str(error)
    assert files_of(tmp_path) == (saved or good)
    monkeypatch.undo()
    events = list(resumed(task, tmp_path).events(StopAfter(5)))
    assert events[-1].reason == "stopped"
    assert read_model(tmp_path)


@pytest.mark.parametrize("kind", ["weight", "mean", "square", "average"])
def test_no_training_state_with_a_value_that_is_not_finite_is_stored(tmp_path, kind):
    task = make_task(model={"cell": "gru"}, training={"steps": 5000, "eval_every": 50})
    list(make_run(task, tmp_path).events(StopAfter(3)))
    good = (tmp_path / NAMES[1]).read_bytes()
    going = resumed(task, tmp_path)
    with torch.no_grad():
        held = going._learner._optimizer.state() | {
            f"weight/{name}": weight for name, weight in going._learner._model.weights().items()
        }
        # Of a symbol that is nowhere in the text, so that no loss shows it.
        held[f"{kind}/layers.0.weight_ih"][:, 0] = math.inf
    with pytest.raises(DivergedError, match="is not finite"):
        list(going.events(StopAfter(1)))
    assert (tmp_path / NAMES[1]).read_bytes() == good
    read_model(tmp_path)


def test_a_model_with_a_nan_weight_is_not_stored(tmp_path):
    text = "q" + "ab " * 200  # the held-out end never reads a q
    task = make_task(text, model={"cell": "lstm"}, training={"steps": 10, "eval_every": 5, "averaging": 1.0})
    going = make_run(task, tmp_path)
    with torch.no_grad():
        going._learner._optimizer.averages["layers.0.weight_ih"][:, task.vocab.encode("q")[0]] = math.inf
    with pytest.raises(DivergedError, match=r"layers\.0\.weight_ih is not finite; nothing was kept"):
        list(going.events(never))
    assert not any((tmp_path / name).exists() for name in NAMES)


# --- the end of a run -------------------------------------------------------------------------------------------------


NOISE = "".join(np.random.default_rng(0).choice(list("abcdefg"), 300))
IMPATIENT = {"steps": 3000, "eval_every": 10, "patience": 3, "learning_rate": 0.03}


@pytest.mark.parametrize(
    "training", [IMPATIENT, {"steps": 12, "eval_every": 4}], ids=["ended by patience", "ended by plan"]
)
def test_a_run_that_has_ended_does_not_train_on_when_resumed(tmp_path, training):
    task = make_task(NOISE, training=training, model={"hidden_size": 32})
    straight = list(make_run(task, tmp_path).events(never))[-1]
    before = files_of(tmp_path) | {"metrics": (tmp_path / "metrics.jsonl").read_bytes()}
    for _ in range(2):
        events = list(resumed(task, tmp_path).events(never))
        assert not [e for e in events if isinstance(e, event.Evaluated | event.Progressed)]
        finished = events[-1]
        assert (finished.reason, finished.step) == (straight.reason, straight.step)
        assert (finished.best, finished.best_step) == (straight.best, straight.best_step)
        assert files_of(tmp_path) | {"metrics": (tmp_path / "metrics.jsonl").read_bytes()} == before


@pytest.mark.parametrize("reduced", ["bfloat16", "a part of the held-out text"])
def test_the_best_model_is_scored_exactly_at_the_end_and_so_it_stays(tmp_path, monkeypatch, reduced):
    task = make_task(NOISE, training=IMPATIENT, model={"hidden_size": 32}, held_out=NOISE[::-1])
    machine = ON_ONE_THREAD
    if reduced == "bfloat16":
        if library() is None or not library().has_bfloat16:
            pytest.skip("this processor has no bfloat16 products")
        machine = MachineSettings(device="cpu", precision="bfloat16", threads=1)
    else:
        monkeypatch.setattr(run, "MAX_EVALUATED", 100)
        monkeypatch.setattr(run, "MAX_FINAL", 250)
    placement = place(task.model, machine)
    events = list(Run(task, tmp_path, placement=placement).events(never))
    finished = events[-1]
    (during,) = [e.score for e in events if isinstance(e, event.Evaluated) and e.step == finished.best_step]
    assert finished.best != during
    assert finished.best.num_predictions == (299 if reduced == "bfloat16" else 249)
    from charrnn import load

    text = NOISE[::-1][: finished.best.num_predictions + 1]
    assert load(tmp_path).score(text).nats == pytest.approx(finished.best.nats, rel=1e-5)  # float32 on both sides
    assert read_model(tmp_path).facts["held_out"]["nats"] == finished.best.nats
    before = files_of(tmp_path)
    checkpoint = read_checkpoint(tmp_path / NAMES[1])
    again = list(Run(task, tmp_path, placement=placement, checkpoint=checkpoint).events(never))[-1]
    assert (again.best, again.step, again.reason) == (finished.best, finished.step, "patience")
    assert files_of(tmp_path) == before


def test_torch_has_one_thread_beside_the_kernels_and_its_own_number_afterwards(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        made = make_run(make_task(training={"steps": 4}), tmp_path)
        within = {torch.get_num_threads() for _ in made.events(never)}
        assert within == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
