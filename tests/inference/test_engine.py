import math

import numpy as np
import pytest

from charrnn.errors import SettingsError
from charrnn.inference.engine import NumpyEngine, State, open_engine
from charrnn.inference.sampling import SamplingSettings
from charrnn.models.settings import ModelSettings

T, B, V = 3, 2, 7
IDS = np.array([[1, 6], [0, 3], [5, 5]])
TARGETS = np.array([[0, 3], [5, 5], [2, 4]])


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
    return NumpyEngine(settings, weights, dtype=dtype)


def test_steps_give_the_logits_of_the_equations_written_out_plainly(settings, weights_of, logits_oracle):
    weights = weights_of(settings)
    engine = NumpyEngine(settings, weights, dtype=np.float64)
    state = engine.zero_state(B)
    got = []
    for ids in IDS:
        logits, state = engine.step(ids, state)
        got.append(logits)
    want = np.stack([logits_oracle(settings, weights, list(IDS[:, b])) for b in range(B)], axis=1)
    # float64 sums of at most a dozen terms near 1: rounding stays below 1e-14 a step.
    np.testing.assert_allclose(np.array(got), want, rtol=0, atol=1e-12)


def test_scores_are_the_cross_entropy_of_the_equations_written_out_plainly(settings, weights_of, oracle):
    weights = weights_of(settings)
    engine = NumpyEngine(settings, weights, dtype=np.float64)
    nats, _ = engine.score(IDS, TARGETS, engine.zero_state(B))
    want = [oracle(settings, weights, [*IDS[:, b], TARGETS[-1, b]]) for b in range(B)]
    np.testing.assert_allclose(nats, np.transpose(want), rtol=0, atol=1e-12)  # as above


def test_single_precision_scores_agree_with_double_to_a_millionth(settings, weights_of, oracle):
    weights = weights_of(settings)
    ids = np.random.default_rng(1).integers(0, V, 200)
    engine = NumpyEngine(settings, weights)
    nats, _ = engine.score(ids[:-1, None], ids[1:, None], engine.zero_state(1))
    assert nats.dtype == np.float64
    # What is asked of scores: 1e-6 relative, of the sum.
    assert nats.sum() == pytest.approx(oracle(settings, weights, list(ids)).sum(), rel=1e-6)


def test_scoring_leaves_the_state_that_steps_leave(settings, weights_of):
    engine = NumpyEngine(settings, weights_of(settings), dtype=np.float64)
    _, scored = engine.score(IDS, TARGETS, engine.zero_state(B))
    state = engine.zero_state(B)
    for ids in IDS:
        _, state = engine.step(ids, state)
    np.testing.assert_allclose(scored.hidden, state.hidden, atol=1e-14)  # other order of float64 sums
    np.testing.assert_allclose(scored.cell, state.cell, atol=1e-14)
    assert scored.cell.shape == ((settings.num_layers if settings.cell == "lstm" else 0), B, 4)


def test_a_step_leaves_the_state_it_was_given_as_it_was(settings, weights_of):
    engine = NumpyEngine(settings, weights_of(settings))
    _, state = engine.step(IDS[0], engine.zero_state(B))
    kept = State(state.hidden.copy(), state.cell.copy())
    engine.step(IDS[1], state)
    engine.score(IDS, TARGETS, state)
    engine.generate(IDS[0], state, uniforms=np.full((T, B), 0.5), sampling=SamplingSettings())
    np.testing.assert_array_equal(state.hidden, kept.hidden)
    np.testing.assert_array_equal(state.cell, kept.cell)


def test_a_streams_logits_do_not_depend_on_the_streams_beside_it_to_the_last_bit(engine_of):
    engine = engine_of(cell="lstm", num_layers=2, hidden_size=67, vocab_size=53, scale=0.2)
    ids = np.random.default_rng(2).integers(0, 53, (9, 13))
    states = [engine.zero_state(1) for _ in range(13)]
    state = engine.zero_state(13)
    for row in ids:
        logits, state = engine.step(row, state)
        for b in range(13):
            alone, states[b] = engine.step(row[b : b + 1], states[b])
            np.testing.assert_array_equal(alone[0], logits[b])


