"""The equations in numpy against the equations written out plainly, and against the course's worked examples."""

import math

import numpy as np
import pytest
from small_network import SHAPES, B, H, V, name_of, numpy_network, plain_logits, plain_nats, random_weights

from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.settings import ModelSettings

IDS = np.array([[1, 6], [0, 3], [5, 5]])
TARGETS = np.array([[0, 3], [5, 5], [2, 4]])
of_every_form = pytest.mark.parametrize("settings", SHAPES, ids=name_of)


def one_layer(weight_ih, weight_hh, weight_out, *, dtype=np.float64):
    """A vanilla network without bias; column k of weight_ih is what symbol k feeds in."""
    settings = ModelSettings(
        vocab_size=weight_out.shape[0],
        cell="rnn",
        hidden_size=weight_hh.shape[0],
        input="one-hot",
        bias=False,
    )
    weights = {"layers.0.weight_ih": weight_ih, "layers.0.weight_hh": weight_hh, "output.weight": weight_out}
    return NumpyNetwork(settings, weights, dtype=dtype)


@of_every_form
def test_steps_give_the_logits_of_the_equations_written_out_plainly(settings):
    weights = random_weights(settings)
    network = NumpyNetwork(settings, weights, dtype=np.float64)
    state = network.zero_state(B)
    got = []
    for ids in IDS:
        logits, state = network.step(ids, state)
        got.append(logits)
    want = np.stack([plain_logits(settings, weights, list(IDS[:, b])) for b in range(B)], axis=1)
    # float64 sums of at most a dozen terms near 1: rounding stays below 1e-14 a step.
    np.testing.assert_allclose(np.array(got), want, rtol=0, atol=1e-12)


@of_every_form
def test_scores_are_the_cross_entropy_of_the_equations_written_out_plainly(settings):
    weights = random_weights(settings)
    network = NumpyNetwork(settings, weights, dtype=np.float64)
    nats, _ = network.score(IDS, TARGETS, network.zero_state(B))
    want = [plain_nats(settings, weights, [*IDS[:, b], TARGETS[-1, b]]) for b in range(B)]
    np.testing.assert_allclose(nats, np.transpose(want), rtol=0, atol=1e-12)  # as above


@of_every_form
def test_single_precision_scores_agree_with_double_to_a_millionth(settings):
    weights = random_weights(settings)
    ids = np.random.default_rng(1).integers(0, V, 200)
    network = NumpyNetwork(settings, weights)
    nats, _ = network.score(ids[:-1, None], ids[1:, None], network.zero_state(1))
    assert nats.dtype == np.float64
    # What is asked of scores: 1e-6 relative, of the sum.
    assert nats.sum() == pytest.approx(plain_nats(settings, weights, list(ids)).sum(), rel=1e-6)


@of_every_form
def test_scoring_leaves_the_state_that_steps_leave(settings):
    network = NumpyNetwork(settings, random_weights(settings), dtype=np.float64)
    _, scored = network.score(IDS, TARGETS, network.zero_state(B))
    state = network.zero_state(B)
    for ids in IDS:
        _, state = network.step(ids, state)
    assert [part.shape for part in scored] == [(settings.num_layers, B, H)] * len(settings.recurrent_cell.states)
    for found, expected in zip(scored, state, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-14)  # other order of float64 sums


def test_a_streams_logits_do_not_depend_on_its_neighbours_to_the_last_bit():
    network = numpy_network(cell="lstm", num_layers=2, hidden_size=67, vocab_size=53, scale=0.2)
    ids = np.random.default_rng(2).integers(0, 53, (9, 13))
    states = [network.zero_state(1) for _ in range(13)]
    state = network.zero_state(13)
    for row in ids:
        logits, state = network.step(row, state)
        for b in range(13):
            alone, states[b] = network.step(row[b : b + 1], states[b])
            np.testing.assert_array_equal(alone[0], logits[b])


