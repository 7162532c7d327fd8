"""Counts as predictors: what they promise beside what all predictors promise, and how well they predict."""

import numpy as np
import pytest
from small_counts import classes_for, fixed_counts, growing_counts, ids_for, learned

from charrnn.models.counts import predictor as module
from charrnn.models.counts import reference
from charrnn.models.counts.learning import learn
from charrnn.models.counts.predictor import Counts, GrowingCounts


def nats_of(predictor, ids):
    nats, _ = predictor.score(ids[:-1, None], ids[1:, None], predictor.zero_state(1))
    return nats[:, 0]


@pytest.mark.parametrize("num_symbols", [1, 2, 65, 300])
def test_probabilities_sum_to_one_in_seen_and_unseen_contexts(num_symbols):
    predictor = fixed_counts(num_symbols)
    contexts = [ids_for(num_symbols, 300)[:50], np.random.default_rng(9).integers(0, num_symbols, 50)]
    ids = np.array(contexts).T
    state = predictor.zero_state(2)
    for row in ids:
        logits, state = predictor.step(row, state)
        assert logits.shape == (2, num_symbols)
        np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, rtol=1e-12)  # sums in float64


def test_streams_side_by_side_equal_each_alone_to_the_last_bit():
    predictor = fixed_counts(7)
    ids = ids_for(7, 180, seed=4).reshape(3, 60).T
    together, _ = predictor.score(ids[:-1], ids[1:], predictor.zero_state(3))
    for b in range(3):
        np.testing.assert_array_equal(nats_of(predictor, ids[:, b]), together[:, b])


@pytest.mark.parametrize("make", [fixed_counts, growing_counts])
def test_a_score_is_what_steps_give_to_a_rounding(make):
    predictor, ids = make(7), ids_for(7, 80, seed=4)
    nats = nats_of(predictor, ids)
    state = predictor.zero_state(1)
    for t, symbol in enumerate(ids[:-1]):
        logits, state = predictor.step(np.array([symbol]), state)
        # Sums of up to six float64 in another order.
        assert nats[t] == pytest.approx(-logits[0, ids[t + 1]], rel=1e-12)


@pytest.mark.parametrize("at", [1, 30, 79])
def test_counts_that_grow_predict_each_symbol_before_they_learn_from_it(at):
    predictor, ids = growing_counts(7), ids_for(7, 120, seed=4)
    shuffled = ids.copy()
    shuffled[at + 1 :] = np.random.default_rng(1).permutation(shuffled[at + 1 :])
    nats, other = nats_of(predictor, ids), nats_of(predictor, shuffled)
    np.testing.assert_array_equal(other[:at], nats[:at])
    assert (other[at:] != nats[at:]).any()


def test_an_old_state_gives_the_old_numbers_however_far_another_went():
    predictor, ids = growing_counts(7), ids_for(7, 90, seed=4)
    _, old = predictor.score(ids[:40, None], ids[1:41, None], predictor.zero_state(1))
    first, after = predictor.score(ids[40:-1, None], ids[41:, None], old)
    predictor.score(ids[::-1][:50, None], ids[::-1][1:51, None], after)
    again, _ = predictor.score(ids[40:-1, None], ids[41:, None], old)
    np.testing.assert_array_equal(again, first)
    logits, _ = predictor.step(ids[40:41], old)
    assert -logits[0, ids[41]] == pytest.approx(first[0, 0], rel=1e-12)


def test_counts_that_grow_leave_the_model_as_it_was():
    found = learned(7)
    before = found.tables.copy()
    predictor = GrowingCounts(found.tables)
    nats_of(predictor, ids_for(7, 90, seed=4))
    assert found.tables.num_text == before.num_text
    np.testing.assert_array_equal(found.tables.lines, before.lines)
    np.testing.assert_array_equal(found.tables.places, before.places)
    for name, weight in found.tables.weights.items():
        np.testing.assert_array_equal(weight, before.weights[name])


@pytest.mark.parametrize("num_streams", [0, 2])
def test_counts_that_grow_read_one_stream_alone(num_streams):
    predictor = growing_counts(3)
    with pytest.raises(ValueError, match="one stream"):
        predictor.zero_state(num_streams)
    with pytest.raises(ValueError, match="one stream"):
        predictor.zero_state(1).of_streams([0, 0])
    assert predictor.zero_state(1).of_streams([0]).readers.shape == (1,)


