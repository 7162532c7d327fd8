"""What is seen of a model while it reads is what it computes: logits, states and gates of the equations."""

import numpy as np
import pytest
from cells import CELLS
from small_counts import fixed_counts
from small_network import H, V, plain_logits, random_weights, shape_of

from charrnn.explaining.tracing import Activations, iterate_traces
from charrnn.models.native.build import library
from charrnn.models.native.network import NativeNetwork
from charrnn.models.numpy_network import NumpyNetwork

IDS = np.random.default_rng(1).integers(0, V, 41)
NETWORKS = {"numpy": NumpyNetwork, "native": NativeNetwork}
# float32 networks of a few dozen terms per sum, against float64.
ROUNDING = 2e-5


def network(kind, shape, weights):
    if kind == "native" and (library() is None or not shape.recurrent_cell.kernel):
        pytest.skip("no kernel of this cell here")
    return NETWORKS[kind](shape, weights)


@pytest.mark.parametrize("window", [1, 7, 64, None])
@pytest.mark.parametrize("kind", NETWORKS)
def test_logits_are_those_of_the_plain_equations(kind, window):
    shape = shape_of(cell="lstm", num_layers=2)
    weights = random_weights(shape)
    traces = list(iterate_traces(network(kind, shape, weights), IDS, window=window))
    found = np.concatenate([trace.logits for trace in traces])
    np.testing.assert_allclose(found, plain_logits(shape, weights, IDS), rtol=0, atol=ROUNDING)
    assert np.concatenate([trace.ids for trace in traces]).tolist() == IDS.tolist()


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("cell", CELLS)
def test_states_are_those_after_each_step(cell, kind, num_layers):
    shape = shape_of(cell=cell, num_layers=num_layers)
    weights = random_weights(shape)
    slow = NumpyNetwork(shape, weights, dtype=np.float64)
    state = slow.zero_state(1)
    traces = list(iterate_traces(network(kind, shape, weights), IDS, window=10))
    for trace in traces:
        for t, symbol in enumerate(trace.ids):
            for found, expected in zip(trace.states, state, strict=True):
                np.testing.assert_allclose(found[t], expected[:, 0], rtol=0, atol=ROUNDING)
            _, state = slow.step(np.array([symbol]), state)
    assert [part.shape for part in traces[0].states] == [(11, num_layers, H)] * len(shape.recurrent_cell.states)


@pytest.mark.parametrize("kind", ["one-hot", "embedding"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru-before"])
def test_gates_and_states_before_give_the_states_after(cell, kind):
    shape = shape_of(cell=cell, num_layers=2, input=kind)
    weights = random_weights(shape)
    activations = Activations(shape, weights)
    for trace in iterate_traces(NumpyNetwork(shape, weights), IDS, window=20):
        for layer in range(2):
            parts = activations.of_layer(trace, layer)
            assert tuple(parts) == activations.parts
            before = [part[:-1, layer] for part in trace.states]
            if cell == "lstm":
                c = parts["forget"] * before[1] + parts["input"] * parts["candidate"]
                np.testing.assert_allclose(c, parts["cell"], rtol=0, atol=ROUNDING)
                h = parts["output"] * np.tanh(c)
            else:
                h = (1 - parts["update"]) * parts["candidate"] + parts["update"] * before[0]
            np.testing.assert_allclose(h, parts["hidden"], rtol=0, atol=ROUNDING)


def test_what_is_no_network_has_logits_and_no_states():
    counts = fixed_counts(V)
    traces = list(iterate_traces(counts, IDS, window=16))
    assert all(trace.states == () for trace in traces)
    state = counts.zero_state(1)
    for trace in traces:
        for t, symbol in enumerate(trace.ids):
            logits, state = counts.step(np.array([symbol]), state)
            assert np.array_equal(trace.logits[t], logits[0])
