"""Dynamic evaluation by the C kernels: as ``models.dynamic`` does it, without torch and several times faster.

The numbers are the same within float32 rounding: sums are taken in another order, and the norm of the gradient is
found from products of its factors. But where a layer has more than 2^18 recurrent weights (an LSTM of 257 units),
products read them rounded to half precision, 11 bits, if the processor knows it. Predictions then move by about 1e-4
nats, some up and some down, and their mean over a text by less than 1e-5. The weights that learn stay float32.

Legend: T symbols read, n symbols of the segment, H hidden units, V symbols, L layers, S saved blocks.
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.models.cells import State
from charrnn.models.native.call import (
    Sampling,
    addresses,
    check_status,
    checked_weights,
    drawing_in_c,
    ids_in_c,
    weights_in_c,
)
from charrnn.models.native.kernel import cell_facts, library_functions
from charrnn.models.predictor import Generated, OneStreamState, Predictor, require_one_stream
from charrnn.models.settings import DynamicSettings, ModelSettings, SamplingSettings

Array = NDArray[Any]


class _Run(ctypes.Structure):
    """Mirrors ``DynamicRun`` in dynamic.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("cell", "L", "H", "V", "E", "has_bias", "segment")),
        *((name, ctypes.c_double) for name in ("learning_rate", "decay")),
        ("num_threads", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("trained", "before", "after")),
        *((name, ctypes.c_int64) for name in ("room", "num_read")),
        *((name, ctypes.c_void_p) for name in ("segment_ids", "hidden", "cells", "saved")),
        ("T", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("ids", "targets", "logits", "nats", "drawn", "uniforms")),
        ("sampling", Sampling),
        *((name, ctypes.c_void_p) for name in ("transitions", "allowed", "marks")),
    ]


@dataclass(frozen=True)
class NativeDynamicState(OneStreamState):
    """What a network under dynamic evaluation remembers of its one stream; none of it is ever changed.

    Attributes:
        weights: as they have become, packed for the kernels.
        network: the network's states before the segment and after each of its symbols, (L, n + 1, H).
        saved: (L, n, S*H) what the backward pass needs besides.
        segment: (n,) symbols read of it.
    """

    weights: NDArray[np.float32]
    network: State
    saved: NDArray[np.float32]
    segment: NDArray[np.int64]