def test_generating_is_stepping_and_choosing_in_turn(engine_of):
    engine = engine_of(cell="gru", dtype=np.float64)
    uniforms = np.random.default_rng(3).random((T, B))
    generated = engine.generate(np.array([1, 2]), engine.zero_state(B), uniforms=uniforms, sampling=SamplingSettings())
    ids, state = np.array([1, 2]), engine.zero_state(B)
    for t in range(T):
        logits, state = engine.step(ids, state)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        ids = np.array([next(k for k in range(V) if p[b, : k + 1].sum() > uniforms[t, b]) for b in range(B)])
        np.testing.assert_array_equal(generated.ids[t], ids)
    np.testing.assert_array_equal(generated.state.hidden, state.hidden)
    assert generated.marks is None


def test_long_texts_are_scored_in_blocks_of_bounded_memory_without_a_change(engine_of, monkeypatch):
    engine = engine_of(cell="lstm", num_layers=2, dtype=np.float64)
    ids = np.random.default_rng(4).integers(0, V, (41, 3))
    whole, state = engine.score(ids[:-1], ids[1:], engine.zero_state(3))
    monkeypatch.setattr("charrnn.inference.engine._LOGITS_AT_ONCE", 200)
    blocks, blocks_state = engine.score(ids[:-1], ids[1:], engine.zero_state(3))
    np.testing.assert_allclose(blocks, whole, rtol=1e-13)  # float64 products of other heights
    np.testing.assert_allclose(blocks_state.cell, state.cell, rtol=1e-13)


def test_the_courses_two_step_vanilla_network_comes_out_as_recomputed():
    x1, x2 = np.array([2, 7, 3, 1.0]), np.array([0, 1, 0, 1.0])
    w_xh = np.array([[2, 5, 0, 3], [0, 3, 8, 2], [3, 0, 1, 1], [0, 1, 2, 0], [1, 1, 2, 1.0]])
    w_hh = np.array([[1, 0, 1, 1, 2], [1, 1, 4, 1, 2], [3, 0, 1, 1, 1], [1, 1, 2, 0, 9], [1, 1, 1, 1, 1.0]])
    w_hy = np.array([[1, 0, 1, 0, 1], [0, 1, 0, 1, 1.0]])
    # Symbol 0 stands for x1 and symbol 1 for x2: their columns of W_ih are W_xh x1 and W_xh x2.
    engine = one_layer(w_xh @ np.stack([x1, x2], axis=1), w_hh, w_hy)
    _, state = engine.step(np.array([0]), engine.zero_state(1))
    h1 = [1, 1, 0.9999999958776927, 0.9999999999897818, 0.9999999999999747]
    np.testing.assert_allclose(state.hidden[0, 0], h1, rtol=0, atol=1e-15)  # one unit in the last place
    y2, state = engine.step(np.array([1]), state)
    h2 = [0.9999999999897818, 0.9999999999986171, 0.9999983369439309, 0.9999999999986171, 0.9999983369439309]
    np.testing.assert_allclose(state.hidden[0, 0], h2, rtol=0, atol=1e-15)
    np.testing.assert_allclose(y2[0], [2.999996673877644, 2.9999983369411654], rtol=0, atol=1e-14)


def test_after_h_the_courses_hello_network_predicts_o_and_pays_for_e():
    # Hidden size 3 as in the course; saturated units make the logits at "h" the output's row sums: 1, 2.2,
    # -3, 4.1.
    wanted = np.array([1.0, 2.2, -3.0, 4.1])
    hidden = np.tanh(np.array([0.3, -0.1, 0.9]))
    weight_ih = np.zeros((3, 4))
    weight_ih[:, 0] = [0.3, -0.1, 0.9]
    weight_out = np.outer(wanted, hidden / (hidden @ hidden))
    engine = one_layer(weight_ih, np.zeros((3, 3)), weight_out)
    h, e, o = 0, 1, 3
    logits, _ = engine.step(np.array([h]), engine.zero_state(1))
    np.testing.assert_allclose(logits[0], wanted, rtol=1e-14)
    assert logits[0].argmax() == o
    nats, _ = engine.score(np.array([[h]]), np.array([[e]]), engine.zero_state(1))
    loss = math.log(math.exp(1) + math.exp(2.2) + math.exp(-3) + math.exp(4.1)) - 2.2
    assert nats[0, 0] == pytest.approx(loss, rel=1e-14)


