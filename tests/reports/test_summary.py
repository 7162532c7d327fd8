"""The end of a run in a few lines."""

import math
from dataclasses import replace

import pytest

from charrnn.models.settings import ModelSettings
from charrnn.reports.summary import summary_rows
from charrnn.training.event import Finished
from charrnn.units import Score

# A hundred bytes, each with one bit; they are as many characters, or half as many.
SCORE = Score(
    nats=100 * math.log(2), nats_squared=101 * math.log(2) ** 2, num_predictions=100, num_chars=100, num_bytes=100
)
OF_BYTES = replace(SCORE, num_chars=50)
# The standard error of a mean of n equal figures but for one bit of variance: sqrt(1/99) of ln 2 nats, over 10.
ERROR = math.log(2) / math.sqrt(99) / 10
SHAPE = ModelSettings(vocab_size=7, cell="gru", hidden_size=4)


def rows(finished, directory, *, level="char"):
    return summary_rows(finished, directory, SHAPE, level=level)


def test_the_summary_tells_loss_place_and_what_to_type_next(tmp_path):
    found = rows(Finished(10, "end", OF_BYTES, 5, 61.0, 101), tmp_path, level="byte")
    text = "".join(f"{name}  {value}\n" for name, value in found)
    assert f"0.6931 nats/byte ± {ERROR:.4f}, 1.0000 bits/byte, perplexity 2.000 per byte\n" in text
    assert "of all 101 held-out bytes, by the model of step 5\n" in text
    assert "char/" not in text
    assert "/char" not in text
    assert f"charrnn sample {tmp_path}" in text
    assert "10 steps in 1:01" in text


def test_the_summary_is_of_what_was_trained(tmp_path):
    found = dict(rows(Finished(1234, "end", SCORE, 5678, 3671.0, 101), tmp_path))
    assert found["model"] == f"GRU 1x4, one-hot input, {SHAPE.num_parameters:,} weights"
    assert found["trained"] == "1,234 steps in 1:01:11, to the end of its plan"
    assert found["held-out loss"] == f"0.6931 nats/char ± {ERROR:.4f}, 1.0000 bits/char, perplexity 2.000"
    assert found["file"] == str(tmp_path / "model.safetensors")
    assert found["next"] == f"charrnn sample {tmp_path}"


@pytest.mark.parametrize(("num_held_out", "part"), [(101, "all 101"), (5000, "the first 101 of 5,000")])
def test_the_summary_tells_what_was_scored_and_by_which_model(tmp_path, num_held_out, part):
    found = rows(Finished(1234, "end", SCORE, 1200, 3671.0, num_held_out), tmp_path)
    loss = [name for name, _ in found].index("held-out loss")
    assert found[loss + 1] == ("", f"of {part} held-out characters, by the model of step 1,200")


@pytest.mark.parametrize(
    ("reason", "told"),
    [("end", "to the end of its plan"), ("patience", "no longer fell"), ("stopped", "until it was stopped")],
)
def test_the_summary_tells_why_the_run_ended(tmp_path, reason, told):
    assert told in dict(rows(Finished(10, reason, SCORE, 5, 61.0, 101), tmp_path))["trained"]


@pytest.mark.parametrize(("level", "options"), [("char", ""), ("byte", " --level byte")])
def test_the_summary_tells_what_counts_would_add(tmp_path, level, options):
    finished = Finished(10, "end", SCORE, 5, 61.0, 101)
    found = summary_rows(finished, tmp_path, SHAPE, level=level, text="texts/play.txt")
    at = [name for name, _ in found].index("more")
    assert found[at] == ("more", f"charrnn count TEXT{options}")
    assert "--with play-counts" in found[at + 1][1]
