"""A model of counts as arrays that a file holds, and back; what a file says is checked before it is used."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.models.counts.settings import CountsSettings, weight_shapes
from charrnn.models.counts.tables import LINE, Tables
from charrnn.models.tree import Tree

Array = NDArray[Any]

_PROBABILITIES = ("ever", "lately", "match", "first", "second")
_COUNTS = ("ever_seen", "match_seen", "decisions")
_MAX_WEIGHT = 1e4


def to_arrays(tables: Tables, fixed_weights: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays named and shaped as ``CountsSettings.tensors`` says.

    Args:
        tables: with the weights for counts that grow.
        fixed_weights: those for counts that stay as they are.
    """
    text = np.zeros((2 * tables.num_text + 7) // 8 * 4, np.uint16)
    text[: tables.num_text] = tables.text[: tables.num_text]
    return {
        "lines": tables.lines.view(np.int64).reshape(len(tables.lines), -1),
        "text": text.view(np.int64),
        "places": tables.places.view(np.int64),
        "cuts": tables.cuts.astype(np.int64),
        "classes": tables.classes.astype(np.int64),
        **{f"fixed.{name}": weight for name, weight in fixed_weights.items()},
        **{f"growing.{name}": weight for name, weight in tables.weights.items()},
    }


def from_arrays(settings: CountsSettings, arrays: Mapping[str, Array]) -> tuple[Tables, dict[str, Array]]:
    """The model in arrays, which it uses in place: the tables with the weights for counts that grow, and the others.

    The weights of a mixer that the model lacks are 0.

    Raises:
        InputError: an array holds what no model has; names it.
    """
    weights = [
        {
            name: np.ascontiguousarray(arrays.get(f"{kind}.{name}", np.zeros(shape, np.float32)))
            for name, shape in weight_shapes(settings.vocab_size).items()
        }
        for kind in ("growing", "fixed")
    ]
    for each in weights:
        for name, weight in each.items():
            lowest, highest = (0.0, np.finfo(np.float32).max) if name in _COUNTS else (-_MAX_WEIGHT, _MAX_WEIGHT)
            if not ((weight >= lowest) & (weight <= highest)).all():
                raise InputError(f"{name} holds a weight out of range")
            if name in _PROBABILITIES and not ((weight >= 0) & (weight < 1)).all():
                raise InputError(f"{name} holds what is no probability")
    try:
        Tree(arrays["cuts"])
    except ValueError as error:
        raise InputError("cuts make no tree") from error
    text = arrays["text"].view(np.uint16)[: settings.num_text]
    places = arrays["places"].view(np.uint32)
    classes = arrays["classes"]
    if int(text.max(initial=0)) >= settings.vocab_size:
        raise InputError("text holds what is no symbol")
    if int(places.max(initial=0)) > settings.num_text:
        raise InputError("places lie outside the text")
    if not ((classes >= 0) & (classes < 256)).all():
        raise InputError("classes holds an unknown class")
    tables = Tables(
        np.ascontiguousarray(arrays["lines"]).view(LINE).reshape(-1),
        text,
        settings.num_text,
        np.ascontiguousarray(places),
        np.ascontiguousarray(arrays["cuts"]),
        classes.astype(np.uint8),
        weights[0],
    )
    return tables, weights[1]
