"""Whole runs of tiny models: resumed bit for bit, stopped, starved of disk, fed with gradients that are not finite."""

import math

import numpy as np
import pytest
import torch
from charrnn.models.char_rnn import CharRNN
from tiny_run import StopAfter, make_task, make_trainer, never

from charrnn.errors import DivergedError, OutputError
from charrnn.storage import metrics
from charrnn.storage.model_file import read_model
from charrnn.training import event, trainer
from charrnn.training.checkpoint import read_checkpoint

SHAPES = [
    {"cell": "rnn"},
    {"cell": "lstm", "num_layers": 2, "dropout": 0.3},
    {"cell": "gru", "input": "embedding", "embedding_size": 4, "dropout": 0.2},
    {"cell": "gru", "reset": "before", "bias": False},
]


def files_of(directory):
    return {name: (directory / name).read_bytes() for name in ("model.safetensors", "training.safetensors")}


def without_seconds(directory):
    return [
        {k: v for k, v in line.items() if k != "seconds"} for line in metrics.read_metrics(directory / "metrics.jsonl")
    ]


@pytest.mark.parametrize("stops", [(6,), (1, 1, 4)], ids=["once", "often"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_resumed_run_ends_in_the_very_files_of_one_that_never_stopped(tmp_path, shape, stops):
    task = make_task(model=shape, training={"steps": 12, "eval_every": 4})
    list(make_trainer(task, tmp_path / "straight").run(never))
    stopped = tmp_path / "stopped"
    list(make_trainer(task, stopped).run(StopAfter(stops[0])))
    for count in (*stops[1:], None):
        checkpoint = read_checkpoint(stopped / "training.safetensors")
        go_on = make_trainer(task, stopped, checkpoint=checkpoint)
        events = list(go_on.run(never if count is None else StopAfter(count)))
    assert events[-1].reason == "end"
    assert files_of(stopped) == files_of(tmp_path / "straight")
    assert without_seconds(stopped) == without_seconds(tmp_path / "straight")


@pytest.mark.parametrize("num_updates", range(1, 15))
def test_stopped_after_any_update_a_run_evaluates_and_ends_as_one_that_never_stopped(tmp_path, num_updates):
    task = make_task(model={"cell": "gru"}, training={"steps": 14, "eval_every": 4})
    list(make_trainer(task, tmp_path / "straight").run(never))
    list(make_trainer(task, tmp_path / "stopped").run(StopAfter(num_updates)))
    checkpoint = read_checkpoint(tmp_path / "stopped" / "training.safetensors")
    list(make_trainer(task, tmp_path / "stopped", checkpoint=checkpoint).run(never))
    for name in ("model.safetensors", "training.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    steps = [line["step"] for line in metrics.read_metrics(tmp_path / "stopped" / metrics.METRICS_NAME)]
    assert steps == [4, 8, 12, 14]


def test_a_run_that_dies_without_saving_resumes_from_its_last_save_to_the_same_end(tmp_path):
    task = make_task(training={"steps": 12, "eval_every": 3})
    list(make_trainer(task, tmp_path / "straight").run(never))
    dying = tmp_path / "dying"
    run = make_trainer(task, dying).run(never)
    for happened in run:
        if isinstance(happened, event.Saved) and happened.step == 6:
            break
    next(run)  # evaluates step 9, or trains on towards it; nothing is saved
    run.close()
    checkpoint = read_checkpoint(dying / "training.safetensors")
    assert checkpoint.step == 6
    list(make_trainer(task, dying, checkpoint=checkpoint).run(never))
    assert files_of(dying) == files_of(tmp_path / "straight")


def test_the_model_saved_is_the_best_and_its_facts_tell_its_score_and_no_path(tmp_path):
    task = make_task(training={"steps": 40, "eval_every": 4, "learning_rate": 0.05})
    events = list(make_trainer(task, tmp_path / "run").run(never))
    scores = {e.step: e.score.nats_per_char for e in events if isinstance(e, event.Evaluated)}
    finished = events[-1]
    assert finished.best.nats_per_char == min(scores.values())
    assert scores[finished.best_step] == min(scores.values())
    facts = read_model(tmp_path / "run").facts
    assert facts["held_out"]["nats_per_char"] == pytest.approx(min(scores.values()), rel=1e-15)
    assert facts["step"] == finished.best_step
    assert "source" not in facts["corpus"]


def test_the_run_ends_early_when_patience_is_exhausted_and_keeps_the_best(tmp_path):
    noise = "".join(np.random.default_rng(0).choice(list("abcdefg"), 300))
    task = make_task(
        noise,
        training={"steps": 3000, "eval_every": 10, "patience": 3, "learning_rate": 0.03},
        model={"hidden_size": 32},
    )
    events = list(make_trainer(task, tmp_path / "run").run(never))
    finished = events[-1]
    assert finished.reason == "patience"
    assert finished.step == finished.best_step + 30
    assert read_model(tmp_path / "run").facts["step"] == finished.best_step


def test_a_gradient_that_is_not_finite_never_reaches_weights_or_moments(tmp_path):
    task = make_task(training={"steps": 6, "eval_every": 100})
    run = make_trainer(task, tmp_path / "run")
    weight = run._model.output.weight
    weight.register_hook(lambda gradient: gradient * (math.nan if run.step == 3 else 1))
    seen = []
    original = run._update

    def learned():
        tensors = run._model.weights() | run._optimizer.state()
        return {name: t.detach().clone() for name, t in tensors.items() if not name.startswith("average/")}

    def update():
        before = learned()
        result = original()
        after = learned()
        seen.append([name for name in after if not torch.equal(before[name], after[name])])
        return result

    run._update = update
    list(run.run(never))
    assert [bool(changed) for changed in seen] == [True, True, True, False, True, True]
    assert all(np.isfinite(w).all() for w in read_model(tmp_path / "run").weights.values())


def test_a_run_whose_gradients_stay_not_finite_ends_as_diverged_with_its_checkpoint_whole(tmp_path):
    task = make_task(training={"steps": 5000, "eval_every": 4, "patience": 5000})
    run = make_trainer(task, tmp_path / "run")
    run._model.output.weight.register_hook(lambda gradient: gradient * (math.inf if run.step >= 8 else 1))
    with pytest.raises(DivergedError, match=r"not finite in .* none was applied.*--learning-rate"):
        list(run.run(never))
    assert read_checkpoint(tmp_path / "run" / "training.safetensors").step >= 8
    read_model(tmp_path / "run")


def test_a_run_given_in_minutes_measures_plans_in_steps_and_resumes_by_that_plan(tmp_path):
    task = make_task(training={"minutes": 0.02})
    events = list(make_trainer(task, tmp_path / "run").run(never))
    (plan,) = [e for e in events if isinstance(e, event.Planned)]
    assert plan.seconds_per_step > 0
    assert events[-1].step == plan.num_steps
    checkpoint = read_checkpoint(tmp_path / "run" / "training.safetensors")
    assert (checkpoint.num_steps, checkpoint.eval_every) == (plan.num_steps, plan.eval_every)


def test_failed_saves_are_told_and_end_the_run_only_in_a_row(tmp_path, monkeypatch):
    def fail(path, checkpoint):
        raise OutputError("no room")

    monkeypatch.setattr(trainer, "write_checkpoint", fail)
    task = make_task(training={"steps": 12, "eval_every": 3})
    seen = []
    with pytest.raises(OutputError, match="no room"):
        seen.extend(make_trainer(task, tmp_path / "run").run(never))
    assert sum(isinstance(e, event.Warned) for e in seen) == 2
    assert not any(isinstance(e, event.Saved) for e in seen)


def test_a_stop_before_the_first_evaluation_still_leaves_a_model_and_a_checkpoint(tmp_path):
    task = make_task(training={"steps": 100, "eval_every": 50})
    events = list(make_trainer(task, tmp_path / "run").run(StopAfter(1)))
    assert events[-1].reason == "stopped"
    assert read_checkpoint(tmp_path / "run" / "training.safetensors").step == 1
    read_model(tmp_path / "run")


def test_hello_is_learned(tmp_path):
    vocab_text = "hello"
    task = make_task(vocab_text, training={"steps": 150, "batch_size": 1, "bptt": 3, "learning_rate": 0.05},
                     model={"cell": "rnn", "hidden_size": 8}, held_out=vocab_text)  # fmt: skip
    list(make_trainer(task, tmp_path / "run").run(never))
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
    finished = list(make_trainer(task, tmp_path / "run").run(never))[-1]
    assert finished.best.nats_per_char > entropy - 3 * finished.best.standard_error
    # 2 % above, and what 4,000 held-out symbols may differ by chance.
    assert finished.best.nats_per_char < 1.02 * entropy + 3 * finished.best.standard_error


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_streams_begin_anew_at_the_share_of_windows_asked_for(tmp_path, monkeypatch, share):
    seen = []
    forward = CharRNN.forward

    def spied(self, ids, state):
        if self.training:
            seen.append((state.hidden == 0).all(dim=2)[0])
        return forward(self, ids, state)

    monkeypatch.setattr(CharRNN, "forward", spied)
    task = make_task(training={"steps": 80, "restart": share, "batch_size": 9, "eval_every": 80})
    list(make_trainer(task, tmp_path).run(never))
    windows_per_epoch = make_trainer(task, tmp_path / "other")._streams.windows_per_epoch
    within = torch.stack([zero for step, zero in enumerate(seen) if step % windows_per_epoch])
    # Some 600 draws: three standard errors are 0.06.
    assert float(within.double().mean()) == pytest.approx(share, abs=0.06 if 0 < share < 1 else 0)