def test_long_texts_are_scored_in_blocks_of_bounded_memory_without_a_change(monkeypatch):
    network = numpy_network(cell="lstm", num_layers=2, dtype=np.float64)
    ids = np.random.default_rng(4).integers(0, V, (41, 3))
    whole, state = network.score(ids[:-1], ids[1:], network.zero_state(3))
    monkeypatch.setattr("charrnn.models.numpy_network._LOGITS_AT_ONCE", 200)
    blocks, blocks_state = network.score(ids[:-1], ids[1:], network.zero_state(3))
    np.testing.assert_allclose(blocks, whole, rtol=1e-13)  # float64 products of other heights
    for found, expected in zip(blocks_state, state, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_the_courses_two_step_vanilla_network_comes_out_as_recomputed():
    x1, x2 = np.array([2, 7, 3, 1.0]), np.array([0, 1, 0, 1.0])
    w_xh = np.array([[2, 5, 0, 3], [0, 3, 8, 2], [3, 0, 1, 1], [0, 1, 2, 0], [1, 1, 2, 1.0]])
    w_hh = np.array([[1, 0, 1, 1, 2], [1, 1, 4, 1, 2], [3, 0, 1, 1, 1], [1, 1, 2, 0, 9], [1, 1, 1, 1, 1.0]])
    w_hy = np.array([[1, 0, 1, 0, 1], [0, 1, 0, 1, 1.0]])
    # Symbol 0 stands for x1 and symbol 1 for x2: their columns of W_ih are W_xh x1 and W_xh x2.
    network = one_layer(w_xh @ np.stack([x1, x2], axis=1), w_hh, w_hy)
    _, state = network.step(np.array([0]), network.zero_state(1))
    h1 = [1, 1, 0.9999999958776927, 0.9999999999897818, 0.9999999999999747]
    np.testing.assert_allclose(state[0][0, 0], h1, rtol=0, atol=1e-15)  # one unit in the last place
    y2, state = network.step(np.array([1]), state)
    h2 = [0.9999999999897818, 0.9999999999986171, 0.9999983369439309, 0.9999999999986171, 0.9999983369439309]
    np.testing.assert_allclose(state[0][0, 0], h2, rtol=0, atol=1e-15)
    np.testing.assert_allclose(y2[0], [2.999996673877644, 2.9999983369411654], rtol=0, atol=1e-14)


def test_after_h_the_courses_hello_network_predicts_o_and_pays_for_e():
    # Hidden size 3 as in the course; saturated units make the logits at "h" the output's row sums: 1, 2.2,
    # -3, 4.1.
    wanted = np.array([1.0, 2.2, -3.0, 4.1])
    hidden = np.tanh(np.array([0.3, -0.1, 0.9]))
    weight_ih = np.zeros((3, 4))
    weight_ih[:, 0] = [0.3, -0.1, 0.9]
    weight_out = np.outer(wanted, hidden / (hidden @ hidden))
    network = one_layer(weight_ih, np.zeros((3, 3)), weight_out)
    h, e, o = 0, 1, 3
    logits, _ = network.step(np.array([h]), network.zero_state(1))
    np.testing.assert_allclose(logits[0], wanted, rtol=1e-14)
    assert logits[0].argmax() == o
    nats, _ = network.score(np.array([[h]]), np.array([[e]]), network.zero_state(1))
    loss = math.log(math.exp(1) + math.exp(2.2) + math.exp(-3) + math.exp(4.1)) - 2.2
    assert nats[0, 0] == pytest.approx(loss, rel=1e-14)


def test_huge_logits_neither_overflow_nor_lose_the_score():
    network = one_layer(np.full((1, 2), 50.0), np.zeros((1, 1)), np.array([[1000.0], [0.0]]))
    nats, _ = network.score(np.array([[0, 0]]), np.array([[0, 1]]), network.zero_state(2))
    np.testing.assert_array_equal(nats, [[0.0, 1000.0]])
