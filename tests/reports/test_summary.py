"""The end of a run in a few lines."""

import math

import pytest

from charrnn.models.settings import ModelSettings
from charrnn.reports.summary import run_summary
from charrnn.training.event import Finished
from charrnn.units import Score

# A hundred bytes, each with one bit; they are fifty characters.
SCORE = Score(
    nats=100 * math.log(2), nats_squared=101 * math.log(2) ** 2, num_predictions=100, num_chars=50, num_bytes=100
)
SHAPE = ModelSettings(vocab_size=7, cell="gru", hidden_size=4)


def rows(finished, directory, *, level="char"):
    lines = run_summary(finished, directory, SHAPE, level=level).splitlines()
    width = max(line.index("  ") for line in lines if not line.startswith(" "))
    return [(line[:width].rstrip(), line[width + 2 :]) for line in lines]


def test_the_summary_tells_loss_place_and_what_to_type_next(tmp_path):
    text = run_summary(Finished(10, "end", SCORE, 5, 61.0), tmp_path, SHAPE, level="byte")
    assert "1.0000 bits/byte, perplexity 2.000" in text
    assert f"charrnn sample {tmp_path}" in text
    assert "10 steps in 1:01" in text


def test_the_summary_is_of_what_was_trained(tmp_path):
    found = dict(rows(Finished(1234, "end", SCORE, 5, 3671.0), tmp_path))
    assert found["model"] == f"GRU 1x4, one-hot input, {SHAPE.num_parameters:,} weights"
    assert found["trained"] == "1,234 steps in 1:01:11, to the end of its plan"
    # The standard error of a mean of n equal figures but for one bit of variance: sqrt(1/99) of ln 2 nats, over 10.
    assert found["held-out loss"] == f"0.6931 nats/char ± {math.log(2) / math.sqrt(99) / 10:.4f} at step 5"
    assert found["file"] == str(tmp_path / "model.safetensors")
    assert found["next"] == f"charrnn sample {tmp_path} --prompt ..."


@pytest.mark.parametrize(
    ("reason", "told"),
    [("end", "to the end of its plan"), ("patience", "no longer fell"), ("stopped", "until it was stopped")],
)
def test_the_summary_tells_why_the_run_ended(tmp_path, reason, told):
    assert told in dict(rows(Finished(10, reason, SCORE, 5, 61.0), tmp_path))["trained"]
