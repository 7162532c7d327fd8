"""The recurrent cells: one step of each as equations, and the table of all that there is to know of each.

Legend: B streams, H hidden units, G gates (blocks of H rows in a cell's weights).

A step takes the input's share of the gates, ``x`` (B, G*H) = W_ih x_t + b_ih, which for one-hot input is a row of a
table, and the state before it, a tuple of (B, H) arrays of which the first is h; it gives the state after it. Weights
carry torch's names, shapes and gate order: ``weight_hh`` (G*H, H), ``bias_hh`` (G*H,) or 0. Arrays may be torch tensors
or numpy arrays of any float type: ``tanh`` is the matching elementwise function (``torch.tanh``, ``numpy.tanh``).

Every faster path computes the same, and tests compare it with these equations. To add a cell, write its step and add an
entry to ``CELLS``: it trains, samples and scores at once, by its equations alone.

Source: vanilla Elman 1990; LSTM Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000;
GRU Cho et al. 2014, and its reset-after form as in cuDNN.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Array = Any  # torch.Tensor or numpy.ndarray: the equations are the same
Tanh = Callable[[Array], Array]
Step = Callable[[Array, tuple[Array, ...], Array, Array, Tanh], tuple[Array, ...]]


def sigmoid(x: Array, tanh: Tanh) -> Array:
    """1 / (1 + exp(-x)), written with tanh, which cannot overflow."""
    return 0.5 * tanh(0.5 * x) + 0.5


def rnn_step(x: Array, state: tuple[Array, ...], weight_hh: Array, bias_hh: Array, tanh: Tanh) -> tuple[Array, ...]:
    """Vanilla: h' = tanh(x + W_hh h + b_hh)."""
    (h,) = state
    return (tanh(x + h @ weight_hh.T + bias_hh),)


def lstm_gates(x: Array, state: tuple[Array, ...], weight_hh: Array, bias_hh: Array, tanh: Tanh) -> tuple[Array, ...]:
    """The gates of an LSTM: i, f, o = sigmoid; g = tanh."""
    h = state[0]
    gates = x + h @ weight_hh.T + bias_hh
    size = h.shape[-1]
    i = sigmoid(gates[..., 0 * size : 1 * size], tanh)
    f = sigmoid(gates[..., 1 * size : 2 * size], tanh)
    g = tanh(gates[..., 2 * size : 3 * size])
    o = sigmoid(gates[..., 3 * size : 4 * size], tanh)
    return i, f, g, o


def lstm_step(x: Array, state: tuple[Array, ...], weight_hh: Array, bias_hh: Array, tanh: Tanh) -> tuple[Array, ...]:
    """LSTM: c' = f*c + i*g; h' = o*tanh(c')."""
    c = state[1]
    i, f, g, o = lstm_gates(x, state, weight_hh, bias_hh, tanh)
    c = f * c + i * g
    return o * tanh(c), c


def gru_gates(x: Array, state: tuple[Array, ...], weight_hh: Array, bias_hh: Array, tanh: Tanh) -> tuple[Array, ...]:
    """The gates of a GRU, reset after the product: r, z = sigmoid; n = tanh(x_n + r*(W_hn h + b_hn))."""
    (h,) = state
    size = h.shape[-1]
    gates = h @ weight_hh.T + bias_hh
    r = sigmoid(x[..., 0 * size : 1 * size] + gates[..., 0 * size : 1 * size], tanh)
    z = sigmoid(x[..., 1 * size : 2 * size] + gates[..., 1 * size : 2 * size], tanh)
    n = tanh(x[..., 2 * size : 3 * size] + r * gates[..., 2 * size : 3 * size])
    return r, z, n


def gru_step(x: Array, state: tuple[Array, ...], weight_hh: Array, bias_hh: Array, tanh: Tanh) -> tuple[Array, ...]:
    """GRU, reset after the product: h' = (1-z)*n + z*h."""
    (h,) = state
    _, z, n = gru_gates(x, state, weight_hh, bias_hh, tanh)
    return ((1 - z) * n + z * h,)


def gru_before_gates(
    x: Array, state: tuple[Array, ...], weight_hh: Array, bias_hh: Array, tanh: Tanh
) -> tuple[Array, ...]:
    """The gates of a GRU, reset before the product: r, z = sigmoid; n = tanh(x_n + W_hn (r*h) + b_hn)."""
    (h,) = state
    size = h.shape[-1]
    rz = sigmoid((x + bias_hh)[..., : 2 * size] + h @ weight_hh[: 2 * size].T, tanh)
    r, z = rz[..., :size], rz[..., size:]
    n = tanh((x + bias_hh)[..., 2 * size :] + (r * h) @ weight_hh[2 * size :].T)
    return r, z, n


