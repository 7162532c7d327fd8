"""A stacked network by the C kernels: steps, scores and draws without torch.

Legend: T steps, B streams, E embedding size, H hidden units, G gates, V symbols, L layers.
"""

import ctypes
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError, NonFiniteError
from charrnn.models.cells import State, input_table
from charrnn.models.native.kernel import kernel_number, library_functions
from charrnn.models.predictor import Generated, Predictor
from charrnn.models.settings import ModelSettings, SamplingSettings
from charrnn.text.utf8 import ALLOWED, NUM_STATES, TRANSITIONS

Array = NDArray[Any]

_NO_MEMORY, _BAD_ID, _BAD_LOGITS = 1, 2, 4
_C_TYPES: dict[type, Any] = {int: ctypes.c_int64, float: ctypes.c_double}


class _Weights(ctypes.Structure):
    """Mirrors ``Weights`` in network.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("cell", "L", "H", "V", "E")),
        ("symbols", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        *((name, ctypes.c_void_p) for name in ("weight_out", "bias_out")),
    ]


class _Sampling(ctypes.Structure):
    """``Sampling`` in network.c: the fields of ``SamplingSettings``."""

    _fields_ = tuple((name, _C_TYPES[known.kind]) for name, known in SamplingSettings.settings().items())


class _Run(ctypes.Structure):
    """Mirrors ``Run`` in network.c."""

    _fields_ = [
        ("network", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("T", "B", "num_threads")),
        *((name, ctypes.c_void_p) for name in ("ids", "targets", "hidden", "cells", "logits", "nats")),
        *((name, ctypes.c_void_p) for name in ("drawn", "uniforms")),
        ("sampling", _Sampling),
        *((name, ctypes.c_void_p) for name in ("transitions", "allowed", "marks")),
    ]


class NativeNetwork(Predictor):
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
        sampling: SamplingSettings,
        marks: Array | None = None,
    ) -> Generated:
        """Symbols drawn one after the other, each the next one's input; see ``Predictor.generate``."""
        ids = _ids(ids)
        uniforms = np.ascontiguousarray(uniforms, np.float64)
        if uniforms.shape[1:] != ids.shape:
            raise InputError(f"uniforms {uniforms.shape} must have one column for each of {len(ids)} streams")
        drawn = np.empty(uniforms.shape, np.int64)
        arrays = {"ids": ids, "drawn": drawn, "uniforms": uniforms}
        if marks is not None:
            marks = np.array(marks, np.uint8)
            if self.num_symbols != ALLOWED.shape[1]:
                raise InputError(f"the model has {self.num_symbols} symbols, which are not bytes")
            if marks.shape != ids.shape or (marks >= NUM_STATES).any():
                raise InputError(f"marks must be {len(ids)} states below {NUM_STATES}")
            arrays |= {"transitions": TRANSITIONS, "allowed": ALLOWED.view(np.uint8), "marks": marks}
        chosen = _Sampling(*(getattr(sampling, name) for name in SamplingSettings.settings()))
        after = self._run(drawn.shape, state, **arrays, sampling=chosen)
        return Generated(drawn, after, marks)

    def _run(self, shape: tuple[int, ...], state: State, **values: Array | ctypes.Structure) -> State:
        num_steps, num_streams = shape
        after = state.map(lambda part: np.array(part, np.float32, order="C"))
        expected = list(self.settings.state_shapes(num_streams).values())
        if [part.shape for part in after] != expected:
            raise InputError(f"a state is {[part.shape for part in after]}; it must be {expected}")
        given = {name: value.ctypes.data if isinstance(value, np.ndarray) else value for name, value in values.items()}
        hidden, *cells = (part.ctypes.data for part in after)
        run = _Run(
            network=self._handle,
            T=num_steps,
            B=num_streams,
            num_threads=self._num_threads,
            hidden=hidden,
            cells=cells[0] if cells else None,
            **given,
        )
        status = self._calls.charrnn_network_run(ctypes.byref(run))
        if status == _NO_MEMORY:
            raise MemoryError("the network is out of memory")
        if status == _BAD_ID:
            raise InputError(f"an id is not one of the {self.settings.vocab_size} symbols")
        if status == _BAD_LOGITS:
            raise NonFiniteError
        return after


def _ids(ids: Array) -> Array:
    return np.ascontiguousarray(ids, np.int64)


def _pack(calls: ctypes.CDLL, settings: ModelSettings, weights: Mapping[str, Array]) -> tuple[Array, int]:
    """What symbols feed in, which must live as long as the network, and the network's address."""
    w: dict[str, Array] = {}
    for name, shape in settings.parameter_shapes().items():
        w[name] = np.ascontiguousarray(weights[name], np.float32)
        if w[name].shape != shape:
            raise InputError(f"{name} is {w[name].shape}; it must be {shape}")
    if settings.folds_input:
        symbols = input_table(w["layers.0.weight_ih"], w.get("layers.0.bias_ih"), w.get("embedding.weight"))
    else:
        symbols = w["embedding.weight"]
    symbols = np.ascontiguousarray(symbols, np.float32)

    def pointers(kind: str) -> ctypes.Array[ctypes.c_void_p]:
        arrays = [w.get(f"layers.{layer}.{kind}") for layer in range(settings.num_layers)]
        return (ctypes.c_void_p * settings.num_layers)(
            *(None if array is None else array.ctypes.data for array in arrays)
        )

    lists = {kind: pointers(kind) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    bias_out = w.get("output.bias")
    given = _Weights(
        cell=kernel_number(settings.recurrent_cell.kernel),
        L=settings.num_layers,
        H=settings.hidden_size,
        V=settings.vocab_size,
        E=0 if settings.folds_input else settings.embedding_size,
        symbols=symbols.ctypes.data,
        weight_out=w["output.weight"].ctypes.data,
        bias_out=None if bias_out is None else bias_out.ctypes.data,
        **{kind: ctypes.addressof(array) for kind, array in lists.items()},
    )
    calls.charrnn_network_new.restype = ctypes.c_void_p
    handle = calls.charrnn_network_new(ctypes.byref(given))
    if handle is None:
        raise MemoryError("the network does not fit into memory")
    return symbols, int(handle)
