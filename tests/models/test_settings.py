"""The shape of a model and the choice of symbols: ranges, and what follows from a shape."""

import math

import numpy as np
import pytest
from cells import CELLS
from small_network import SHAPES, B, H, V, name_of, shape_of

from charrnn.errors import SettingsError
from charrnn.models.cells import CELLS as TABLE
from charrnn.models.cells import State
from charrnn.models.settings import ModelSettings, SamplingSettings


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("temperature", -0.1, "from 0 to 100"),
        ("temperature", math.nan, "from 0 to 100"),
        ("temperature", math.inf, "from 0 to 100"),
        ("temperature", "1", "from 0 to 100"),
        ("top_k", -1, "whole number from 0 to"),
        ("top_k", 2.0, "whole number"),
        ("top_k", True, "whole number"),
        ("top_p", 0.0, "above 0"),
        ("top_p", 1.01, "above 0 and at most 1"),
        ("min_p", -0.01, "from 0 to 1"),
        ("min_p", 1.5, "from 0 to 1"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(name, value, told):
    with pytest.raises(SettingsError, match=told) as caught:
        SamplingSettings(**{name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("vocab_size", 0, "from 1 to 1,114,112"),
        ("hidden_size", 0, "from 1 to 65,536"),
        ("hidden_size", 4.0, "from 1 to 65,536"),
        ("num_layers", 65, "from 1 to 64"),
        ("embedding_size", True, "from 1 to 65,536"),
        ("input", "one hot", "one of one-hot, embedding; did you mean one-hot"),
        ("cell", "lstn", "did you mean lstm"),
        ("bias", 1, "true or false"),
    ],
)
def test_a_shape_out_of_range_is_refused_with_the_range(name, value, told):
    with pytest.raises(SettingsError, match=told) as caught:
        shape_of(**{name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("settings", SHAPES, ids=name_of)
def test_a_shape_comes_back_from_its_json(settings):
    assert ModelSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("settings", SHAPES, ids=name_of)
def test_what_follows_from_a_shape_follows_from_its_cells_entry(settings):
    cell = TABLE[settings.cell]
    assert (settings.recurrent_cell, settings.num_gates) == (cell, cell.num_gates)
    shapes = settings.parameter_shapes()
    assert shapes["layers.0.weight_hh"] == (cell.num_gates * H, H)
    assert settings.num_parameters == sum(math.prod(shape) for shape in shapes.values())
    assert any(name.endswith(("bias", "bias_ih", "bias_hh")) for name in shapes) == settings.bias
    assert ("embedding.weight" in shapes) == (settings.input == "embedding")
    state = settings.zero_state(B, np.zeros)
    assert isinstance(state, State)
    assert settings.state_shapes(B) == dict.fromkeys(cell.states, (settings.num_layers, B, H))
    assert [part.shape for part in state] == list(settings.state_shapes(B).values())
    assert not any(part.any() for part in state)


@pytest.mark.parametrize("cell", CELLS)
def test_the_title_names_cell_sizes_and_input(cell):
    title = shape_of(cell=cell, num_layers=2, input="embedding", bias=False).title
    assert title == f"{TABLE[cell].title} 2x{H}, embedding of 5, no bias"
    assert ModelSettings(vocab_size=V, cell=cell, hidden_size=3).title == f"{TABLE[cell].title} 1x3, one-hot input"