def gru_before_step(
    x: Array, state: tuple[Array, ...], weight_hh: Array, bias_hh: Array, tanh: Tanh
) -> tuple[Array, ...]:
    """GRU, reset before the product: h' = (1-z)*n + z*h."""
    (h,) = state
    _, z, n = gru_before_gates(x, state, weight_hh, bias_hh, tanh)
    return ((1 - z) * n + z * h,)


def input_table(weight_ih: Array, bias_ih: Array | None, embedding: Array | None) -> Array:
    """What each symbol adds to the gates of the first layer, W_ih x + b_ih: (V, G*H), one row per symbol.

    One-hot input never needs a product: W_ih x is a column of W_ih. An embedding folds into the table likewise.

    Args:
        weight_ih: (G*H, V), or (G*H, E) with an embedding.
        bias_ih: (G*H,) or None.
        embedding: (V, E) or None for one-hot input.
    """
    rows = weight_ih.T if embedding is None else embedding @ weight_ih.T
    return rows if bias_ih is None else rows + bias_ih


@dataclass(frozen=True)
class Cell:
    """All that is known of a recurrent cell.

    Attributes:
        title: its name in a sentence.
        num_gates: G.
        step: its equations.
        states: names of the arrays it carries from step to step; the first is "hidden", its output.
        fused: torch's operator for a whole window, by its name in ``torch``; "" where it has none.
        kernel: the C kernel, by its name there; "" where none is written: the equations are used.
        one_hot_bound: half the width of one-hot input weights at the start; None for that of all weights. A symbol
            reads one column of them, so it is not H terms that add up: from +-1/sqrt(H) a network spends hundreds of
            updates on telling its symbols apart. Found by the search in docs/results.md.
        initial_bias: a gate's bias at the start, in sum, by the gate's index; the others start like all weights.
        gates: equations of its gates alone, from the same arguments as the step; None where it has none to look at.
        gate_names: of what ``gates`` gives, in order.
    """

    title: str
    num_gates: int
    step: Step
    states: tuple[str, ...] = ("hidden",)
    fused: str = ""
    kernel: str = ""
    one_hot_bound: float | None = None
    initial_bias: tuple[tuple[int, float], ...] = ()
    gates: Step | None = None
    gate_names: tuple[str, ...] = ()


_GRU_GATES = ("reset", "update", "candidate")

CELLS: dict[str, Cell] = {
    "rnn": Cell("vanilla RNN", 1, rnn_step, fused="rnn_tanh", kernel="rnn", one_hot_bound=4.0),
    # A forget gate that starts open lets gradients through from the first update on (Gers et al. 2000; Jozefowicz et
    # al. 2015).
    "lstm": Cell(
        "LSTM",
        4,
        lstm_step,
        states=("hidden", "cell"),
        fused="lstm",
        kernel="lstm",
        one_hot_bound=1.7,
        initial_bias=((1, 1.0),),
        gates=lstm_gates,
        gate_names=("input", "forget", "candidate", "output"),
    ),
    # From wide input weights a GRU learns faster at first, and then its loss may rise again.
    "gru": Cell("GRU", 3, gru_step, fused="gru", kernel="gru", gates=gru_gates, gate_names=_GRU_GATES),
    "gru-before": Cell(
        "GRU (reset before)",
        3,
        gru_before_step,
        kernel="gru-before",
        gates=gru_before_gates,
        gate_names=_GRU_GATES,
    ),
}
"""Every cell by the name that users give it."""


class State(tuple[Array, ...]):
    """What a network remembers of each stream: for each of its cell's ``states`` an array (L, B, H), hidden first."""

    __slots__ = ()

    def map(self, change: Callable[[Array], Array]) -> "State":
        """The state with ``change`` made to each of its arrays."""
        return State(change(part) for part in self)

    def of_streams(self, streams: Any) -> "State":  # noqa: ANN401 - whatever numpy takes as an index
        """The state of some streams, by index; an index may come twice."""
        return self.map(lambda part: part[:, streams])

    def of_layer(self, layer: int) -> tuple[Array, ...]:
        """The arrays (B, H) of one layer, as a cell's step takes them."""
        return tuple(part[layer] for part in self)
