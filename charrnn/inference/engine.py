"""A model at work without gradients: symbols and a state in, logits and a state out.

Legend: T time steps, B streams, E embedding size, H hidden units, G gates, V symbols, L layers.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import SettingsError
from charrnn.inference.sampling import SamplingSettings, choose
from charrnn.models import cells
from charrnn.models.settings import ModelSettings
from charrnn.text.utf8 import ALLOWED, TRANSITIONS

if TYPE_CHECKING:
    from charrnn.models.native.network import NativeNetwork

Array = NDArray[Any]

MAX_THREADS = 1024

_LOGITS_AT_ONCE = 1 << 20  # at most this many logits are held while scoring, whatever T, B and V are


class State(NamedTuple):
    """What a model remembers of each stream.

    Attributes:
        hidden: (L, B, H).
        cell: (L, B, H) for an LSTM, (0, B, H) for the other cells.
    """

    hidden: Array
    cell: Array

    def of_streams(self, streams: Any) -> "State":  # noqa: ANN401 - whatever numpy takes as an index
        """The state of some streams, by numpy index; an index may come twice."""
        return State(self.hidden[:, streams], self.cell[:, streams])


class Generated(NamedTuple):
    """Symbols drawn, and what is needed to draw on.

    Attributes:
        ids: (T, B) symbols drawn.
        state: the state before the last row of ids is read.
        marks: (B,) states of the UTF-8 automaton after the last row; None where symbols are not bytes.
    """

    ids: NDArray[np.intp]
    state: State
    marks: Array | None


class Engine(Protocol):
    """What sampling and scoring ask of a model; state goes in and comes out, nothing is kept."""

    @property
    def settings(self) -> ModelSettings:
        """Shape of the model."""

    def zero_state(self, num_streams: int) -> State:
        """The state at the start of a text."""

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """Logits (B, V) of what follows ``ids`` (B,), and the state after reading them.

        A stream's numbers depend on that stream alone, to the last bit, whatever is beside it.
        """

    def score(self, ids: Array, targets: Array, state: State) -> tuple[Array, State]:
        """-ln p(targets[t]), (T, B) float64, having read ``ids[:t + 1]`` (T, B); and the state after all."""

    def generate(
        self,
        ids: Array,
        state: State,
        *,
        uniforms: Array,
        sampling: SamplingSettings,
        marks: Array | None = None,
    ) -> Generated:
        """Symbols drawn one after the other, each the next one's input.

        Args:
            ids: (B,) symbols to read first.
            state: the state before reading them.
            uniforms: (T, B) numbers in [0, 1), one a draw.
            sampling: how to draw.
            marks: (B,) states of the UTF-8 automaton; given, symbols are bytes and impossible ones not drawn.
        """


class NumpyEngine:
    """The equations of ``models/cells.py`` in numpy: needs no compiler, and is the oracle in float64.

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
        # One-hot input never needs a product: W_ih x is a column of W_ih. An embedding folds into it
        # likewise.
        table = w["layers.0.weight_ih"].T
        if settings.input == "embedding":
            table = w["embedding.weight"] @ table
        zero = np.zeros((), dtype)
        self._table: Array = np.ascontiguousarray(table + w.get("layers.0.bias_ih", zero))  # (V, G*H)
        self._weight_ih = [w[f"layers.{i}.weight_ih"] for i in range(settings.num_layers)]
        self._weight_hh = [w[f"layers.{i}.weight_hh"] for i in range(settings.num_layers)]
        self._bias_ih = [w.get(f"layers.{i}.bias_ih", zero) for i in range(settings.num_layers)]
        self._bias_hh = [w.get(f"layers.{i}.bias_hh", zero) for i in range(settings.num_layers)]
        self._weight_out = w["output.weight"]
        self._bias_out = w.get("output.bias", zero)

    def zero_state(self, num_streams: int) -> State:
        """The state at the start of a text."""
        s = self.settings
        num_cells = s.num_layers if s.cell == "lstm" else 0
        return State(
            np.zeros((s.num_layers, num_streams, s.hidden_size), self._dtype),
            np.zeros((num_cells, num_streams, s.hidden_size), self._dtype),
        )

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """Logits (B, V) of what follows ``ids`` (B,), and the state after reading them."""
        # Shape (B, 1, ...): numpy then takes one product a stream, so that a stream's rounding cannot depend
        # on how many streams stand beside it, as it would in one product of all.
        x = self._table[ids][:, None]
        hidden, cell = np.empty_like(state.hidden), np.empty_like(state.cell)
        for layer in range(self.settings.num_layers):
            if layer:
                x = x @ self._weight_ih[layer].T + self._bias_ih[layer]
            c = state.cell[layer, :, None] if len(cell) else None
            x, c = self._cell(layer, x, state.hidden[layer, :, None], c)
            hidden[layer] = x[:, 0]
            if c is not None:
                cell[layer] = c[:, 0]
        logits = x @ self._weight_out.T + self._bias_out
        return logits[:, 0], State(hidden, cell)

    def score(self, ids: Array, targets: Array, state: State) -> tuple[Array, State]:
        """-ln p(targets[t]), (T, B) float64, having read ``ids[:t + 1]`` (T, B); and the state after all."""
        num_steps, num_streams = ids.shape
        nats = np.empty((num_steps, num_streams))
        block = max(1, _LOGITS_AT_ONCE // (num_streams * max(self.settings.vocab_size, self._table.shape[1])))
        for begin in range(0, num_steps, block):
            end = min(begin + block, num_steps)
            nats[begin:end], state = self._score_block(ids[begin:end], targets[begin:end], state)
        return nats, state

    def generate(
        self,
        ids: Array,
        state: State,
        *,
        uniforms: Array,
        sampling: SamplingSettings,
        marks: Array | None = None,
    ) -> Generated:
        """Symbols drawn one after the other, each the next one's input; see ``Engine.generate``."""
        drawn = np.empty(uniforms.shape, np.intp)
        for t, uniform in enumerate(uniforms):
            logits, state = self.step(ids, state)
            allowed = None if marks is None else ALLOWED[marks]
            ids = drawn[t] = choose(logits, uniform, sampling=sampling, allowed=allowed)
            if marks is not None:
                marks = TRANSITIONS[marks, ids]
        return Generated(drawn, state, marks)

    def _cell(self, layer: int, x: Array, h: Array, c: Array | None) -> tuple[Array, Array | None]:
        weight, bias = self._weight_hh[layer], self._bias_hh[layer]
        if c is not None:
            return cells.lstm_step(x, h, c, weight, bias, np.tanh)
        if self.settings.cell == "rnn":
            return cells.rnn_step(x, h, weight, bias, np.tanh), None
        gru = cells.gru_step if self.settings.reset == "after" else cells.gru_before_step
        return gru(x, h, weight, bias, np.tanh), None

    def _score_block(self, ids: Array, targets: Array, state: State) -> tuple[Array, State]:
        num_steps, num_streams = ids.shape
        hidden, cell = np.empty_like(state.hidden), np.empty_like(state.cell)
        x = self._table[ids]  # (T, B, G*H)
        for layer in range(self.settings.num_layers):
            if layer:
                x = x.reshape(num_steps * num_streams, -1) @ self._weight_ih[layer].T + self._bias_ih[layer]
                x = x.reshape(num_steps, num_streams, -1)
            h = state.hidden[layer]
            c = state.cell[layer] if len(cell) else None
            outputs = np.empty((num_steps, num_streams, self.settings.hidden_size), self._dtype)
            for t in range(num_steps):
                h, c = self._cell(layer, x[t], h, c)
                outputs[t] = h
            hidden[layer] = h
            if c is not None:
                cell[layer] = c
            x = outputs  # (T, B, H)
        rows = x.reshape(num_steps * num_streams, -1)
        logits = (rows @ self._weight_out.T + self._bias_out).astype(np.float64)  # (T*B, V)
        best = logits.max(axis=1)
        picked = logits[np.arange(len(logits)), targets.reshape(-1)]
        nats = best + np.log(np.exp(logits - best[:, None]).sum(axis=1)) - picked
        return nats.reshape(num_steps, num_streams), State(hidden, cell)


class NativeEngine:
    """The compiled kernels of ``models/native`` as an engine.

    Args:
        network: the kernels with a model's weights.
    """

    def __init__(self, network: "NativeNetwork") -> None:
        self.settings = network.settings
        self._network = network
        self._utf8 = (TRANSITIONS, ALLOWED.view(np.uint8))

    def zero_state(self, num_streams: int) -> State:
        """The state at the start of a text."""
        return State(*self._network.zero_state(num_streams))

    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """Logits (B, V) of what follows ``ids`` (B,), and the state after reading them."""
        logits, after = self._network.step(ids, state)
        return logits, State(*after)

    def score(self, ids: Array, targets: Array, state: State) -> tuple[Array, State]:
        """-ln p(targets[t]), (T, B) float64, having read ``ids[:t + 1]`` (T, B); and the state after all."""
        nats, after = self._network.score(ids, targets, state)
        return nats, State(*after)

    def generate(
        self,
        ids: Array,
        state: State,
        *,
        uniforms: Array,
        sampling: SamplingSettings,
        marks: Array | None = None,
    ) -> Generated:
        """Symbols drawn one after the other, each the next one's input; see ``Engine.generate``."""
        from charrnn.models.native.network import Automaton

        drawn, after, marks = self._network.generate(
            ids,
            state,
            uniforms=uniforms,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            automaton=None if marks is None else Automaton(*self._utf8),
            marks=marks,
        )
        return Generated(drawn, State(*after), marks)


def open_engine(settings: ModelSettings, weights: Mapping[str, Array], *, num_threads: int | None = None) -> Engine:
    """The fastest engine this machine has: compiled kernels where they can be had, else numpy.

    Args:
        settings: shape of the model.
        weights: float32, by the names of ``settings.parameter_shapes()``.
        num_threads: CPU threads for many streams, 1 to 1024; none: as many as there are cores.

    Raises:
        SettingsError: num_threads is out of range.
    """
    from charrnn.models.native.build import library
    from charrnn.models.native.network import NativeNetwork

    if num_threads is None:
        num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    elif type(num_threads) is not int or not 1 <= num_threads <= MAX_THREADS:
        raise SettingsError(f"threads is {num_threads!r}; it must be a whole number from 1 to {MAX_THREADS:,}")
    if library() is None:
        return NumpyEngine(settings, weights)
    return NativeEngine(NativeNetwork(settings, weights, num_threads=num_threads))
