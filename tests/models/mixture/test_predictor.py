"""Mixtures of predictors: what they promise beside what all predictors promise."""

import numpy as np
import pytest
from small_counts import fixed_counts, growing_counts, ids_for
from small_network import V, numpy_network

from charrnn.models.mixture.predictor import Mixture, MixtureState, MixtureWeights
from charrnn.models.predictor import Predictor
from charrnn.models.tree import Tree, weighted_cuts

IDS = ids_for(V, 150, seed=4)


def mixture(members, *, shares=None, weights=None, learns=False, num_symbols=V):
    shares = [1 / len(members)] * len(members) if shares is None else shares
    weights = MixtureWeights.from_shares(shares, num_symbols) if weights is None else weights
    return Mixture(members, Tree(weighted_cuts(np.ones(num_symbols))), weights, learns=learns)


def nats_of(predictor, ids=IDS):
    nats, _ = predictor.score(ids[:-1, None], ids[1:, None], predictor.zero_state(1))
    return nats[:, 0]


def network(seed=0):
    return numpy_network(dtype=np.float64, seed=seed)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.0, 1.0)])
def test_a_model_mixed_with_itself_is_that_model(shares):
    for member in (network(), fixed_counts(V)):
        # Log odds of sums, and back: some hundred roundings of numbers up to 14.
        np.testing.assert_allclose(nats_of(mixture([member, member], shares=shares)), nats_of(member), atol=1e-9)


def test_a_share_of_one_leaves_the_others_out():
    one, other = network(), fixed_counts(V)
    np.testing.assert_allclose(nats_of(mixture([one, other], shares=[1, 0])), nats_of(one), atol=1e-9)
    np.testing.assert_allclose(nats_of(mixture([one, other], shares=[0, 1])), nats_of(other), atol=1e-9)


def test_equal_shares_give_the_mean_of_the_log_odds():
    members = [network(0), network(1)]
    state = [member.zero_state(1) for member in members]
    p = [np.exp(m.step(IDS[:1], s)[0].astype(np.float64)) for m, s in zip(members, state, strict=True)]
    tree = Tree(weighted_cuts(np.ones(V)))
    odds = [tree.log_odds(each / each.sum()) for each in p]
    mixed = mixture(members)
    found, _ = mixed.step(IDS[:1], mixed.zero_state(1))
    np.testing.assert_allclose(found, tree.log_probabilities((odds[0] + odds[1]) / 2), atol=1e-12)


def test_weights_from_shares_trust_each_member_by_its_share():
    weights = MixtureWeights.from_shares([0.7, 0.2, 0.1], 5)
    assert weights.shared.tolist() == [0.7, 0.2, 0.1, 0.0]
    assert weights.by_node.shape == (4, 4)
    assert not weights.by_node.any()
    assert weights.by_sureness.shape[0] == 3
    assert not weights.by_sureness.any()


def test_learning_moves_weights_of_its_own_and_predicts_better():
    weights = MixtureWeights.from_shares([0.5, 0.5], V)
    before = weights.copy()
    members = [network(), fixed_counts(V)]
    ids = np.tile(ids_for(V, 150), 8)  # the text that was counted
    learning = mixture(members, weights=weights, learns=True)
    nats, state = learning.score(ids[:-1, None], ids[1:, None], learning.zero_state(1))
    assert all(np.array_equal(one, other) for one, other in zip(weights, before, strict=True))
    assert nats.mean() < nats_of(mixture(members), ids).mean()
    # The counts have learned passages that come again in this text, the network has learned nothing.
    assert state.weights.shared[1] > 0.5 > state.weights.shared[0]
    assert state.num_learned == len(ids) - 2  # the first has no prediction; the last waits for what follows


def test_an_old_state_gives_the_old_numbers_however_far_another_went():
    learning = mixture([network(), growing_counts(V)], learns=True)
    _, old = learning.score(IDS[:40, None], IDS[1:41, None], learning.zero_state(1))
    first, after = learning.score(IDS[40:-1, None], IDS[41:, None], old)
    learning.step(IDS[:1], after)
    again, _ = learning.score(IDS[40:-1, None], IDS[41:, None], old)
    np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("at", [1, 30, 100])