def test_what_counts_that_grow_have_read_once_they_know_better():
    ids = np.random.default_rng(5).integers(0, 7, 200)
    nats = nats_of(growing_counts(7), np.tile(ids, 3))
    assert nats[-190:].mean() < 0.2 < 1.5 < nats[:190].mean()


def test_without_a_kernel_the_equations_predict_the_same(monkeypatch):
    ids = ids_for(5, 60, seed=4)
    fast = [nats_of(make(5, length=100), ids) for make in (fixed_counts, growing_counts)]
    monkeypatch.setattr(module, "library", lambda: None)
    assert module.fastest_read() is reference.read
    slow = [nats_of(make(5, length=100), ids) for make in (fixed_counts, growing_counts)]
    np.testing.assert_array_equal(fast, slow)


# ---- how well ----


def test_of_a_text_that_repeats_itself_little_is_left_to_say():
    ids = np.tile(np.arange(11), 300)
    found = learn(ids[:3000], np.ones(11, np.uint8), num_lines=1 << 12)
    assert nats_of(Counts(found.tables.with_weights(found.fixed_weights)), ids[:300])[20:].mean() < 0.01
    assert nats_of(GrowingCounts(found.tables), ids[:300])[20:].mean() < 0.01


def test_of_a_random_text_nothing_is_learned_but_how_common_symbols_are():
    ids = np.random.default_rng(0).integers(0, 8, 12_000)
    found = learn(ids[:10_000], np.ones(8, np.uint8), num_lines=1 << 14)
    for predictor in (Counts(found.tables.with_weights(found.fixed_weights)), GrowingCounts(found.tables)):
        nats = nats_of(predictor, ids[10_000:]).mean()
        assert np.log(8) - 0.02 < nats < np.log(8) + 0.1


def test_the_entropy_of_a_chain_is_nearly_reached():
    """A source whose next symbol depends on the last two, by probabilities of its own: none predicts it better."""
    random = np.random.default_rng(1)
    p = random.dirichlet(np.full(5, 0.3), (5, 5))
    ids, exact = [0, 0], []
    for uniform in random.random(30_000):
        row = p[ids[-2], ids[-1]]
        ids.append(min(int(np.searchsorted(np.cumsum(row), uniform)), 4))
        exact.append(-np.log(row[ids[-1]]))
    ids = np.array(ids)
    found = learn(ids[:-3000], np.ones(5, np.uint8), num_lines=1 << 15)
    nats = nats_of(Counts(found.tables.with_weights(found.fixed_weights)), ids[-3001:])
    # What 27,000 symbols cannot teach of 100 numbers in every context, shorter and longer.
    assert nats.mean() < np.mean(exact[-3000:]) + 0.06


def test_a_table_that_is_too_small_predicts_worse_but_predicts():
    ids = np.tile(np.random.default_rng(2).integers(0, 9, 2000), 2)
    small, large = (learn(ids, classes_for(9), num_lines=lines) for lines in (4, 1 << 13))
    assert large.nats < small.nats
    assert np.isfinite(small.nats)
    assert small.num_predictions == large.num_predictions


@pytest.mark.parametrize("length", [1, 2, 3, 5, 20, 67])
@pytest.mark.parametrize("num_symbols", [1, 2, 30])
def test_a_text_of_a_few_characters_is_learned_too(num_symbols, length):
    found = learn(ids_for(num_symbols, length), classes_for(num_symbols), num_lines=2)
    assert found.tables.num_text == length
    assert found.num_predictions <= length - 1
    nats = nats_of(Counts(found.tables.with_weights(found.fixed_weights)), ids_for(num_symbols, 20, seed=3))
    assert np.isfinite(nats).all()
    assert (nats == 0).all() == (num_symbols == 1)


def test_learning_tells_of_every_symbol_once():
    told = []
    ids = ids_for(5, 500)
    found = learn(ids, classes_for(5), num_lines=256, progress=told.append)
    assert sum(told) == 500
    assert 480 < found.num_predictions < 500
    assert found.nats > 0
