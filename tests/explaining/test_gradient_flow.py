"""Gradients on their way back, against torch.nn and autograd window by window, and against differences."""

import numpy as np
import pytest
import torch
from cells import CELLS, OF_TORCH, torch_layer
from small_network import H, V, random_weights, shape_of

from charrnn.explaining.gradient_flow import gradient_flow, windows_of
from charrnn.models.cells import CELLS as TABLE
from charrnn.models.numpy_network import NumpyNetwork

REACH = 6
IDS = np.random.default_rng(2).integers(0, V, 60)
OPTIONS = {"reach": REACH, "grad_clip": 0.25, "num_windows": 5}


def by_torch_nn(shape, weights, window):
    """Norms (L, states, K + 1) of one window by torch.nn's own cells in float64, one step at a time."""
    w = {name: torch.from_numpy(value.astype(np.float64)) for name, value in weights.items()}
    layers = []
    for layer in range(shape.num_layers):
        cell = torch_layer(shape.cell, V if layer == 0 else H, H).double()
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, f"{kind}_l0").data = w[f"layers.{layer}.{kind}"]
        layers.append(cell)
    names = TABLE[shape.cell].states
    state = [tuple(torch.zeros(1, 1, H).double().requires_grad_() for _ in names) for _ in layers]
    kept = []
    for symbol in window[:-1]:
        x = torch.eye(V).double()[symbol][None, None]
        after = []
        for cell, before in zip(layers, state, strict=True):
            x, last = cell(x, before if len(before) > 1 else before[0])
            parts = last if isinstance(last, tuple) else (last,)
            # The output is the state: what is above must read the tensor that is differentiated.
            x = parts[0]
            after.append(parts)
        state = after
        kept.append(after)
    logits = x[0] @ w["output.weight"].T + w["output.bias"]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([window[-1]]))
    norms = np.empty((shape.num_layers, len(names), REACH + 1))
    for k in range(REACH + 1):
        for layer in range(shape.num_layers):
            parts = kept[-1 - k][layer]
            gradients = torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True)
            hidden = gradients[0]
            norms[layer, 0, k] = hidden.norm()
            if len(names) > 1:
                # To torch's operator h and c are two results; in truth c moves h = o tanh(c) too.
                squashed = torch.tanh(parts[1])
                through_h = hidden * parts[0] / squashed * (1 - squashed**2)
                norms[layer, 1, k] = (through_h + (0 if gradients[1] is None else gradients[1])).detach().norm()
    return norms


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", OF_TORCH)
def test_norms_are_those_of_torch_nn_and_autograd(cell, num_layers):
    shape = shape_of(cell=cell, num_layers=num_layers)
    weights = random_weights(shape)
    flow = gradient_flow(shape, weights, IDS, **OPTIONS)
    windows = windows_of(IDS, reach=REACH, num_windows=5)
    expected = np.stack([by_torch_nn(shape, weights, window) for window in windows.T])  # (N, L, states, K + 1)
    assert len(flow.roads) == num_layers * len(TABLE[cell].states)
    for road in flow.roads:
        index = TABLE[cell].states.index(road.state)
        # Both float64: they differ by the order of sums.
        np.testing.assert_allclose(road.norms, expected[:, road.layer, index], rtol=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_is_what_moving_the_state_does_to_the_loss(cell):
    shape = shape_of(cell=cell)
    weights = random_weights(shape)
    network = NumpyNetwork(shape, weights, dtype=np.float64)
    window = windows_of(IDS, reach=REACH, num_windows=1)[:, 0]
    flow = gradient_flow(shape, weights, window, **OPTIONS | {"num_windows": 1})
    state = network.zero_state(1)
    for symbol in window[: -REACH - 1]:
        _, state = network.step(np.array([symbol]), state)
    rest = window[-REACH - 1 :, None]
    small = 1e-6
    for part, road in zip(range(len(state)), flow.roads, strict=True):
        gradient = []
        for unit in range(H):
            losses = []
            for moved in (small, -small):
                changed = state.map(np.copy)
                changed[part][0, 0, unit] += moved
                if part:  # c moves h = o tanh(c) too
                    changed[0][:] *= np.tanh(changed[1]) / np.tanh(state[1])
                nats, _ = network.score(rest[:-1], rest[1:], changed)
                losses.append(nats[-1, 0])
            gradient.append((losses[0] - losses[1]) / (2 * small))
        # Differences over 2e-6 of float64 losses: 1e-10 is lost to rounding.
        assert np.linalg.norm(gradient) == pytest.approx(road.norms[0, REACH], rel=1e-5, abs=1e-9)


def scaled(weights, factor):
    return {name: value * factor if name.endswith("weight_hh") else value for name, value in weights.items()}


def test_a_vanilla_gradient_vanishes_or_explodes_with_the_matrix():
    shape = shape_of(cell="rnn", bias=False)
    weights = random_weights(shape)
    # Small inputs keep tanh straight, so that the recurrent matrix alone decides; a rotation stretches nothing.
    weights["layers.0.weight_ih"] *= 1e-3
    weights["layers.0.weight_hh"] = np.linalg.qr(weights["layers.0.weight_hh"])[0].astype(np.float32)
    road = {factor: gradient_flow(shape, scaled(weights, factor), IDS, **OPTIONS).roads[0] for factor in (0.5, 1.0)}
    assert road[0.5].factor_per_step == pytest.approx(0.5, rel=1e-3)
    assert road[1.0].factor_per_step == pytest.approx(1, rel=1e-3)
    assert road[0.5].share_after(REACH) == pytest.approx(0.5**REACH, rel=1e-2)
    flow = gradient_flow(shape, weights, IDS, **OPTIONS, scales=(0.5, 2.0))
    assert [each.scale for each in flow.updates] == [0.5, 2.0]
    assert flow.updates[0].factor_per_step == pytest.approx(0.5, rel=1e-3)
    assert flow.updates[1].factor_per_step > 1.1


def test_the_cell_of_an_lstm_keeps_what_its_forget_gate_keeps():
    shape = shape_of(cell="lstm", bias=True)
    weights = scaled(random_weights(shape), 0.0)  # nothing goes back but along the cell
    weights["layers.0.bias_hh"][:] = 0
    weights["layers.0.bias_ih"][:] = 0
    weights["layers.0.weight_ih"][:] = 0
    weights["layers.0.bias_ih"][H : 2 * H] = np.log(9)  # forget gates of 0.9
    cell = gradient_flow(shape, weights, IDS, **OPTIONS).roads[1]
    assert cell.state == "cell"
    assert cell.factor_per_step == pytest.approx(0.9, rel=1e-6)  # log of 9 in float32


def test_an_update_is_the_gradient_of_the_mean_loss_clipped():
    shape = shape_of(cell="lstm", num_layers=2)
    weights = random_weights(shape)
    flow = gradient_flow(shape, weights, IDS, **OPTIONS | {"grad_clip": 0.1}, scales=(1.0,))
    windows = windows_of(IDS, reach=REACH, num_windows=5)
    network = NumpyNetwork(shape, weights, dtype=np.float64)
    nats, _ = network.score(windows[:-1], windows[1:], network.zero_state(5))
    (update,) = flow.updates
    assert update.loss == pytest.approx(nats[-REACH:].mean(), rel=1e-9)
    assert update.norm > update.clipped == 0.1
    gentle = gradient_flow(shape, weights, IDS, **OPTIONS | {"grad_clip": 100.0}, scales=(1.0,))
    assert gentle.updates[0].clipped == gentle.updates[0].norm == update.norm


def test_windows_are_spread_from_the_first_symbol_to_the_last():
    windows = windows_of(np.arange(100), reach=10, num_windows=4)
    assert windows.shape == (22, 4)
    assert windows[0].tolist() == [0, 26, 52, 78]
    assert windows[-1, -1] == 99
    assert (np.diff(windows, axis=0) == 1).all()


@pytest.mark.parametrize(("num_symbols", "reach"), [(3, 1), (8, 6), (9, REACH)])
def test_a_short_text_has_a_short_reach(num_symbols, reach):
    shape = shape_of()
    flow = gradient_flow(shape, random_weights(shape), IDS[:num_symbols], **OPTIONS)
    assert flow.reach == reach
    assert all(road.norms.shape[1] == reach + 1 for road in flow.roads)


def test_a_text_of_two_symbols_has_no_way_back():
    shape = shape_of()
    assert gradient_flow(shape, random_weights(shape), IDS[:2], **OPTIONS) is None
