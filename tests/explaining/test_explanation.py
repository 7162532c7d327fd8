"""A whole explanation: what is reported of a unit comes from the half that had no say in its choice."""

import numpy as np
import pytest

from charrnn.errors import InputError, SettingsError
from charrnn.explaining.explanation import Text, explain, open_text
from charrnn.explaining.feature import features_of
from charrnn.explaining.settings import ExplainSettings
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile
from charrnn.text.source import typed_source
from charrnn.text.vocab import Vocab

LINE = 'Say "yes" (now). Go on\n'
TEXT = "".join(LINE[at % 7 :] for at in range(80))
VOCAB = Vocab.of_text(LINE)


def planted():
    """A vanilla network whose unit 0 is high after a newline, and whose unit 1 counts the characters of a line."""
    shape = ModelSettings(vocab_size=VOCAB.size, cell="rnn", hidden_size=3, bias=False)
    weights = {name: np.zeros(each, np.float32) for name, each in shape.parameter_shapes().items()}
    newline = int(VOCAB.encode("\n")[0])
    weights["layers.0.weight_ih"][0] = -2
    weights["layers.0.weight_ih"][0, newline] = 2
    weights["layers.0.weight_ih"][1] = 0.02
    weights["layers.0.weight_ih"][1, newline] = -0.5
    weights["layers.0.weight_hh"][1, 1] = 1
    weights["output.weight"][:] = np.random.default_rng(0).normal(0, 0.1, (VOCAB.size, 3))
    return ModelFile(shape, VOCAB, weights, {"training": {"grad_clip": 0.5}})


@pytest.fixture(scope="module")
def explained():
    settings = ExplainSettings(unit=("1.hidden.2",), reach=3)
    (model,) = explain({"planted": planted()}, Text("t", TEXT, False), settings).models
    return model


def test_planted_units_are_found_by_what_they_follow(explained):
    found = {each.feature: each for each in explained.units}
    assert found["after a line's end"].unit.number == 0
    assert found["after a line's end"].checked == pytest.approx(1, abs=1e-6)
    assert found["after a line's end"].accuracy == 1
    assert found["position in the line"].unit.number == 1
    assert found["position in the line"].accuracy is None
    sizes = [abs(each.checked) for each in explained.units]
    assert sizes == sorted(sizes, reverse=True)


def test_each_half_has_its_own_correlation(explained):
    half = len(TEXT) // 2
    features = {each.name: each.values for each in features_of(TEXT)}
    for each in explained.units:
        values = explained.reading.units[each.unit]
        for rows, told in ((slice(0, half), each.found), (slice(half, None), each.checked)):
            expected = np.corrcoef(values[rows].astype(np.float64), features[each.feature][rows])[0, 1]
            assert told == pytest.approx(expected, abs=1e-6)  # states are float32, of two passes
        assert each.num_checked == len(TEXT) - half


def test_the_clip_is_that_of_the_training_and_asked_units_are_kept(explained):
    assert explained.flow.grad_clip == 0.5
    assert next(iter(explained.reading.units)).number == 2


def test_a_short_text_is_too_short_for_units_and_says_so():
    (model,) = explain({"m": planted()}, Text("t", LINE, False), ExplainSettings(reach=0)).models
    assert model.units == ()
    assert "400 characters" in model.notes[0]
    assert model.flow is None


def test_a_text_is_cut_and_knows_it():
    assert open_text(typed_source("abcdef"), length=4, encoding="utf-8") == Text("abcdef", "abcd", True)
    assert open_text(typed_source("abcd"), length=4, encoding="utf-8") == Text("abcd", "abcd", False)
    with pytest.raises(InputError, match="has one character"):
        open_text(typed_source("a"), length=4, encoding="utf-8")


def test_a_unit_that_no_model_has_is_refused():
    with pytest.raises(SettingsError, match="m has layers 1 to 1, parts hidden, numbers 0 to 2"):
        explain({"m": planted()}, Text("t", LINE, False), ExplainSettings(unit=("1.cell.0",)))