def test_a_mixture_that_learns_predicts_each_symbol_before_it_learns_from_it(at):
    learning = mixture([network(), growing_counts(V)], learns=True)
    shuffled = IDS.copy()
    shuffled[at + 1 :] = np.random.default_rng(1).permutation(shuffled[at + 1 :])
    nats, other = nats_of(learning), nats_of(learning, shuffled)
    np.testing.assert_array_equal(other[:at], nats[:at])
    assert (other[at:] != nats[at:]).any()


def test_a_mixture_may_be_a_member_of_another():
    inner = mixture([network(0), fixed_counts(V)])
    outer = mixture([inner, network(1)])
    state = outer.zero_state(2)
    assert isinstance(state.members[0], MixtureState)
    logits, state = outer.step(IDS[:2], state)
    logits, _ = outer.step(IDS[2:4], state.of_streams([1, 0]))
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(nats_of(mixture([inner, inner])), nats_of(inner), atol=1e-9)


def test_streams_taken_out_of_a_state_keep_what_was_said_of_them():
    learning = mixture([network(), growing_counts(V)], learns=True)
    _, state = learning.step(IDS[:1], learning.zero_state(1))
    found, _ = learning.step(IDS[1:2], state)
    again, _ = learning.step(IDS[1:2], state.of_streams([0]))
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("num_symbols", [1, 2, 300])
def test_probabilities_sum_to_one_for_few_and_many_symbols(num_symbols):
    mixed = mixture([fixed_counts(num_symbols), fixed_counts(num_symbols, seed=3)], num_symbols=num_symbols)
    logits, state = mixed.step(np.array([0]), mixed.zero_state(1))
    logits, _ = mixed.step(np.array([num_symbols - 1]), state)
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, rtol=1e-12)


def test_members_of_other_symbols_and_several_streams_are_refused():
    with pytest.raises(ValueError, match="the same symbols"):
        mixture([fixed_counts(V), fixed_counts(V + 1)])
    with pytest.raises(ValueError, match="the same symbols"):
        mixture([fixed_counts(3), fixed_counts(3)])
    for learns in (True, False):
        members = [fixed_counts(V), growing_counts(V)]
        with pytest.raises(ValueError, match="one stream"):
            mixture(members, learns=learns).zero_state(2)


def uneven_weights(num_members):
    rng = np.random.default_rng(3)
    shapes = MixtureWeights.from_shares([1 / num_members] * num_members, V)
    return MixtureWeights(*(part + rng.normal(0, 0.2, part.shape) for part in shapes))


@pytest.mark.parametrize(("learns", "num_streams"), [(False, 1), (False, 3), (True, 1)])
def test_many_steps_scored_at_once_give_the_numbers_of_single_steps(learns, num_streams):
    ids = ids_for(V, 301 * num_streams, seed=5).reshape(301, num_streams)
    members = [network(), growing_counts(V) if learns else fixed_counts(V)]
    mixed = mixture(members, weights=uneven_weights(2), learns=learns)
    nats, after = mixed.score(ids[:-1], ids[1:], mixed.zero_state(num_streams))
    expected, state = Predictor.score(mixed, ids[:-1], ids[1:], mixed.zero_state(num_streams))
    # The same sums in another order.
    np.testing.assert_allclose(nats, expected, atol=1e-9)
    assert after.num_learned == state.num_learned == (299 if learns else 0)
    for one, other in zip(after.weights, state.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    goes_on = [mixed.step(ids[-1], each)[0] for each in (after, state)]
    np.testing.assert_allclose(*goes_on, atol=1e-9)


def test_targets_that_are_not_read_next_are_not_learned_from():
    ids = ids_for(V, 40, seed=6)[:, None]
    targets = np.roll(ids, 7)
    mixed = mixture([network(), growing_counts(V)], learns=True)
    nats, after = mixed.score(ids, targets, mixed.zero_state(1))
    expected, state = Predictor.score(mixed, ids, targets, mixed.zero_state(1))
    np.testing.assert_allclose(nats, expected, atol=1e-9)
    np.testing.assert_allclose(after.weights.shared, state.weights.shared, atol=1e-12)
    read, _ = Predictor.score(mixed, ids, ids, mixed.zero_state(1))
    assert not np.allclose(read, expected)
