"""The equations against torch.nn, against the course's worked examples, and by finite differences."""

import numpy as np
import pytest
import torch
from cells import CELLS, OF_TORCH, torch_layer

from charrnn.errors import SettingsError
from charrnn.models import cells
from charrnn.models.cells import State
from charrnn.models.settings import ModelSettings

T, B, E, H, L = 3, 2, 5, 4, 6


def unroll(cell, x, state, weight_hh, bias_hh, tanh=torch.tanh):
    outputs = []
    for x_t in x:
        state = cells.CELLS[cell].step(x_t, state, weight_hh, bias_hh, tanh)
        outputs.append(state[0])
    return outputs, state


def random_tensors(cell, *, seed):
    """The input's share of the gates (T, B, G*H), weight_hh, bias_hh and the state, in float64."""
    torch.manual_seed(seed)
    rows = cells.CELLS[cell].num_gates * H
    shapes = [(T, B, rows), (rows, H), (rows,), *((B, H) for _ in cells.CELLS[cell].states)]
    return [torch.randn(*shape).double() for shape in shapes]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", OF_TORCH)
def test_a_step_repeated_gives_what_torch_nn_gives(cell, bias):
    torch.manual_seed(0)
    layer = torch_layer(cell, E, H, bias=bias).double()
    inputs = torch.randn(T, B, E).double()
    state = tuple(torch.randn(B, H).double() for _ in cells.CELLS[cell].states)
    first = tuple(part[None] for part in state)
    expected, last = layer(inputs, first if len(first) > 1 else first[0])
    x = inputs @ layer.weight_ih_l0.T + (layer.bias_ih_l0 if bias else 0)
    outputs, after = unroll(cell, x, state, layer.weight_hh_l0, layer.bias_hh_l0 if bias else 0.0)
    # float64 rounding alone: 1e-16 per operation, some hundred operations.
    torch.testing.assert_close(torch.stack(outputs), expected, rtol=0, atol=1e-13)
    for found, part in zip(after, last if isinstance(last, tuple) else (last,), strict=True):
        torch.testing.assert_close(found, part[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_numpy_and_torch_arrays_give_the_same_step(cell):
    step = cells.CELLS[cell].step
    x, weight_hh, bias_hh, *state = random_tensors(cell, seed=0)
    by_torch = step(x[0], tuple(state), weight_hh, bias_hh, torch.tanh)
    by_numpy = step(x[0].numpy(), tuple(part.numpy() for part in state), weight_hh.numpy(), bias_hh.numpy(), np.tanh)
    for one, other in zip(by_numpy, by_torch, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)  # two libraries' tanh differ in the last bit


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_gives_each_of_the_states_that_the_table_names(cell):
    x, weight_hh, bias_hh, *state = random_tensors(cell, seed=4)
    after = cells.CELLS[cell].step(x[0], tuple(state), weight_hh, bias_hh, torch.tanh)
    assert [part.shape for part in after] == [(B, H)] * len(cells.CELLS[cell].states)
    assert cells.CELLS[cell].states[0] == "hidden"


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_leaves_the_state_before_it_as_it_was(cell):
    x, weight_hh, bias_hh, *state = random_tensors(cell, seed=5)
    before = [part.clone() for part in state]
    cells.CELLS[cell].step(x[0], tuple(state), weight_hh, bias_hh, torch.tanh)
    assert all(map(torch.equal, state, before))


@pytest.mark.parametrize("cell", CELLS)
def test_biases_of_a_gate_that_start_elsewhere_are_those_of_a_gate(cell):
    assert all(0 <= gate < cells.CELLS[cell].num_gates for gate, _ in cells.CELLS[cell].initial_bias)


@pytest.mark.parametrize("name", ["", "LSTM", "transformer", "gru-after", None, 3])
def test_a_name_that_is_not_in_the_table_is_refused(name):
    with pytest.raises(SettingsError, match=f"cell is .*; it must be one of {', '.join(CELLS)}"):
        ModelSettings(vocab_size=7, cell=name)


@pytest.mark.parametrize("library", [np, torch], ids=["numpy", "torch"])
def test_a_state_gives_its_streams_and_layers_in_any_order(library):
    parts = [library.asarray(np.random.default_rng(i).normal(size=(L, B, H))) for i in (1, 2)]
    state = State(parts)
    turned = state.of_streams([1, 0, 1])
    assert isinstance(turned, State)
    for part, found in zip(parts, turned, strict=True):
        assert found.shape == (L, 3, H)
        assert (found[:, 0] == part[:, 1]).all()
        assert (found[:, 1] == part[:, 0]).all()
        assert (found[:, 2] == part[:, 1]).all()
    assert all((found == part[3]).all() for found, part in zip(state.of_layer(3), parts, strict=True))
    doubled = state.map(lambda part: 2 * part)
    assert isinstance(doubled, State)
    assert all((found == 2 * part).all() for found, part in zip(doubled, parts, strict=True))


@pytest.mark.parametrize("bias", [True, False])
def test_the_input_table_holds_the_product_with_each_symbols_vector(bias):
    rng = np.random.default_rng(8)
    weight, embedding, bias_ih = rng.normal(size=(H, E)), rng.normal(size=(7, E)), rng.normal(size=H) if bias else None
    table = cells.input_table(weight, bias_ih, embedding)
    for symbol in range(7):
        wanted = [sum(weight[j, k] * embedding[symbol, k] for k in range(E)) for j in range(H)]
        if bias:
            wanted = [share + more for share, more in zip(wanted, bias_ih, strict=True)]
        np.testing.assert_allclose(table[symbol], wanted, rtol=0, atol=1e-14)  # float64 sums of six terms near 1
    one_hot = rng.normal(size=(H, 7))
    np.testing.assert_array_equal(cells.input_table(one_hot, None, None), one_hot.T)


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
    ((given,),) = cells.gru_before_step(x[None], (h[None],), weight, bias, np.tanh)
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-14)


def test_the_two_forms_of_the_gru_agree_where_the_reset_gate_is_open():
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(3 * H, H))
    x, h = rng.normal(size=(B, 3 * H)), rng.normal(size=(B, H))
    x[:, :H] = 100  # r = 1 to the last bit
    (after,) = cells.gru_step(x, (h,), weight, 0.0, np.tanh)
    (before,) = cells.gru_before_step(x, (h,), weight, 0.0, np.tanh)
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_equal_finite_differences(cell):
    tensors = [tensor.requires_grad_() for tensor in random_tensors(cell, seed=3)]

    def function(x, weight_hh, bias_hh, *state):
        outputs, after = unroll(cell, x, state, weight_hh, bias_hh)
        return torch.stack(outputs), *after

    assert torch.autograd.gradcheck(function, tensors)


def test_the_courses_two_step_vanilla_network():
    x1, x2 = np.array([2.0, 7, 3, 1]), np.array([0.0, 1, 0, 1])
    w_xh = np.array([[2.0, 5, 0, 3], [0, 3, 8, 2], [3, 0, 1, 1], [0, 1, 2, 0], [1, 1, 2, 1]])
    w_hh = np.array([[1.0, 0, 1, 1, 2], [1, 1, 4, 1, 2], [3, 0, 1, 1, 1], [1, 1, 2, 0, 9], [1, 1, 1, 1, 1]])
    w_hy = np.array([[1.0, 0, 1, 0, 1], [0, 1, 0, 1, 1]])
    (h1,) = cells.rnn_step(w_xh @ x1, (np.zeros(5),), w_hh, 0.0, np.tanh)
    (h2,) = cells.rnn_step(w_xh @ x2, (h1,), w_hh, 0.0, np.tanh)
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
        (h,) = cells.rnn_step(u * x, (h,), w, 0.0, lambda a: a)  # the identity in tanh's place makes it linear
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
