"""Scores: their sums as a file states them, and how they are printed."""

import dataclasses
import math

import pytest

from charrnn.units import Score

SUMS = {"nats": 30.0, "nats_squared": 50.0, "num_predictions": 20, "num_chars": 15, "num_bytes": 20}


def test_a_score_is_made_of_its_own_sums():
    score = Score(**SUMS, num_unknown=2)
    assert Score.from_sums(dataclasses.asdict(score)) == score


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nats", math.inf),
        ("nats", 10**400),
        ("nats", True),
        ("nats_squared", -1.0),
        ("num_bytes", 1.0),
        ("num_chars", -1),
    ],
)
def test_a_sum_that_is_none_is_refused_by_its_name(name, value):
    with pytest.raises(ValueError, match=f"{name} is "):
        Score.from_sums({**SUMS, name: value})


def test_a_score_is_printed_with_the_unit_of_each_figure():
    assert (
        repr(Score(**SUMS))
        == str(Score(**SUMS))
        == ("Score(2.0000 ± 0.1529 nats/char, 2.8854 bits/char, 2.1640 bits/byte, perplexity 7.389; 15 characters)")
    )
    assert repr(Score(**SUMS, num_unknown=1234)).endswith("; 15 characters, 1,234 unknown left out)")
    assert repr(Score(1.0, 1.0, 1, 1, 1)).endswith("; 1 character)")  # and of one prediction no standard error
    assert "±" not in repr(Score(1.0, 1.0, 1, 1, 1))
    assert repr(Score(0.0, 0.0, 0, 0, 0)) == "Score(nothing predicted)"
