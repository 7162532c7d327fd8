"""The recurrent cells, one step each: the equations every faster path is held equal to.

Legend: B streams, H hidden units, G gates (rnn 1, lstm 4, gru 3).

Each function takes the input's share of the gates, ``x`` (B, G*H) = W_ih x_t + b_ih, which for one-hot input is
a row of a table, and the state before the step; it gives the state after it. Weights carry torch's names, shapes
and gate order: ``weight_hh`` (G*H, H), ``bias_hh`` (G*H,) or 0. Arrays may be torch tensors or numpy arrays of
any float type: ``tanh`` is the matching elementwise function (``torch.tanh``, ``numpy.tanh``).

Source: vanilla Elman 1990; LSTM Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000;
GRU Cho et al. 2014, and its reset-after form as in cuDNN.
"""

from collections.abc import Callable
from typing import Any

Array = Any  # torch.Tensor or numpy.ndarray: the equations are the same
Tanh = Callable[[Array], Array]


def sigmoid(x: Array, tanh: Tanh) -> Array:
    """1 / (1 + exp(-x)), written with tanh, which cannot overflow."""
    return 0.5 * tanh(0.5 * x) + 0.5


def rnn_step(x: Array, h: Array, weight_hh: Array, bias_hh: Array, tanh: Tanh) -> Array:
    """Vanilla: h' = tanh(x + W_hh h + b_hh)."""
    return tanh(x + h @ weight_hh.T + bias_hh)


def lstm_step(x: Array, h: Array, c: Array, weight_hh: Array, bias_hh: Array, tanh: Tanh) -> tuple[Array, Array]:
    """LSTM: i, f, o = sigmoid; g = tanh; c' = f*c + i*g; h' = o*tanh(c')."""
    gates = x + h @ weight_hh.T + bias_hh
    size = h.shape[-1]
    i = sigmoid(gates[..., 0 * size : 1 * size], tanh)
    f = sigmoid(gates[..., 1 * size : 2 * size], tanh)
    g = tanh(gates[..., 2 * size : 3 * size])
    o = sigmoid(gates[..., 3 * size : 4 * size], tanh)
    c = f * c + i * g
    return o * tanh(c), c


def gru_step(x: Array, h: Array, weight_hh: Array, bias_hh: Array, tanh: Tanh) -> Array:
    """GRU, reset after the product: n = tanh(x_n + r*(W_hn h + b_hn)); h' = (1-z)*n + z*h."""
    size = h.shape[-1]
    gates = h @ weight_hh.T + bias_hh
    r = sigmoid(x[..., 0 * size : 1 * size] + gates[..., 0 * size : 1 * size], tanh)
    z = sigmoid(x[..., 1 * size : 2 * size] + gates[..., 1 * size : 2 * size], tanh)
    n = tanh(x[..., 2 * size : 3 * size] + r * gates[..., 2 * size : 3 * size])
    return (1 - z) * n + z * h


def gru_before_step(x: Array, h: Array, weight_hh: Array, bias_hh: Array, tanh: Tanh) -> Array:
    """GRU, reset before the product: n = tanh(x_n + W_hn (r*h) + b_hn); h' = (1-z)*n + z*h."""
    size = h.shape[-1]
    rz = sigmoid((x + bias_hh)[..., : 2 * size] + h @ weight_hh[: 2 * size].T, tanh)
    r, z = rz[..., :size], rz[..., size:]
    n = tanh((x + bias_hh)[..., 2 * size :] + (r * h) @ weight_hh[2 * size :].T)
    return (1 - z) * n + z * h


def step_of(cell: str, reset: str) -> Callable[[Array, Array, Array, Array, Tanh], Array]:
    """The step of a cell whose state is h alone: "rnn", or "gru" in the form ``reset`` names."""
    if cell == "rnn":
        return rnn_step
    return gru_before_step if reset == "before" else gru_step
