"""What the calls of networks in C have in common: weights, how symbols are drawn, and what a status says.

Legend: B streams, E embedding size, H hidden units, G gates, V symbols, L layers.
"""

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError, NonFiniteError
from charrnn.models.native.kernel import kernel_number
from charrnn.models.settings import ModelSettings, SamplingSettings
from charrnn.text.utf8 import ALLOWED, NUM_STATES, TRANSITIONS

Array = NDArray[Any]

_NO_MEMORY, _BAD_ID, _NOT_FINITE = 1, 2, 4
_C_TYPES: dict[type, Any] = {int: ctypes.c_int64, float: ctypes.c_double}


class Sampling(ctypes.Structure):
    """``Sampling`` in symbol.h: the fields of ``SamplingSettings``."""

    _fields_ = tuple((name, _C_TYPES[known.kind]) for name, known in SamplingSettings.settings().items())


class Weights(ctypes.Structure):
    """Mirrors ``Weights`` in weights.h.

    Attributes:
        lists: what the pointers to pointers point to.
    """

    lists: dict[str, ctypes.Array[ctypes.c_void_p]]

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("cell", "L", "H", "V", "E")),
        ("symbols", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        *((name, ctypes.c_void_p) for name in ("weight_out", "bias_out")),
    ]


def checked_weights(settings: ModelSettings, weights: Mapping[str, Array]) -> dict[str, Array]:
    """The weights as C reads them, float32 and contiguous.

    Raises:
        InputError: a weight has the wrong shape.
    """
    w: dict[str, Array] = {}
    for name, shape in settings.parameter_shapes().items():
        w[name] = np.ascontiguousarray(weights[name], np.float32)
        if w[name].shape != shape:
            raise InputError(f"{name} is {w[name].shape}; it must be {shape}")
    return w


def weights_in_c(settings: ModelSettings, w: Mapping[str, Array], symbols: Array, *, embeds: bool) -> Weights:
    """The structure that tells C of weights. The arrays must live as long as it is used.

    Args:
        settings: shape of the model; its cell has a kernel.
        w: as ``checked_weights`` gives them.
        symbols: float32, contiguous: (V, E), or (V, G*H) where nothing is embedded.
        embeds: whether a row of ``symbols`` is multiplied with the first layer's input weights.

    Raises:
        RuntimeError: there is no library.
        ValueError: the cell has no kernel.
    """

    def pointers(kind: str) -> ctypes.Array[ctypes.c_void_p]:
        arrays = [w.get(f"layers.{layer}.{kind}") for layer in range(settings.num_layers)]
        return (ctypes.c_void_p * settings.num_layers)(
            *(None if array is None else array.ctypes.data for array in arrays)
        )

    lists = {kind: pointers(kind) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    bias_out = w.get("output.bias")
    given = Weights(
        cell=kernel_number(settings.recurrent_cell.kernel),
        L=settings.num_layers,
        H=settings.hidden_size,
        V=settings.vocab_size,
        E=settings.embedding_size if embeds else 0,
        symbols=symbols.ctypes.data,
        weight_out=w["output.weight"].ctypes.data,
        bias_out=None if bias_out is None else bias_out.ctypes.data,
        **{kind: ctypes.addressof(array) for kind, array in lists.items()},
    )
    given.lists = lists
    return given


def ids_in_c(ids: Array) -> Array:
    """Symbols as C reads them."""
    return np.ascontiguousarray(ids, np.int64)


def drawing_in_c(
    ids: Array, uniforms: Array, *, sampling: SamplingSettings, marks: Array | None, num_symbols: int
) -> dict[str, Any]:
    """Fields of a call that draws symbols: arrays by name, and ``sampling``; see ``Predictor.generate``.

    Raises:
        InputError: the arrays do not go together.
    """
    ids = ids_in_c(ids)
    uniforms = np.ascontiguousarray(uniforms, np.float64)
    if uniforms.shape[1:] != ids.shape:
        raise InputError(f"uniforms {uniforms.shape} must have one column for each of {len(ids)} streams")
    fields: dict[str, Any] = {"ids": ids, "drawn": np.empty(uniforms.shape, np.int64), "uniforms": uniforms}
    fields["sampling"] = Sampling(*(getattr(sampling, name) for name in SamplingSettings.settings()))
    if marks is not None:
        marks = np.array(marks, np.uint8)
        if num_symbols != ALLOWED.shape[1]:
            raise InputError(f"the model has {num_symbols} symbols, which are not bytes")
        if marks.shape != ids.shape or (marks >= NUM_STATES).any():
            raise InputError(f"marks must be {len(ids)} states below {NUM_STATES}")
        fields |= {"transitions": TRANSITIONS, "allowed": ALLOWED.view(np.uint8), "marks": marks}
    return fields


def addresses(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with the address of each array in its place."""
    return {name: value.ctypes.data if isinstance(value, np.ndarray) else value for name, value in fields.items()}


def check_status(status: int, *, num_symbols: int) -> None:
    """Raises what a call's status says.

    Raises:
        MemoryError: there was no memory.
        InputError: an id is not a symbol.
        NonFiniteError: logits or gradients are not finite.
    """
    if status == _NO_MEMORY:
        raise MemoryError("the network is out of memory")
    if status == _BAD_ID:
        raise InputError(f"an id is not one of the {num_symbols} symbols")
    if status == _NOT_FINITE:
        raise NonFiniteError
