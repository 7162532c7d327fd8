"""What happens in a model while it reads: the logits after each symbol, its states, its gates.

Legend: T steps, L layers, H hidden units, G gates, V symbols.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.models.cells import State, input_table
from charrnn.models.native.network import NativeNetwork
from charrnn.models.predictor import Predictor
from charrnn.models.settings import ModelSettings

Array = NDArray[Any]

_FLOATS_AT_ONCE = 1 << 21  # of a window's logits, states and gates


@dataclass(frozen=True)
class Trace:
    """A window of one stream.

    Attributes:
        begin: index of the window's first symbol in the text.
        ids: (T,) symbols read.
        logits: (T, V) of what follows each of them.
        states: of a network, for each of its cell's states an array (T + 1, L, H), the first row before the window;
            empty for other predictors.
    """

    begin: int
    ids: Array
    logits: Array
    states: tuple[Array, ...]


def iterate_traces(predictor: Predictor, ids: Array, *, window: int | None = None) -> Iterator[Trace]:
    """A text in windows, one after the other, the state carried from the first symbol to the last.

    Args:
        predictor: what reads.
        ids: (N,) the text.
        window: symbols taken at once, which bounds the memory and changes no result; none: as many as suit the model.
    """
    window = window or _window_of(predictor)
    state = predictor.zero_state(1)
    for begin in range(0, len(ids), window):
        rows = np.asarray(ids[begin : begin + window])
        before = _states_of(state)
        if isinstance(predictor, NativeNetwork):
            logits, states, state = predictor.trace(rows[:, None], state)
            after = [part[:, :, 0] for part in states]
            yield Trace(begin, rows, logits[:, 0], _joined(before, after))
            continue
        found = np.empty((len(rows), predictor.num_symbols))
        kept: list[tuple[Array, ...]] = []
        for t, symbol in enumerate(rows):
            logits, state = predictor.step(np.array([symbol]), state)
            found[t] = logits[0]
            kept.append(_states_of(state))
        after = [np.stack(each) for each in zip(*kept, strict=True)]
        yield Trace(begin, rows, found, _joined(before, after))


def _window_of(predictor: Predictor) -> int:
    state = predictor.zero_state(1)
    floats = predictor.num_symbols
    if isinstance(state, State):
        floats += 4 * sum(part.size for part in state)
    return max(1, min(2048, _FLOATS_AT_ONCE // floats))


def _states_of(state: Any) -> tuple[Array, ...]:  # noqa: ANN401 - the state of any predictor
    """Arrays (L, H) of a network's one stream; none of what is no network."""
    return tuple(part[:, 0] for part in state) if isinstance(state, State) else ()


def _joined(before: tuple[Array, ...], after: list[Array]) -> tuple[Array, ...]:
    return tuple(np.concatenate([first[None], rest]) for first, rest in zip(before, after, strict=True))


class Activations:
    """All that can be seen of a network's units: its states and its gates, by layer and part.

    Args:
        settings: shape of the network.
        weights: by the names of ``settings.parameter_shapes()``.

    Attributes:
        parts: names of what a layer has: "hidden", for some cells "cell", and the cell's gates.
    """

    def __init__(self, settings: ModelSettings, weights: Mapping[str, Array]) -> None:
        cell = settings.recurrent_cell
        self.settings = settings
        self.parts = (*cell.states, *cell.gate_names)
        self._weights = weights

    def of_layer(self, trace: Trace, layer: int) -> dict[str, Array]:
        """Arrays (T, H) after each symbol of a window, by part; a gate's is what it was when the symbol was read."""
        cell = self.settings.recurrent_cell
        found = {name: part[1:, layer] for name, part in zip(cell.states, trace.states, strict=True)}
        if cell.gates is None:
            return found
        before = tuple(part[:-1, layer] for part in trace.states)
        weight_hh = self._weights[f"layers.{layer}.weight_hh"]
        bias_hh = self._weights.get(f"layers.{layer}.bias_hh", np.zeros((), np.float32))
        gates = cell.gates(self._inputs(trace, layer), before, weight_hh, bias_hh, np.tanh)
        return found | dict(zip(cell.gate_names, gates, strict=True))

    def _inputs(self, trace: Trace, layer: int) -> Array:
        """The input's share of a layer's gates, (T, G*H)."""
        w = self._weights
        weight_ih, bias_ih = w[f"layers.{layer}.weight_ih"], w.get(f"layers.{layer}.bias_ih")
        if layer:
            rows: Array = trace.states[0][1:, layer - 1] @ weight_ih.T
            return rows if bias_ih is None else rows + bias_ih
        embedding = w.get("embedding.weight")
        if embedding is not None:
            found: Array = input_table(weight_ih, bias_ih, embedding[trace.ids])
            return found
        table: Array = input_table(weight_ih, bias_ih, None)
        picked: Array = table[trace.ids]
        return picked
