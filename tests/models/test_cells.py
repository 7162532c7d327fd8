"""The equations against torch.nn, against the course's worked examples, and by finite differences."""

import numpy as np
import pytest
import torch
from torch import nn

from charrnn.models import cells

T, B, E, H = 3, 2, 5, 4
CELLS = ["rnn", "lstm", "gru"]


def weights(cell, *, seed=0, bias=True):
    """Random weights with torch's names, as torch.nn's own layer holds them, in float64."""
    torch.manual_seed(seed)
    kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell]
    return kind(E, H, bias=bias).double()


def unroll(cell, reset, x, h, c, weight_hh, bias_hh, tanh=torch.tanh):
    outputs = []
    for x_t in x:
        if cell == "lstm":
            h, c = cells.lstm_step(x_t, h, c, weight_hh, bias_hh, tanh)
        else:
            h = cells.step_of(cell, reset)(x_t, h, weight_hh, bias_hh, tanh)
        outputs.append(h)
    return outputs, h, c


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_repeated_gives_what_torch_nn_gives(cell, bias):
    layer = weights(cell, bias=bias)
    inputs, h, c = torch.randn(T, B, E).double(), torch.randn(B, H).double(), torch.randn(B, H).double()
    state = (h[None], c[None]) if cell == "lstm" else h[None]
    expected, _ = layer(inputs, state)
    x = inputs @ layer.weight_ih_l0.T + (layer.bias_ih_l0 if bias else 0)
    outputs, _, _ = unroll(cell, "after", x, h, c, layer.weight_hh_l0, layer.bias_hh_l0 if bias else 0.0)
    # float64 rounding alone: 1e-16 a operation, some hundred operations.
    torch.testing.assert_close(torch.stack(outputs), expected, rtol=0, atol=1e-13)


def test_numpy_and_torch_arrays_give_the_same_step():
    layer = weights("gru")
    x, h = torch.randn(B, 3 * H).double(), torch.randn(B, H).double()
    for step in (cells.gru_step, cells.gru_before_step):
        by_torch = step(x, h, layer.weight_hh_l0, layer.bias_hh_l0, torch.tanh).detach().numpy()
        by_numpy = step(
            x.numpy(), h.numpy(), layer.weight_hh_l0.detach().numpy(), layer.bias_hh_l0.detach().numpy(), np.tanh
        )
        np.testing.assert_allclose(by_numpy, by_torch, rtol=0, atol=1e-14)  # two libraries' tanh differ in the last bit


def test_the_gru_that_resets_before_the_product_follows_its_equations_unit_by_unit():
    rng = np.random.default_rng(1)
    x, h, weight, bias = rng.normal(size=3 * H), rng.normal(size=H), rng.normal(size=(3 * H, H)), rng.normal(size=3 * H)
    logistic = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    r = [logistic(x[j] + weight[j] @ h + bias[j]) for j in range(H)]
    expected = []
    for j in range(H):
        z = logistic(x[H + j] + weight[H + j] @ h + bias[H + j])
        n = np.tanh(x[2 * H + j] + sum(weight[2 * H + j, k] * r[k] * h[k] for k in range(H)) + bias[2 * H + j])
        expected.append((1 - z) * n + z * h[j])
    given = cells.gru_before_step(x[None], h[None], weight, bias, np.tanh)[0]
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-14)


