"""Dropout: the shares it drops, its gradient, and one mask from the C kernel and from torch."""

import pytest
import torch

from charrnn.models import dropout as module
from charrnn.models.dropout import dropout
from charrnn.models.native import build

needs_kernels = pytest.mark.skipif(build.library() is None, reason=f"no kernels here: {build.unavailable_reason()}")


@pytest.fixture(params=["torch", pytest.param("kernel", marks=needs_kernels)])
def path(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(module, "library", lambda: None)
    return request.param


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_share_dropped_and_the_mean_are_those_asked_for(path, probability):
    n = 100_001
    y = dropout(torch.ones(n), probability, seed=5)
    deviation = (probability * (1 - probability) / n) ** 0.5
    # Four standard deviations, and half a 256th for the rounding of the probability.
    assert abs((y == 0).float().mean().item() - probability) < 4 * deviation + 1 / 512
    assert abs(y.mean().item() - 1) < 4 * deviation / (1 - probability) + 1e-6
    assert len(y.unique()) == 2


def test_a_probability_of_zero_changes_nothing(path):
    x = torch.randn(3, 5)
    assert dropout(x, 0.0, seed=1) is x


def test_the_gradient_passes_where_the_value_did(path):
    torch.manual_seed(1)
    x = torch.randn(7, 5, requires_grad=True)
    y = dropout(x, 0.4, seed=3)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (y / x).detach())  # the quotient rounds


@pytest.mark.parametrize("other", [2, 1 + (1 << 32), (1 << 62) + 1])
def test_masks_of_two_seeds_have_no_more_in_common_than_chance(path, other):
    n = 40_000
    first, second = (dropout(torch.ones(n), 0.5, seed=seed) == 0 for seed in (1, other))
    assert torch.equal(first, dropout(torch.ones(n), 0.5, seed=1) == 0)
    for shift in range(-70, 71):  # also of neighbours: four standard deviations of each, of 141 looked at
        both = (first & second.roll(shift)).float().mean().item()
        assert abs(both - 0.25) < 4.5 * (0.25 * 0.75 / n) ** 0.5


@needs_kernels
@pytest.mark.parametrize("shape", [(1,), (63,), (3, 5, 7), (64, 33), (300, 257)])
def test_kernel_and_torch_drop_the_same_with_any_threads(monkeypatch, shape):
    x = torch.randn(shape)
    seed = 0x7123456789ABCDEF
    found = [dropout(x, 0.3, seed=seed, num_threads=threads) for threads in (1, 2, 5)]
    monkeypatch.setattr(module, "library", lambda: None)
    expected = dropout(x, 0.3, seed=seed)
    assert all(torch.equal(each, expected) for each in found)
    assert (expected == 0).any() or len(shape) == 1


@needs_kernels
def test_rows_that_are_not_contiguous_are_dropped_as_they_are_numbered(monkeypatch):
    x = torch.randn(40, 30).T
    found = dropout(x, 0.5, seed=9)
    monkeypatch.setattr(module, "library", lambda: None)
    assert torch.equal(found, dropout(x, 0.5, seed=9))
