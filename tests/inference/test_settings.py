"""What is written and what is scored: ranges, defaults and what does not go together."""

import pytest

from charrnn.errors import SettingsError
from charrnn.inference.settings import GenerationSettings, ScoringSettings
from charrnn.models.settings import SamplingSettings


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"length": -1}, "length is -1; it must be a whole number from 0"),
        ({"length": 1.5}, "length is 1.5"),
        ({"num_samples": 0}, "num_samples is 0; it must be a whole number from 1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"stop": ""}, "`stop` text is empty"),
        ({"temperature": -1}, "temperature is -1; it must be a number from 0 to 100"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(option, told):
    with pytest.raises(SettingsError, match=told):
        GenerationSettings(**option)


def test_how_a_symbol_is_drawn_has_one_set_of_defaults():
    writing, drawing = GenerationSettings(), SamplingSettings()
    assert {name: getattr(writing, name) for name in SamplingSettings.settings()} == drawing.to_json()
    assert list(GenerationSettings.settings())[: len(SamplingSettings.settings())] == list(SamplingSettings.settings())


@pytest.mark.parametrize(
    ("options", "protocol"),
    [
        ({}, "exact"),
        ({"windowed": 16}, "windowed-16"),
        ({"by_line": True}, "by-line"),
        ({"streams": 3}, "streams-3"),
        ({"sequential": True}, "sequential"),
        ({"sequential": True, "dynamic": True}, "sequential"),
        ({"dynamic": True, "fit_temperature": "other.txt"}, "exact"),
    ],
)
def test_the_protocol_says_how_a_score_is_made(options, protocol):
    assert ScoringSettings(**options).protocol == protocol


@pytest.mark.parametrize(
    "options",
    [
        {"windowed": 9, "by_line": True},
        {"windowed": 9, "streams": 2},
        {"by_line": True, "streams": 2},
        {"sequential": True, "streams": 2},
    ],
    ids=str,
)
def test_two_ways_to_score_are_refused(options):
    with pytest.raises(SettingsError, match="give one of them"):
        ScoringSettings(**options)


@pytest.mark.parametrize("apart", [{"dynamic": True}, {"fit_temperature": "other.txt"}], ids=str)
@pytest.mark.parametrize("options", [{"windowed": 9}, {"by_line": True}, {"streams": 2}], ids=str)
def test_scores_apart_stand_beside_the_exact_one_alone(options, apart):
    with pytest.raises(SettingsError, match="beside the exact score"):
        ScoringSettings(**options, **apart)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"windowed": 0}, "windowed is 0; it must be a whole number from 1"),
        ({"streams": 65_537}, "streams is 65537; it must be a whole number from 1 to 65,536"),
        ({"unknown": "replace"}, "one of error, skip"),
        ({"threads": 1025}, "from 1 to 1,024"),
        ({"json": 1}, "json is 1; it must be true or false"),
    ],
)
def test_scoring_out_of_range_is_refused_with_the_range(option, told):
    with pytest.raises(SettingsError, match=told):
        ScoringSettings(**option)
