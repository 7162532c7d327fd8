"""A network by the equations of ``cells.py`` in numpy: needs no compiler, and is the oracle in float64.

Legend: T time steps, B streams, E embedding size, H hidden units, G gates, V symbols, L layers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.models.cells import State, input_table
from charrnn.models.predictor import nats_of
from charrnn.models.recurrent import RecurrentPredictor
from charrnn.models.settings import ModelSettings

Array = NDArray[Any]

_LOGITS_AT_ONCE = 1 << 20  # at most this many logits are held while scoring, whatever T, B and V are


class NumpyNetwork(RecurrentPredictor):
    """A network with its weights, as a predictor.

    Args:
        settings: shape of the model.
        weights: by the names of ``settings.parameter_shapes()``.
        dtype: float type of all products and of the state; float32 as trained, or float64.
    """

    def __init__(
        self,
        settings: ModelSettings,
        weights: Mapping[str, Array],
        *,
        dtype: type[np.floating[Any]] = np.float32,
    ) -> None:
        self.settings = settings
        self._dtype = dtype
        w = {name: np.asarray(weights[name], dtype) for name in settings.parameter_shapes()}
        self._first = w["layers.0.weight_ih"], w.get("layers.0.bias_ih")
        embedding = w.get("embedding.weight")
        folded = input_table(*self._first, embedding) if settings.folds_input else embedding
        self._symbols: Array = np.ascontiguousarray(folded)  # (V, G*H), or (V, E) where that would be much larger
        zero = np.zeros((), dtype)
        self._weight_ih = [w[f"layers.{i}.weight_ih"] for i in range(settings.num_layers)]
        self._weight_hh = [w[f"layers.{i}.weight_hh"] for i in range(settings.num_layers)]
        self._bias_ih = [w.get(f"layers.{i}.bias_ih", zero) for i in range(settings.num_layers)]
        self._bias_hh = [w.get(f"layers.{i}.bias_hh", zero) for i in range(settings.num_layers)]
        self._weight_out = w["output.weight"]
        self._bias_out = w.get("output.bias", zero)

    @property
    def num_symbols(self) -> int:
        """V."""
        return self.settings.vocab_size

    def zero_state(self, num_streams: int) -> State:
        """The state at the start of a text."""
        return self.settings.zero_state(num_streams, lambda shape: np.zeros(shape, self._dtype))

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """Logits (B, V) of what follows ``ids`` (B,), and the state after reading them."""
        after = state.map(np.empty_like)
        # Shape (B, 1, ...): numpy then takes one product per stream, so that a stream's rounding cannot depend on how
        # many streams stand beside it, as it would in one product of all.
        x = self._input(ids)[:, None]
        for layer in range(self.settings.num_layers):
            if layer:
                x = x @ self._weight_ih[layer].T + self._bias_ih[layer]
            parts = self._cell_step(layer, x, tuple(part[:, None] for part in state.of_layer(layer)))
            for kept, part in zip(after, parts, strict=True):
                kept[layer] = part[:, 0]
            x = parts[0]
        logits = x @ self._weight_out.T + self._bias_out
        return logits[:, 0], after

    def score(self, ids: Array, targets: Array, state: State) -> tuple[Array, State]:
        """-ln p(targets[t]), (T, B) float64, having read ``ids[:t + 1]`` (T, B); and the state after all."""
        num_steps, num_streams = ids.shape
        nats = np.empty((num_steps, num_streams))
        block = max(
            1,
            _LOGITS_AT_ONCE
            // (num_streams * max(self.settings.vocab_size, self.settings.num_gates * self.settings.hidden_size)),
        )
        for begin in range(0, num_steps, block):
            end = min(begin + block, num_steps)
            nats[begin:end], state = self._score_block(ids[begin:end], targets[begin:end], state)
        return nats, state

    def _input(self, ids: Array) -> Array:
        """The input's share of the gates for each of ``ids`` (...): (..., G*H)."""
        rows: Array = self._symbols[ids]
        return rows if self.settings.folds_input else input_table(*self._first, rows)

    def _cell_step(self, layer: int, x: Array, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        step = self.settings.recurrent_cell.step
        return step(x, parts, self._weight_hh[layer], self._bias_hh[layer], np.tanh)

    def _score_block(self, ids: Array, targets: Array, state: State) -> tuple[Array, State]:
        """The same layer by layer, so that products which wait for no other step are made at once."""
        num_steps, num_streams = ids.shape
        after = state.map(np.empty_like)
        x = self._input(ids)  # (T, B, G*H)
        for layer in range(self.settings.num_layers):
            if layer:
                x = x.reshape(num_steps * num_streams, -1) @ self._weight_ih[layer].T + self._bias_ih[layer]
                x = x.reshape(num_steps, num_streams, -1)
            parts = state.of_layer(layer)
            outputs = np.empty((num_steps, num_streams, self.settings.hidden_size), self._dtype)
            for t in range(num_steps):
                parts = self._cell_step(layer, x[t], parts)
                outputs[t] = parts[0]
            for kept, part in zip(after, parts, strict=True):
                kept[layer] = part
            x = outputs  # (T, B, H)
        rows = x.reshape(num_steps * num_streams, -1)
        logits = rows @ self._weight_out.T + self._bias_out  # (T*B, V)
        return nats_of(logits, targets.reshape(-1)).reshape(num_steps, num_streams), after
