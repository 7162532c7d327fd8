import pytest
import torch

from charrnn.models.dropout import dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_share_dropped_and_the_mean_are_those_asked_for(probability):
    torch.manual_seed(0)
    n = 100_001
    y = dropout(torch.ones(n), probability)
    deviation = (probability * (1 - probability) / n) ** 0.5
    # Four standard deviations, and half a 256th for the rounding of the probability.
    assert abs((y == 0).float().mean().item() - probability) < 4 * deviation + 1 / 512
    assert abs(y.mean().item() - 1) < 4 * deviation / (1 - probability) + 1e-6
    assert len(y.unique()) == 2


def test_a_probability_of_zero_changes_nothing():
    x = torch.randn(3, 5)
    assert dropout(x, 0.0) is x


def test_the_gradient_passes_where_the_value_did():
    torch.manual_seed(1)
    x = torch.randn(7, 5, requires_grad=True)
    y = dropout(x, 0.4)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (y / x).detach())  # the quotient rounds


def test_the_mask_is_a_function_of_torchs_seed():
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(dropout(torch.ones(64), 0.5))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
