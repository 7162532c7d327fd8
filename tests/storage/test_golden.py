"""Files written by released formats, kept here byte for byte: what a user stored stays readable."""

from pathlib import Path

import numpy as np
import pytest

import charrnn
from charrnn.storage.model_file import read_model

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.safetensors")))
def test_a_model_of_every_released_format_is_still_read(name):
    model = read_model(GOLDEN / name)
    assert (model.settings.cell, model.settings.hidden_size) == ("gru", 3)
    assert model.vocab.symbols == "\nabc"
    # Weights were written as multiples of a sixteenth, in order, from -1 up.
    found = np.concatenate([weight.ravel() for weight in model.weights.values()])
    np.testing.assert_array_equal(found, np.arange(len(found)) % 33 / 16 - 1)
    assert model.facts == {"held_out": {"nats_per_char": 1.25}, "step": 7}
    assert len(charrnn.load(GOLDEN / name).sample("ab", length=4, seed=1)[0]) == 4


def test_there_is_one_for_each_format():
    from charrnn.storage.container import VERSION

    assert len(list(GOLDEN.glob("*.safetensors"))) == VERSION
