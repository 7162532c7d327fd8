"""Updates against AdamW, clipping and averaging written out once more as a plain loop in float64."""

import math

import numpy as np
import pytest
import torch

from charrnn.training.optimizer import Optimizer
from charrnn.training.settings import TrainingSettings

SHAPES = {"matrix": (3, 2), "vector": (4,), "other": (2, 5)}
NUM_UPDATES = 12
RATE = 0.05


def settings(**more):
    given = {"batch_size": 1, "bptt": 1, "learning_rate": RATE, "steps": NUM_UPDATES, "weight_decay": 0.1}
    return TrainingSettings(**{**given, **more})


def drawn(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {name: (scale * rng.standard_normal(shape)).astype(np.float32) for name, shape in SHAPES.items()}


def optimizer_of(choice):
    weights = {name: torch.tensor(w, requires_grad=True) for name, w in drawn(0).items()}
    return weights, Optimizer(weights, choice)


def update(weights, optimizer, gradients, *, step, rate=RATE):
    for name, weight in weights.items():
        weight.grad = torch.tensor(gradients[name])
    return float(optimizer.update(rate, step=step))


class PlainLoop:
    """The same rule, one number after the other."""

    def __init__(self, choice):
        self.choice = choice
        self.weights = {name: w.astype(np.float64) for name, w in drawn(0).items()}
        self.averages = {name: w.copy() for name, w in self.weights.items()}
        self.means = {name: np.zeros(shape) for name, shape in SHAPES.items()}
        self.squares = {name: np.zeros(shape) for name, shape in SHAPES.items()}

    def update(self, gradients, *, step, rate):
        choice = self.choice
        norm = math.sqrt(sum(float(g) ** 2 for gradient in gradients.values() for g in gradient.flat))
        for name, weight in self.weights.items():
            for at in np.ndindex(weight.shape):
                g = float(gradients[name][at]) * min(1.0, choice.grad_clip / norm)
                self.means[name][at] = choice.beta1 * self.means[name][at] + (1 - choice.beta1) * g
                self.squares[name][at] = choice.beta2 * self.squares[name][at] + (1 - choice.beta2) * g * g
                mean = self.means[name][at] / (1 - choice.beta1 ** (step + 1))
                square = self.squares[name][at] / (1 - choice.beta2 ** (step + 1))
                decay = choice.weight_decay if weight.ndim > 1 else 0.0  # biases are not decayed
                weight[at] -= rate * (decay * weight[at] + mean / (math.sqrt(square) + 1e-8))
                share = 1 / (1 + choice.averaging * step) if choice.averaging else 1.0
                self.averages[name][at] += share * (weight[at] - self.averages[name][at])
        return norm


@pytest.mark.parametrize("averaging", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("scale", [0.01, 3.0], ids=["within the clip", "clipped"])
def test_updates_equal_the_plain_loop(averaging, scale):
    choice = settings(averaging=averaging, grad_clip=0.25)
    weights, optimizer = optimizer_of(choice)
    plain = PlainLoop(choice)
    for step in range(NUM_UPDATES):
        gradients = drawn(step + 1, scale)
        rate = RATE / (step + 1)
        norm = update(weights, optimizer, gradients, step=step, rate=rate)
        assert norm == pytest.approx(plain.update(gradients, step=step, rate=rate), rel=1e-6)  # float32
    state = optimizer.state()
    for name in SHAPES:
        found = {
            "weight": weights[name].detach(),
            "average": state[f"average/{name}"],
            "mean": state[f"mean/{name}"],
            "square": state[f"square/{name}"],
        }
        expected = {
            "weight": plain.weights[name],
            "average": plain.averages[name],
            "mean": plain.means[name],
            "square": plain.squares[name],
        }
        for kind, value in expected.items():
            # A dozen updates in float32, each rounded a few times by up to 6e-8 of numbers near 1 at most.
            np.testing.assert_allclose(found[kind].numpy(), value, rtol=1e-5, atol=2e-6, err_msg=f"{kind} of {name}")


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_changes_neither_weights_nor_moments(wrong):
    weights, optimizer = optimizer_of(settings())
    update(weights, optimizer, drawn(1), step=0)
    before = {name: w.detach().clone() for name, w in weights.items()}
    before |= {name: t.clone() for name, t in optimizer.state().items() if not name.startswith("average/")}
    gradients = drawn(2)
    gradients["vector"][1] = wrong
    assert not math.isfinite(update(weights, optimizer, gradients, step=1))
    after = weights | optimizer.state()
    assert len(before) == 4 * len(SHAPES)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    # And the next one is applied.
    update(weights, optimizer, drawn(3), step=2)
    assert not any(torch.equal(weights[name], before[name]) for name in SHAPES)


def test_without_gradients_matrices_decay_and_vectors_stay():
    weights, optimizer = optimizer_of(settings(weight_decay=0.5))
    before = {name: w.detach().clone() for name, w in weights.items()}
    update(weights, optimizer, drawn(1, scale=0.0), step=0)
    assert torch.equal(weights["vector"], before["vector"])
    for name in ("matrix", "other"):
        torch.testing.assert_close(weights[name].detach(), before[name] * (1 - RATE * 0.5))


def test_an_optimizer_with_a_state_restored_goes_on_bit_for_bit():
    weights, optimizer = optimizer_of(settings())
    for step in range(3):
        update(weights, optimizer, drawn(step + 1), step=step)
    others, restored = optimizer_of(settings())
    with torch.no_grad():
        for name, weight in weights.items():
            others[name].copy_(weight)
    restored.set_state({name: t.clone() for name, t in optimizer.state().items()})
    for step in range(3, 6):
        gradients = drawn(step + 1)
        assert update(weights, optimizer, gradients, step=step) == update(others, restored, gradients, step=step)
    assert all(torch.equal(weights[name], others[name]) for name in SHAPES)
    found = restored.state()
    assert all(torch.equal(tensor, found[name]) for name, tensor in optimizer.state().items())
