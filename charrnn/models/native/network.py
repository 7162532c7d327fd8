"""A stacked network by the C kernels: steps, scores and draws without torch.

Legend: T steps, B streams, E embedding size, H hidden units, G gates, V symbols, L layers.
"""

import ctypes
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.models.cells import State, input_table
from charrnn.models.native.call import (
    Sampling,
    addresses,
    check_status,
    checked_weights,
    drawing_in_c,
    ids_in_c,
    weights_in_c,
)
from charrnn.models.native.kernel import library_functions
from charrnn.models.predictor import Generated
from charrnn.models.recurrent import RecurrentPredictor
from charrnn.models.settings import ModelSettings, SamplingSettings

Array = NDArray[Any]


class _Run(ctypes.Structure):
    """Mirrors ``Run`` in network.c."""

    _fields_ = [
        ("network", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("T", "B", "num_threads")),
        *((name, ctypes.c_void_p) for name in ("ids", "targets", "hidden", "cells", "logits", "nats")),
        *((name, ctypes.c_void_p) for name in ("all_hidden", "all_cells")),
        *((name, ctypes.c_void_p) for name in ("drawn", "uniforms")),
        ("sampling", Sampling),
        *((name, ctypes.c_void_p) for name in ("transitions", "allowed", "marks")),
    ]


class NativeNetwork(RecurrentPredictor):
    """Weights packed for this processor, as a predictor. It may be used from several threads.

    A stream's numbers depend on that stream alone, whatever is beside it and however its steps are grouped.

    Args:
        settings: shape of the model; its cell has a kernel.
        weights: float32, by the names of ``settings.parameter_shapes()``.
        num_threads: most threads a call may use; no result depends on it.

    Raises:
        RuntimeError: there is no library (``build.unavailable_reason`` says why), or no kernel of that cell.
        InputError: a weight has the wrong shape.
    """

    def __init__(self, settings: ModelSettings, weights: Mapping[str, Array], *, num_threads: int = 1) -> None:
        self.settings = settings
        self._num_threads = max(1, num_threads)
        self._calls = library_functions()
        self._symbols, self._handle = _pack(self._calls, settings, weights)  # the one refers to the other
        free = self._calls.charrnn_network_free
        weakref.finalize(self, free, ctypes.c_void_p(self._handle))

    @property
    def num_symbols(self) -> int:
        """V."""
        return self.settings.vocab_size

    def zero_state(self, num_streams: int) -> State:
        """The state at the start of a text."""
        return self.settings.zero_state(num_streams, lambda shape: np.zeros(shape, np.float32))

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """Logits (B, V) float32 of what follows ``ids`` (B,), and the state after reading them."""
        rows = ids_in_c(ids)[None]
        logits = np.empty((*rows.shape, self.settings.vocab_size), np.float32)
        after = self._run(rows.shape, state, ids=rows, logits=logits)
        return logits[0], after

    def score(self, ids: Array, targets: Array, state: State) -> tuple[Array, State]:
        """-ln p(targets[t]) (T, B) float64, having read ``ids[:t + 1]`` (T, B); and the state after all.

        The network computes in float32, the sum over symbols in float64.
        """
        ids, targets = ids_in_c(ids), ids_in_c(targets)
        if ids.shape != targets.shape:
            raise InputError(f"ids {ids.shape} and targets {targets.shape} must have one shape")
        nats = np.empty(ids.shape, np.float64)
        return nats, self._run(ids.shape, state, ids=ids, targets=targets, nats=nats)

    def trace(self, ids: Array, state: State) -> tuple[Array, State, State]:
        """All that happens while ``ids`` (T, B) are read.

        Returns:
            logits (T, B, V) float32 of what follows each symbol; the states after each symbol, arrays (T, L, B, H);
            and the state after all.
        """
        ids = ids_in_c(ids)
        logits = np.empty((*ids.shape, self.settings.vocab_size), np.float32)
        shapes = self.settings.state_shapes(ids.shape[1]).values()
        states = State(np.empty((len(ids), *shape), np.float32) for shape in shapes)
        kept = dict(zip(("all_hidden", "all_cells"), states, strict=False))
        return logits, states, self._run(ids.shape, state, ids=ids, logits=logits, **kept)

    def generate(
        self,
        ids: Array,
        state: State,
        *,
        uniforms: Array,
        sampling: SamplingSettings,
        marks: Array | None = None,
    ) -> Generated:
        """Symbols drawn one after the other, each the next one's input; see ``Predictor.generate``."""
        fields = drawing_in_c(ids, uniforms, sampling=sampling, marks=marks, num_symbols=self.num_symbols)
        after = self._run(fields["drawn"].shape, state, **fields)
        return Generated(fields["drawn"], after, fields.get("marks"))

    def _run(self, shape: tuple[int, ...], state: State, **values: Array | ctypes.Structure) -> State:
        num_steps, num_streams = shape
        after = state.map(lambda part: np.array(part, np.float32, order="C"))
        expected = list(self.settings.state_shapes(num_streams).values())
        if [part.shape for part in after] != expected:
            raise InputError(f"a state is {[part.shape for part in after]}; it must be {expected}")
        hidden, *cells = (part.ctypes.data for part in after)
        run = _Run(
            network=self._handle,
            T=num_steps,
            B=num_streams,
            num_threads=self._num_threads,
            hidden=hidden,
            cells=cells[0] if cells else None,
            **addresses(values),
        )
        status = self._calls.charrnn_network_run(ctypes.byref(run))
        check_status(status, num_symbols=self.settings.vocab_size)
        return after


def _pack(calls: ctypes.CDLL, settings: ModelSettings, weights: Mapping[str, Array]) -> tuple[Array, int]:
    """What symbols feed in, which must live as long as the network, and the network's address."""
    w = checked_weights(settings, weights)
    if settings.folds_input:
        symbols = input_table(w["layers.0.weight_ih"], w.get("layers.0.bias_ih"), w.get("embedding.weight"))
    else:
        symbols = w["embedding.weight"]
    symbols = np.ascontiguousarray(symbols, np.float32)
    given = weights_in_c(settings, w, symbols, embeds=not settings.folds_input)
    calls.charrnn_network_new.restype = ctypes.c_void_p
    handle = calls.charrnn_network_new(ctypes.byref(given))
    if handle is None:
        raise MemoryError("the network does not fit into memory")
    return symbols, int(handle)
