"""Small models with random weights, and the recurrence written out once more, plainly, as their oracle."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from charrnn.inference.engine import NumpyEngine
from charrnn.models.settings import ModelSettings

T, B, E, H, V = 3, 2, 5, 4, 7


def random_weights(settings: ModelSettings, seed: int = 0, scale: float = 0.7) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        name: (scale * random.standard_normal(shape)).astype(np.float32)
        for name, shape in settings.parameter_shapes().items()
    }


def plain_logits(settings: ModelSettings, weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """Logits after each symbol of one stream, float64: the course's equations, one gate at a time."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    size = settings.hidden_size
    h = [np.zeros(size) for _ in range(settings.num_layers)]
    c = [np.zeros(size) for _ in range(settings.num_layers)]

    def sigmoid(a: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-a))

    def gate(layer: int, index: int, name: str) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(index * size, (index + 1) * size)
        bias = w.get(f"layers.{layer}.bias_{name}")
        return w[f"layers.{layer}.weight_{name}"][rows], np.zeros(size) if bias is None else bias[rows]

    rows = []
    for symbol in ids:
        x = np.zeros(settings.vocab_size)
        x[symbol] = 1.0
        if settings.input == "embedding":
            x = w["embedding.weight"].T @ x
        for layer in range(settings.num_layers):

            def from_input(index: int, x: np.ndarray = x, layer: int = layer) -> np.ndarray:
                weight, bias = gate(layer, index, "ih")
                return weight @ x + bias

            def from_state(index: int, state: np.ndarray, layer: int = layer) -> np.ndarray:
                weight, bias = gate(layer, index, "hh")
                return weight @ state + bias

            before = h[layer]
            if settings.cell == "rnn":
                after = np.tanh(from_input(0) + from_state(0, before))
            elif settings.cell == "lstm":
                i = sigmoid(from_input(0) + from_state(0, before))
                f = sigmoid(from_input(1) + from_state(1, before))
                g = np.tanh(from_input(2) + from_state(2, before))
                o = sigmoid(from_input(3) + from_state(3, before))
                c[layer] = f * c[layer] + i * g
                after = o * np.tanh(c[layer])
            else:
                r = sigmoid(from_input(0) + from_state(0, before))
                z = sigmoid(from_input(1) + from_state(1, before))
                if settings.reset == "before":
                    n = np.tanh(from_input(2) + from_state(2, r * before))
                else:
                    n = np.tanh(from_input(2) + r * from_state(2, before))
                after = (1 - z) * n + z * before
            h[layer] = after
            x = after
        rows.append(w["output.weight"] @ x + w.get("output.bias", np.zeros(settings.vocab_size)))
    return np.array(rows)


def plain_nats(settings: ModelSettings, weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """-ln p of each symbol but the first, float64."""
    logits = plain_logits(settings, weights, ids[:-1])
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(p)), ids[1:]])


SHAPES = [
    {"cell": cell, "reset": reset, "num_layers": num_layers, "input": kind, "bias": bias}
    for cell, reset in (("rnn", "after"), ("lstm", "after"), ("gru", "after"), ("gru", "before"))
    for num_layers in (1, 3)
    for kind in ("one-hot", "embedding")
    for bias in (True, False)
]


@pytest.fixture(params=SHAPES, ids=lambda shape: "-".join(str(value) for value in shape.values()))
def settings(request: pytest.FixtureRequest) -> ModelSettings:
    """Every form of model, at sizes all distinct."""
    return ModelSettings(vocab_size=V, hidden_size=H, embedding_size=E, **request.param)


@pytest.fixture
def oracle() -> Callable[..., Any]:
    """Gives nats of a stream by the plain equations."""
    return plain_nats


@pytest.fixture
def logits_oracle() -> Callable[..., Any]:
    """Gives logits of a stream by the plain equations."""
    return plain_logits


@pytest.fixture
def weights_of() -> Callable[..., dict[str, np.ndarray]]:
    """Gives random weights for settings."""
    return random_weights


@pytest.fixture
def engine_of() -> Callable[..., NumpyEngine]:
    """Gives a numpy engine with random weights for settings given as keywords."""

    def make(*, dtype: Any = np.float32, seed: int = 0, scale: float = 0.7, **shape: Any) -> NumpyEngine:
        settings = ModelSettings(**{"vocab_size": V, "hidden_size": H, "embedding_size": E, **shape})
        return NumpyEngine(settings, random_weights(settings, seed, scale), dtype=dtype)

    return make