class NativeDynamicNetwork(Predictor):
    """A network that learns from each segment it has read. It may be used from several threads.

    Args:
        settings: shape of the model; its cell has a kernel.
        weights: float32, by the names of ``settings.parameter_shapes()``; left as they are.
        dynamic: segment and rates.
        num_threads: most threads a call may use; no result depends on it.

    Raises:
        RuntimeError: there is no library (``build.unavailable_reason`` says why).
        ValueError: the cell has no kernel.
        InputError: a weight has the wrong shape.
    """

    def __init__(
        self,
        settings: ModelSettings,
        weights: Mapping[str, Array],
        dynamic: DynamicSettings | None = None,
        *,
        num_threads: int = 1,
    ) -> None:
        self._settings = settings
        self._dynamic = dynamic or DynamicSettings()
        self._calls = library_functions()
        w = checked_weights(settings, weights)
        embedding = w.get("embedding.weight")
        symbols = np.ascontiguousarray(w["layers.0.weight_ih"].T) if embedding is None else embedding
        given = weights_in_c(settings, w, symbols, embeds=embedding is not None)
        self._calls.charrnn_dynamic_floats.restype = ctypes.c_int64
        self._trained = np.empty(self._calls.charrnn_dynamic_floats(ctypes.byref(given)), np.float32)
        packed = self._calls.charrnn_dynamic_pack(ctypes.byref(given), ctypes.c_void_p(self._trained.ctypes.data))
        check_status(packed, num_symbols=settings.vocab_size)
        self._facts = cell_facts(given.cell)
        self._numbers: dict[str, Any] = {name: getattr(given, name) for name in ("cell", "L", "H", "V", "E")}
        self._numbers |= {"has_bias": settings.bias, "num_threads": max(1, num_threads)}
        self._numbers |= {name: getattr(self._dynamic, name) for name in DynamicSettings.settings()}

    @property
    def num_symbols(self) -> int:
        """V."""
        return self._settings.vocab_size

    def zero_state(self, num_streams: int) -> NativeDynamicState:
        """The state at the start of a text: the trained weights.

        Raises:
            ValueError: there is not just one stream.
        """
        require_one_stream((num_streams,))
        network = self._settings.zero_state(1, lambda shape: np.zeros(shape, np.float32))
        saved = np.empty((self._settings.num_layers, 0, self._facts.num_saved * self._settings.hidden_size), np.float32)
        return NativeDynamicState(self._trained, network, saved, np.zeros(0, np.int64))

    def step(self, ids: Array, state: NativeDynamicState) -> tuple[Array, NativeDynamicState]:
        """Logits (1, V) float32 of what follows ``ids`` (1,), and the state after reading them."""
        require_one_stream(np.shape(ids))
        logits = np.empty((1, self.num_symbols), np.float32)
        return logits, self._run(1, state, ids=ids_in_c(ids), logits=logits)

    def score(self, ids: Array, targets: Array, state: NativeDynamicState) -> tuple[Array, NativeDynamicState]:
        """-ln p(targets[t]), (T, 1) float64, having read ``ids[:t + 1]`` (T, 1); and the state after all."""
        ids, targets = ids_in_c(ids), ids_in_c(targets)
        if ids.shape != targets.shape:
            raise InputError(f"ids {ids.shape} and targets {targets.shape} must have one shape")
        require_one_stream(ids.shape[1:])
        nats = np.empty(ids.shape, np.float64)
        return nats, self._run(len(ids), state, ids=ids, targets=targets, nats=nats)

    def generate(
        self,
        ids: Array,
        state: NativeDynamicState,
        *,
        uniforms: Array,
        sampling: SamplingSettings,
        marks: Array | None = None,
    ) -> Generated:
        """Symbols drawn one after the other, each the next one's input; see ``Predictor.generate``."""
        fields = drawing_in_c(ids, uniforms, sampling=sampling, marks=marks, num_symbols=self.num_symbols)
        require_one_stream(fields["ids"].shape)
        after = self._run(len(uniforms), state, **fields)
        return Generated(fields["drawn"], after, fields.get("marks"))

    def _run(self, num_steps: int, state: NativeDynamicState, **fields: Any) -> NativeDynamicState:  # noqa: ANN401
        """The state after a call; the one given is only read from."""
        num_read, segment = len(state.segment), self._dynamic.segment
        learns = num_read + num_steps > segment
        room = min(num_read + num_steps, segment)
        ids = np.empty(room, np.int64)
        ids[:num_read] = state.segment
        # What is learned goes into a block of its own, so that the state given keeps its numbers.
        weights = np.empty_like(state.weights) if learns else state.weights
        network = state.network.map(lambda part: _with_room(part, room + 1))
        saved = _with_room(state.saved, room)
        hidden, *cells = network
        run = _Run(
            **self._numbers,
            **addresses(
                {
                    "trained": self._trained,
                    "before": state.weights,
                    "after": weights if learns else None,
                    "segment_ids": ids,
                    "hidden": hidden,
                    "cells": cells[0] if cells else None,
                    "saved": saved,
                    **fields,
                }
            ),
            room=room,
            num_read=num_read,
            T=num_steps,
        )
        check_status(self._calls.charrnn_dynamic_run(ctypes.byref(run)), num_symbols=self.num_symbols)
        n = run.num_read
        return NativeDynamicState(weights, network.map(lambda part: part[:, : n + 1]), saved[:, :n], ids[:n])


def _with_room(part: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """A copy of the rows (L, n, ...), with room for ``count`` of them."""
    num_layers, num_rows, width = part.shape
    copy = np.empty((num_layers, count, width), np.float32)
    copy[:, :num_rows] = part
    return copy