def test_huge_logits_neither_overflow_nor_lose_the_score():
    engine = one_layer(np.full((1, 2), 50.0), np.zeros((1, 1)), np.array([[1000.0], [0.0]]))
    nats, _ = engine.score(np.array([[0, 0]]), np.array([[0, 1]]), engine.zero_state(2))
    np.testing.assert_array_equal(nats, [[0.0, 1000.0]])


def test_the_opened_engine_agrees_with_numpy_in_double_precision(settings, weights_of):
    weights = weights_of(settings)
    engine = open_engine(settings, weights, num_threads=1)
    exact = NumpyEngine(settings, weights, dtype=np.float64)
    ids = np.random.default_rng(5).integers(0, V, (6, B))
    state, exact_state = engine.zero_state(B), exact.zero_state(B)
    for row in ids:
        logits, state = engine.step(row, state)
        want, exact_state = exact.step(row, exact_state)
        assert logits.dtype == np.float32
        # float32 through at most 18 cells whose values stay below 10: 1e-5 is some 80 roundings.
        np.testing.assert_allclose(logits, want, rtol=0, atol=1e-5)
    np.testing.assert_allclose(state.hidden, exact_state.hidden, rtol=0, atol=1e-5)
    np.testing.assert_allclose(state.cell, exact_state.cell, rtol=0, atol=1e-5)
    nats, state = engine.score(ids[:-1], ids[1:], engine.zero_state(B))
    want, exact_state = exact.score(ids[:-1], ids[1:], exact.zero_state(B))
    assert nats.dtype == np.float64
    np.testing.assert_allclose(nats, want, rtol=0, atol=1e-5)
    np.testing.assert_allclose(state.hidden, exact_state.hidden, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingSettings(),
        SamplingSettings(temperature=0),
        SamplingSettings(temperature=0.6, top_k=3),
        SamplingSettings(top_p=0.8),
        SamplingSettings(min_p=0.2),
        SamplingSettings(temperature=1.4, top_k=5, top_p=0.9, min_p=0.05),
    ],
    ids=str,
)
def test_the_opened_engine_draws_what_numpy_draws(sampling, weights_of):
    settings = ModelSettings(vocab_size=11, hidden_size=6, cell="gru", num_layers=2)
    weights = weights_of(settings)
    uniforms = np.random.default_rng(6).random((200, 3))
    start = np.array([0, 1, 2])
    engine = open_engine(settings, weights, num_threads=1)
    got = engine.generate(start, engine.zero_state(3), uniforms=uniforms, sampling=sampling)
    numpy = NumpyEngine(settings, weights)
    want = numpy.generate(start, numpy.zero_state(3), uniforms=uniforms, sampling=sampling)
    np.testing.assert_array_equal(got.ids, want.ids)
    np.testing.assert_allclose(got.state.hidden, want.state.hidden, rtol=0, atol=1e-4)  # 200 steps in float32


def test_without_native_kernels_numpy_does_the_work(monkeypatch, weights_of):
    monkeypatch.setattr("charrnn.models.native.build.library", lambda: None)
    settings = ModelSettings(vocab_size=V, hidden_size=4)
    assert isinstance(open_engine(settings, weights_of(settings), num_threads=1), NumpyEngine)


@pytest.mark.parametrize("num_threads", [0, 1025, 1.0])
def test_a_number_of_threads_out_of_range_is_refused(num_threads, weights_of):
    settings = ModelSettings(vocab_size=V, hidden_size=4)
    with pytest.raises(SettingsError, match="from 1 to 1,024"):
        open_engine(settings, weights_of(settings), num_threads=num_threads)