def test_the_two_forms_of_the_gru_agree_where_the_reset_gate_is_open():
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(3 * H, H))
    x, h = rng.normal(size=(B, 3 * H)), rng.normal(size=(B, H))
    x[:, :H] = 100  # r = 1 to the last bit
    after = cells.gru_step(x, h, weight, 0.0, np.tanh)
    before = cells.gru_before_step(x, h, weight, 0.0, np.tanh)
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("cell", "reset"), [("rnn", "after"), ("lstm", "after"), ("gru", "after"), ("gru", "before")])
def test_gradients_equal_finite_differences(cell, reset):
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell]
    torch.manual_seed(3)
    tensors = [torch.randn(*shape).double().requires_grad_() for shape in
               [(T, B, gates * H), (B, H), (B, H), (gates * H, H), (gates * H,)]]  # fmt: skip

    def function(x, h, c, weight_hh, bias_hh):
        outputs, h, c = unroll(cell, reset, x, h, c if cell == "lstm" else None, weight_hh, bias_hh)
        return (torch.stack(outputs), c) if cell == "lstm" else torch.stack(outputs)

    if cell == "lstm":
        assert torch.autograd.gradcheck(function, tensors)
    else:
        x, h, c, weight_hh, bias_hh = tensors
        assert torch.autograd.gradcheck(lambda x, h, w, b: function(x, h, c, w, b), (x, h, weight_hh, bias_hh))


def test_the_courses_two_step_vanilla_network():
    x1, x2 = np.array([2.0, 7, 3, 1]), np.array([0.0, 1, 0, 1])
    w_xh = np.array([[2.0, 5, 0, 3], [0, 3, 8, 2], [3, 0, 1, 1], [0, 1, 2, 0], [1, 1, 2, 1]])
    w_hh = np.array([[1.0, 0, 1, 1, 2], [1, 1, 4, 1, 2], [3, 0, 1, 1, 1], [1, 1, 2, 0, 9], [1, 1, 1, 1, 1]])
    w_hy = np.array([[1.0, 0, 1, 0, 1], [0, 1, 0, 1, 1]])
    h1 = cells.rnn_step(w_xh @ x1, np.zeros(5), w_hh, 0.0, np.tanh)
    h2 = cells.rnn_step(w_xh @ x2, h1, w_hh, 0.0, np.tanh)
    tiny = 1e-14  # the figures below are given to sixteen digits
    np.testing.assert_allclose(
        h1, [1, 1, 0.9999999958776927, 0.9999999999897818, 0.9999999999999747], rtol=0, atol=tiny
    )
    np.testing.assert_allclose(
        h2,
        [0.9999999999897818, 0.9999999999986171, 0.9999983369439309, 0.9999999999986171, 0.9999983369439309],
        rtol=0,
        atol=tiny,
    )
    np.testing.assert_allclose(w_hy @ h2, [2.999996673877644, 2.9999983369411654], rtol=0, atol=tiny)


def test_the_courses_linear_network_and_its_gradients_through_time():
    u = torch.full((3,), 0.5, dtype=torch.float64, requires_grad=True)
    w = torch.full((3, 3), 0.5, dtype=torch.float64, requires_grad=True)
    v = torch.full((3,), 0.5, dtype=torch.float64, requires_grad=True)
    h, loss, predicted = torch.zeros(3, dtype=torch.float64), torch.zeros((), dtype=torch.float64), []
    for x, y in ((0.3, 0.8), (0.35, 0.81), (0.4, 0.62)):
        h = cells.rnn_step(u * x, h, w, 0.0, lambda a: a)  # the identity in tanh's place makes it linear
        predicted.append(v @ h)
        loss = loss + (predicted[-1] - y) ** 2 / 2
    loss.backward()
    np.testing.assert_allclose([p.item() for p in predicted], [0.225, 0.6, 1.2], rtol=1e-12)
    assert loss.item() == pytest.approx(0.3555625, rel=1e-12)
    four_digits = 5e-5
    np.testing.assert_allclose(u.grad, [0.2938] * 3, atol=four_digits)
    np.testing.assert_allclose(w.grad, [[0.1655] * 3] * 3, atol=four_digits)
    np.testing.assert_allclose(v.grad, [0.2938] * 3, atol=four_digits)


def test_the_sigmoid_is_right_at_both_ends_and_in_the_middle():
    given = cells.sigmoid(np.array([-1e4, -2.0, 0.0, 2.0, 1e4]), np.tanh)
    expected = [0, 1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-2)), 1]
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-15)
