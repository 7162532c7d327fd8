"""Small networks with random weights, and the recurrence written out once more, plainly, as their oracle."""

import numpy as np
from cells import CELLS

from charrnn.models import cells
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.settings import ModelSettings

T, B, E, H, V = 3, 2, 5, 4, 7


def shape_of(**chosen):
    """Settings at sizes all distinct but for what is chosen."""
    return ModelSettings(**{"vocab_size": V, "hidden_size": H, "embedding_size": E, **chosen})


# Every form of network.
SHAPES = [
    shape_of(cell=cell, num_layers=num_layers, input=kind, bias=bias)
    for cell in CELLS
    for num_layers in (1, 3)
    for kind in ("one-hot", "embedding")
    for bias in (True, False)
]


def name_of(settings):
    """What to call a form of network in a test's name."""
    bias = "bias" if settings.bias else "no-bias"
    return f"{settings.cell}-{settings.num_layers}-{settings.input}-{bias}"


def random_weights(settings, seed=0, scale=0.7):
    random = np.random.default_rng(seed)
    return {
        name: (scale * random.standard_normal(shape)).astype(np.float32)
        for name, shape in settings.parameter_shapes().items()
    }


def numpy_network(*, dtype=np.float32, seed=0, scale=0.7, **shape):
    """A network in numpy with random weights."""
    settings = shape_of(**shape)
    return NumpyNetwork(settings, random_weights(settings, seed, scale), dtype=dtype)


def plain_logits(settings, weights, ids):
    """Logits after each symbol of one stream, float64: the course's equations, one gate at a time."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    size = settings.hidden_size
    step = _PLAIN.get(settings.cell, _by_the_table)
    states = [[np.zeros(size) for _ in settings.recurrent_cell.states] for _ in range(settings.num_layers)]
    rows = []
    for symbol in ids:
        x = np.zeros(settings.vocab_size)
        x[symbol] = 1.0
        if settings.input == "embedding":
            x = w["embedding.weight"].T @ x
        for layer in range(settings.num_layers):
            states[layer] = step(settings, _Layer(w, layer, size, x), states[layer])
            x = states[layer][0]
        rows.append(w["output.weight"] @ x + w.get("output.bias", np.zeros(settings.vocab_size)))
    return np.array(rows)


def plain_nats(settings, weights, ids):
    """-ln p of each symbol but the first, float64."""
    logits = plain_logits(settings, weights, ids[:-1])
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(p)), ids[1:]])


class _Layer:
    """A layer's shares of gate ``index``, of its input and of a state."""

    def __init__(self, w, layer, size, x):
        self.w, self.layer, self.size, self.x = w, layer, size, x

    def input(self, index):
        return self._share(index, "ih", self.x)

    def state(self, index, state):
        return self._share(index, "hh", state)

    def _share(self, index, kind, vector):
        rows = slice(index * self.size, (index + 1) * self.size)
        bias = self.w.get(f"layers.{self.layer}.bias_{kind}")
        share = self.w[f"layers.{self.layer}.weight_{kind}"][rows] @ vector
        return share if bias is None else share + bias[rows]


def _logistic(a):
    return 1 / (1 + np.exp(-a))


def _rnn(settings, gate, state):
    return [np.tanh(gate.input(0) + gate.state(0, state[0]))]


def _lstm(settings, gate, state):
    h, c = state
    i = _logistic(gate.input(0) + gate.state(0, h))
    f = _logistic(gate.input(1) + gate.state(1, h))
    g = np.tanh(gate.input(2) + gate.state(2, h))
    o = _logistic(gate.input(3) + gate.state(3, h))
    c = f * c + i * g
    return [o * np.tanh(c), c]


def _gru(settings, gate, state, *, is_reset_before=False):
    (h,) = state
    r = _logistic(gate.input(0) + gate.state(0, h))
    z = _logistic(gate.input(1) + gate.state(1, h))
    share = gate.state(2, r * h) if is_reset_before else r * gate.state(2, h)
    return [(1 - z) * np.tanh(gate.input(2) + share) + z * h]


def _gru_before(settings, gate, state):
    return _gru(settings, gate, state, is_reset_before=True)


def _by_the_table(settings, gate, state):
    """A cell that is not written out here: its own equations, so that all around them is tested."""
    step = cells.CELLS[settings.cell].step
    x = np.concatenate([gate.input(index) for index in range(settings.num_gates)])[None]
    weight = gate.w[f"layers.{gate.layer}.weight_hh"]
    bias = gate.w.get(f"layers.{gate.layer}.bias_hh", 0.0)
    return [part[0] for part in step(x, tuple(part[None] for part in state), weight, bias, np.tanh)]


_PLAIN = {"rnn": _rnn, "lstm": _lstm, "gru": _gru, "gru-before": _gru_before}
