"""A stacked network by the C kernels: steps, scores and draws without torch.

Legend: T steps, B streams, E embedding size, H hidden units, G gates, V symbols, L layers.
"""

import ctypes
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.models.native.kernel import kernel_name, kernel_number, library_functions
from charrnn.models.settings import ModelSettings

Array = NDArray[Any]
State = tuple[Array, Array]
"""Hidden (L, B, H) and cell state, (L, B, H) for an LSTM and (0, B, H) for the others."""

_NO_MEMORY, _BAD_ID, _BAD_LOGITS = 1, 2, 4


class _Weights(ctypes.Structure):
    """Mirrors ``Weights`` in network.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("cell", "L", "H", "V")),
        ("table", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        *((name, ctypes.c_void_p) for name in ("weight_out", "bias_out")),
    ]


class _Run(ctypes.Structure):
    """Mirrors ``Run`` in network.c."""

    _fields_ = [
        ("network", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("T", "B", "num_threads")),
        *((name, ctypes.c_void_p) for name in ("ids", "targets", "hidden", "cells", "logits", "nats")),
        *((name, ctypes.c_void_p) for name in ("drawn", "uniforms")),
        *((name, ctypes.c_double) for name in ("temperature", "top_p", "min_p")),
        ("top_k", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("transitions", "allowed", "marks")),
    ]


class Automaton(NamedTuple):
    """Which symbols may follow which, as of UTF-8's bytes.

    Attributes:
        transitions: (S, V) uint8, the state after a symbol.
        allowed: (S, V) bool, whether the symbol may stand there.
    """

    transitions: Array
    allowed: Array


class NativeNetwork:
    """Weights packed for this processor. It keeps no state of a text, and may be used from several threads.

    A stream's numbers depend on that stream alone, whatever is beside it and however its steps are grouped.

    Args:
        settings: shape of the model.
        weights: float32, by the names of ``settings.parameter_shapes()``.
        num_threads: most threads a call may use; no result depends on it.

    Raises:
        RuntimeError: there is no library; ``build.unavailable_reason`` says why.
        InputError: a weight has the wrong shape.
    """

    def __init__(self, settings: ModelSettings, weights: Mapping[str, Array], *, num_threads: int = 1) -> None:
        self.settings = settings
        self._num_threads = max(1, num_threads)
        self._calls = library_functions()
        self._handle = _pack(self._calls, settings, weights)
        free = self._calls.charrnn_network_free
        weakref.finalize(self, free, ctypes.c_void_p(self._handle))

    def zero_state(self, num_streams: int) -> State:
        """The state at the start of a text."""
        s = self.settings
        shape = (s.num_layers, num_streams, s.hidden_size)
        cell_shape = shape if s.cell == "lstm" else (0, *shape[1:])
        return np.zeros(shape, np.float32), np.zeros(cell_shape, np.float32)

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """Logits (B, V) float32 of what follows ``ids`` (B,), and the state after reading them."""
        rows = _ids(ids)[None]
        logits = np.empty((*rows.shape, self.settings.vocab_size), np.float32)
        after = self._run(rows.shape, state, ids=rows, logits=logits)
        return logits[0], after

    def score(self, ids: Array, targets: Array, state: State) -> tuple[Array, State]:
        """-ln p(targets[t]) (T, B) float64, having read ``ids[:t + 1]`` (T, B); and the state after all.

        The network computes in float32, the sum over symbols in float64.
        """
        ids, targets = _ids(ids), _ids(targets)
        if ids.shape != targets.shape:
            raise InputError(f"ids {ids.shape} and targets {targets.shape} must have one shape")
        nats = np.empty(ids.shape, np.float64)
        return nats, self._run(ids.shape, state, ids=ids, targets=targets, nats=nats)

    def generate(
        self,
        ids: Array,
        state: State,
        *,
        uniforms: Array,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        automaton: Automaton | None = None,
        marks: Array | None = None,
    ) -> tuple[Array, State, Array | None]:
        """Symbols drawn one after the other, each the next one's input.

        Args:
            ids: (B,) symbols to read first.
            state: the state before reading them.
            uniforms: (T, B) numbers in [0, 1), one a draw.
            temperature: logits are divided by it; 0 takes the most probable symbol, of ties the lowest id.
            top_k: only the k most probable symbols and those that tie with the k-th; 0 is off.
            top_p: then only the fewest most probable symbols that reach it together, lower ids first; 1 is off.
            min_p: then only symbols at least this share as probable as the most probable one; 0 is off.
            automaton: which symbols may follow which; with marks.
            marks: (B,) its states.

        Returns:
            (T, B) ids drawn, the state before the last row of them is read, and the automaton's states (B,)
            after it, or None.

        Raises:
            InputError: the logits are not finite.
        """
        ids = _ids(ids)
        uniforms = np.ascontiguousarray(uniforms, np.float64)
        if uniforms.shape[1:] != ids.shape:
            raise InputError(f"uniforms {uniforms.shape} must have one column for each of {len(ids)} streams")
        drawn = np.empty(uniforms.shape, np.int64)
        arrays = {"ids": ids, "drawn": drawn, "uniforms": uniforms}
        if automaton is not None and marks is not None:
            shape = (len(automaton.transitions), self.settings.vocab_size)
            marks = np.array(marks, np.uint8)
            arrays["transitions"] = np.ascontiguousarray(automaton.transitions, np.uint8)
            arrays["allowed"] = np.ascontiguousarray(automaton.allowed, np.uint8)
            arrays["marks"] = marks
            if arrays["transitions"].shape != shape or arrays["allowed"].shape != shape:
                raise InputError(f"the automaton must have tables of {shape}")
            if marks.shape != ids.shape or (marks >= shape[0]).any():
                raise InputError(f"marks must be {len(ids)} states below {shape[0]}")
        after = self._run(drawn.shape, state, **arrays, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        return drawn, after, marks

    def _run(self, shape: tuple[int, ...], state: State, **values: Array | float) -> State:
        num_steps, num_streams = shape
        expected = self.zero_state(num_streams)
        after = tuple(np.array(part, np.float32, order="C") for part in state)
        for part, zero in zip(after, expected, strict=True):
            if part.shape != zero.shape:
                raise InputError(f"a state is {part.shape}; it must be {zero.shape}")
        given = {name: value.ctypes.data if isinstance(value, np.ndarray) else value for name, value in values.items()}
        run = _Run(
            network=self._handle,
            T=num_steps,
            B=num_streams,
            num_threads=self._num_threads,
            hidden=after[0].ctypes.data,
            cells=after[1].ctypes.data,
            **given,
        )
        status = self._calls.charrnn_network_run(ctypes.byref(run))
        if status == _NO_MEMORY:
            raise MemoryError("the network is out of memory")
        if status == _BAD_ID:
            raise InputError(f"an id is not one of the {self.settings.vocab_size} symbols")
        if status == _BAD_LOGITS:
            raise InputError("the model gives logits that are not finite; it cannot be sampled from")
        return after[0], after[1]


def _ids(ids: Array) -> Array:
    return np.ascontiguousarray(ids, np.int64)


def _pack(calls: ctypes.CDLL, settings: ModelSettings, weights: Mapping[str, Array]) -> int:
    w: dict[str, Array] = {}
    for name, shape in settings.parameter_shapes().items():
        w[name] = np.ascontiguousarray(weights[name], np.float32)
        if w[name].shape != shape:
            raise InputError(f"{name} is {w[name].shape}; it must be {shape}")
    # One-hot input never needs a product: W_ih x is a column of W_ih. An embedding folds into it likewise.
    table = w["layers.0.weight_ih"].T
    if settings.input == "embedding":
        table = w["embedding.weight"] @ table
    table = np.ascontiguousarray(table + w.get("layers.0.bias_ih", np.float32(0)), np.float32)

    def pointers(kind: str) -> ctypes.Array[ctypes.c_void_p]:
        arrays = [w.get(f"layers.{layer}.{kind}") for layer in range(settings.num_layers)]
        return (ctypes.c_void_p * settings.num_layers)(
            *(None if array is None else array.ctypes.data for array in arrays)
        )

    lists = {kind: pointers(kind) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    bias_out = w.get("output.bias")
    given = _Weights(
        cell=kernel_number(kernel_name(settings.cell, settings.reset)),
        L=settings.num_layers,
        H=settings.hidden_size,
        V=settings.vocab_size,
        table=table.ctypes.data,
        weight_out=w["output.weight"].ctypes.data,
        bias_out=None if bias_out is None else bias_out.ctypes.data,
        **{kind: ctypes.addressof(array) for kind, array in lists.items()},
    )
    calls.charrnn_network_new.restype = ctypes.c_void_p
    handle = calls.charrnn_network_new(ctypes.byref(given))
    if handle is None:
        raise MemoryError("the network does not fit into memory")
    return int(handle)
