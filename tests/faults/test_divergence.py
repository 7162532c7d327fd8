"""Runs that diverge: they end with 5, and what was stored before is whole and can be gone on with."""

import math

import pytest
import torch
from command import invoke

from charrnn.models.network import CharRNN
from charrnn.storage.metrics import read_metrics
from charrnn.storage.model_file import read_model
from charrnn.training import optimizer
from charrnn.training.checkpoint import read_checkpoint

TEXT = "the quick brown fox jumps over the lazy dog; " * 60
SIZES = ["--hidden-size", "6", "--batch-size", "4", "--bptt", "16", "--threads", "1", "--quiet"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def train(text, *options):
    return invoke("train", text, "--out", text.parent / "runs", *SIZES, *options)


def check_whole(run):
    """Both files are read, which refuses what is not finite, and can be verified; gives the state's step."""
    read_model(run)
    assert invoke("verify", run)[0] == 0
    return read_checkpoint(run / "training.safetensors").step


def evaluated(run):
    """The lines of its history that say how good it was; there is one at least."""
    lines = [line for line in read_metrics(run / "metrics.jsonl") if line["event"] == "evaluated"]
    assert lines
    return lines


@pytest.mark.parametrize(
    "recipe",
    [
        ["--learning-rate", "10", "--weight-decay", "10", "--eval-every", "5"],
        [
            "--learning-rate",
            "10",
            "--weight-decay",
            "10",
            "--eval-every",
            "5",
            "--averaging",
            "0",
            "--patience",
            "1000",
        ],
        ["--learning-rate", "1", "--weight-decay", "5", "--eval-every", "10", "--patience", "1000"],
    ],
)
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_run_that_diverges_ends_with_5_and_resumes_from_what_was_good(text, recipe, cell):
    code, out, err = train(text, "--steps", "2000", "--warmup-steps", "0", "--cell", cell, *recipe)
    run = text.parent / "runs" / "text"
    if code == 0:  # patience ended it while every loss was still a number
        assert all(math.isfinite(line["nats_per_char"]) for line in evaluated(run))
        assert "--patience" not in recipe
    else:
        assert (code, out) == (5, "")
        assert "diverged" in err
        assert str(run) in err
    assert check_whole(run) > 0
    assert invoke("train", "--resume", run, "--quiet")[0] == code  # it diverges again, and nothing is spoilt
    check_whole(run)


def test_patience_does_not_hide_a_loss_that_is_not_finite(text, monkeypatch):
    def spoilt(self, learning_rate, *, step):
        norm = update(self, learning_rate, step=step)
        if step == 20:
            with torch.no_grad():
                self.averages["output.bias"].fill_(math.nan)
        return norm

    update = optimizer.Optimizer.update
    monkeypatch.setattr(optimizer.Optimizer, "update", spoilt)
    code, _, err = train(text, "--steps", "40", "--eval-every", "1", "--patience", "1000")
    assert (code, "the held-out loss is not finite" in err) == (5, True)
    assert check_whole(text.parent / "runs" / "text") == 20


def test_a_run_with_one_nan_loss_can_be_resumed(text, monkeypatch):
    calls = []

    def once_nan(self, *arguments, **more):
        calls.append(1)
        loss, state = whole(self, *arguments, **more)
        return loss * (math.nan if len(calls) == 4 else 1.0), state

    whole = CharRNN.loss
    monkeypatch.setattr(CharRNN, "loss", once_nan)
    assert train(text, "--steps", "10", "--eval-every", "5")[0] == 0
    run = text.parent / "runs" / "text"
    assert check_whole(run) == 10
    assert invoke("train", "--resume", run, "--quiet")[0] == 0
    assert all(math.isfinite(line["train_nats"]) for line in evaluated(run))


def test_a_nan_weight_that_the_score_does_not_use_is_not_stored(text, monkeypatch):
    text.write_text("Zebra " + TEXT)  # Z stands in the learned part alone

    def spoilt(self, learning_rate, *, step):
        norm = update(self, learning_rate, step=step)
        if step == 8:
            with torch.no_grad():
                self.averages["layers.0.weight_ih"][:, 2] = math.inf  # symbols in order: space, ;, Z
        return norm

    update = optimizer.Optimizer.update
    monkeypatch.setattr(optimizer.Optimizer, "update", spoilt)
    code, _, err = train(text, "--steps", "20", "--eval-every", "5")
    assert (code, "layers.0.weight_ih is not finite" in err) == (5, True)
    assert check_whole(text.parent / "runs" / "text") == 5
