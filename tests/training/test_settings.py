"""A run's recipe and its end, and the schedule of its rate."""

import math

import pytest

from charrnn.errors import SettingsError
from charrnn.training.settings import LENGTHS, TrainingSettings, learning_rate_at

RECIPE = {"batch_size": 2, "bptt": 7, "learning_rate": 0.5}


@pytest.mark.parametrize(
    "given", [{}, {"minutes": 1.0, "steps": 2}, {"minutes": 1.0, "epochs": 1.0, "steps": 2}], ids=str
)
def test_a_run_has_one_length(given):
    found = " and ".join(f"`{name}`" for name in LENGTHS if name in given) or "none"
    with pytest.raises(SettingsError, match=f"exactly one of `minutes`, `epochs` and `steps`; found {found}$"):
        TrainingSettings(**RECIPE, **given)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("learning_rate", 0, "above 0 and at most 10"),
        ("batch_size", 0, "from 1 to 65,536"),
        ("dropout", 1.0, "at least 0 and below 1"),
        ("weight_dropout", -0.1, "at least 0 and below 1"),
        ("beta1", 1.0, "from 0 to 0.9999"),
        ("grad_clip", 0.0, "above 0 and at most 1,000,000"),
        ("seed", 2**63, "from 0 to 9,223,372,036,854,775,807"),
        ("patience", 0, "from 1 to 1,000,000"),
        ("eval_every", 0, "from 1 to"),
        ("steps", 10**401, "from 1 to"),
        ("minutes", math.nan, "above 0 and at most"),
        ("epochs", math.inf, "above 0 and at most"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(name, value, told):
    length = {} if name in LENGTHS else {"steps": 3}
    with pytest.raises(SettingsError, match=told) as caught:
        TrainingSettings(**{**RECIPE, **length, name: value})
    assert str(caught.value).startswith(f"{name} is ")


def recipe(**more):
    return TrainingSettings(**{**RECIPE, "steps": 1, "warmup_steps": 10, "final_learning_rate": 0.1, **more})


def test_the_rate_rises_straight_to_its_peak():
    rates = [learning_rate_at(step, recipe(), num_steps=100) for step in range(11)]
    assert rates[:10] == pytest.approx([0.5 * (step + 1) / 10 for step in range(10)], rel=1e-15)
    assert rates[9] == rates[10] == 0.5


def test_the_rate_falls_as_half_a_cosine_to_its_last_share():
    for step in (10, 33, 55, 78, 100):
        done = (step - 10) / 90
        expected = 0.5 * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)
        assert learning_rate_at(step, recipe(), num_steps=100) == pytest.approx(expected, rel=1e-15)
    assert learning_rate_at(100, recipe(), num_steps=100) == pytest.approx(0.05, rel=1e-12)
    assert learning_rate_at(200, recipe(), num_steps=100) == pytest.approx(0.05, rel=1e-12)


def test_a_short_run_warms_up_for_a_quarter_of_it_at_most():
    assert [learning_rate_at(step, recipe(), num_steps=8) for step in range(3)] == [0.25, 0.5, 0.5]


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_a_run_of_a_few_steps_begins_at_the_peak(num_steps):
    assert learning_rate_at(0, recipe(), num_steps=num_steps) == 0.5


def test_while_the_length_is_unknown_the_peak_is_held():
    rates = [learning_rate_at(step, recipe(), num_steps=None) for step in (0, 9, 10, 10_000)]
    assert rates == [0.05, 0.5, 0.5, 0.5]


def test_without_warm_up_the_first_rate_is_the_peak():
    assert learning_rate_at(0, recipe(warmup_steps=0), num_steps=100) == 0.5
