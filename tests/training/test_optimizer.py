"""The update rule against its equations, worked in float64; the optimizer itself computes in float32."""

import math

import pytest
import torch

from charrnn.models.native.build import library, unavailable_reason
from charrnn.training.optimizer import Optimizer
from charrnn.training.settings import TrainingSettings

SHAPES = {"matrix": (3, 4), "bias": (5,), "other.weight": (2, 3)}


def settings(**more):
    return TrainingSettings(**{"batch_size": 1, "bptt": 1, "learning_rate": 0.1, "steps": 1, **more})


@pytest.fixture(params=["torch", "kernel"])
def fresh(request):
    if request.param == "kernel" and library() is None:
        pytest.skip(f"no native kernels here: {unavailable_reason()}")

    def made(*, shapes=SHAPES, num_threads=2, **more):
        torch.manual_seed(0)
        weights = {name: torch.randn(shape).requires_grad_() for name, shape in shapes.items()}
        threads = num_threads if request.param == "kernel" else None
        return weights, Optimizer(weights, settings(**more), native_threads=threads)

    return made


def give_gradients(weights, *, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for weight in weights.values():
        weight.grad = scale * torch.randn(weight.shape, generator=generator)
    return math.sqrt(sum(float(weight.grad.double().square().sum()) for weight in weights.values()))


def copies(tensors):
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@pytest.mark.parametrize("scale", [0.001, 1.0, 1000.0])
def test_updates_are_those_of_adamw_with_the_gradient_clipped_by_norm(fresh, scale):
    beta1, beta2, decay, clip, rates = 0.8, 0.95, 0.3, 0.7, (0.1, 0.05, 0.2)
    weights, optimizer = fresh(beta1=beta1, beta2=beta2, weight_decay=decay, grad_clip=clip)
    expected = {name: weight.detach().double() for name, weight in weights.items()}
    mean, square = ({name: torch.zeros_like(w) for name, w in expected.items()} for _ in range(2))
    for step, rate in enumerate(rates):
        norm = give_gradients(weights, scale=scale, seed=step)
        gradients = {name: weight.grad.double() * min(1.0, clip / norm) for name, weight in weights.items()}
        assert float(optimizer.update(rate, step=step)) == pytest.approx(norm, rel=1e-6)  # before clipping
        for name, w in expected.items():
            w *= 1 - rate * (decay if w.ndim > 1 else 0.0)  # biases are never decayed
            mean[name] = beta1 * mean[name] + (1 - beta1) * gradients[name]
            square[name] = beta2 * square[name] + (1 - beta2) * gradients[name].square()
            m, v = mean[name] / (1 - beta1 ** (step + 1)), square[name] / (1 - beta2 ** (step + 1))
            w -= rate * m / (v.sqrt() + 1e-8)
            # Three updates in float32, of weights and steps near 1.
            torch.testing.assert_close(weights[name].detach().double(), w, rtol=0, atol=2e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_changes_neither_weights_nor_moments(fresh, bad):
    weights, optimizer = fresh(averaging=0.0)
    give_gradients(weights)
    optimizer.update(0.1, step=0)
    before, state = copies(weights), copies(optimizer.state())
    give_gradients(weights)
    weights["bias"].grad[2] = bad
    assert not math.isfinite(float(optimizer.update(0.1, step=1)))
    assert all(torch.equal(weights[name], w) for name, w in before.items())
    assert all(torch.equal(tensor, state[name]) for name, tensor in optimizer.state().items())
    give_gradients(weights)
    optimizer.update(0.1, step=2)
    assert not any(torch.equal(weights[name], w) for name, w in before.items())


def test_averages_look_back_over_a_share_of_the_steps(fresh):
    weights, optimizer = fresh(averaging=0.25)
    average = copies(weights)
    for step in range(6):
        give_gradients(weights, seed=step)
        optimizer.update(0.1, step=step)
        weight = 1 / (1 + 0.25 * step)
        for name, w in weights.items():
            average[name] += weight * (w.detach() - average[name])
            torch.testing.assert_close(optimizer.averages[name], average[name], rtol=0, atol=2e-6)  # float32


def test_without_averaging_the_averages_are_the_weights(fresh):
    weights, optimizer = fresh(averaging=0.0)
    give_gradients(weights)
    optimizer.update(0.1, step=0)
    assert all(torch.equal(optimizer.averages[name], w) for name, w in weights.items())
    assert all(optimizer.averages[name].data_ptr() != w.data_ptr() for name, w in weights.items())


def test_from_its_state_an_optimizer_goes_on_to_the_last_bit(fresh):
    weights, optimizer = fresh(averaging=0.3)
    for step in range(3):
        give_gradients(weights, seed=step)
        optimizer.update(0.1, step=step)
    others, other = fresh(averaging=0.3)
    with torch.no_grad():
        for name, w in others.items():
            w.copy_(weights[name])
    other.set_state(copies(optimizer.state()))
    for one, two in ((weights, optimizer), (others, other)):
        give_gradients(one, seed=9)
        two.update(0.2, step=3)
    assert all(torch.equal(others[name], w) for name, w in weights.items())
    assert all(torch.equal(other.state()[name], tensor) for name, tensor in optimizer.state().items())
    assert set(optimizer.state()) == {
        f"{kind}/{name}" for kind in ("average", "mean", "square", "updates") for name in SHAPES
    }
    assert {int(optimizer.state()[f"updates/{name}"]) for name in SHAPES} == {4}


def test_a_network_without_biases_has_no_vectors_to_update(fresh):
    weights, optimizer = fresh(shapes={"matrix": (2, 3)})
    before = copies(weights)
    weights["matrix"].grad = torch.ones(2, 3)
    optimizer.update(0.1, step=0)
    assert (weights["matrix"] < before["matrix"]).all()


def test_threads_change_no_bit_of_large_weights(fresh):
    states = []
    for num_threads in (1, 3):
        weights, optimizer = fresh(shapes={"matrix": (300, 211), "bias": (17,)}, num_threads=num_threads)
        for step in range(2):
            give_gradients(weights, seed=step)
            norm = optimizer.update(0.1, step=step)
        states.append({**copies(weights), **copies(optimizer.state()), "norm": norm})
    assert all(torch.equal(states[0][name], tensor) for name, tensor in states[1].items())
