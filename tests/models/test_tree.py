"""The decisions by which a symbol is found."""

import doctest

import numpy as np
import pytest

from charrnn.models import tree as module
from charrnn.models.tree import Tree, weighted_cuts

SIZES = (1, 2, 3, 7, 65, 300)


def tree_of(num_symbols, *, seed=0):
    random = np.random.default_rng(seed)
    return Tree(weighted_cuts(random.integers(0, 1000, num_symbols) ** 2))


def test_the_example_of_the_docstring_is_true():
    assert doctest.testmod(module) == (0, 1)


@pytest.mark.parametrize("num_symbols", SIZES)
def test_each_symbol_is_alone_at_the_end_of_its_path(num_symbols):
    tree = tree_of(num_symbols)
    assert len(tree.path) == len(tree.bits) == num_symbols
    for symbol in range(num_symbols):
        low, high = 0, num_symbols
        for node, bit in zip(tree.path[symbol], tree.bits[symbol], strict=True):
            if node < 0:
                break
            assert (tree.low[node], tree.high[node]) == (low, high)
            low, high = (tree.cuts[node], high) if bit else (low, tree.cuts[node])
        assert (low, high) == (symbol, symbol + 1)


def test_each_node_divides_its_symbols_near_half_their_weight():
    seen = np.random.default_rng(1).integers(1, 1000, 65)
    tree = Tree(weighted_cuts(seen))
    for low, cut, high in zip(tree.low, tree.cuts, tree.high, strict=True):
        apart = [abs(int(seen[low:at].sum()) - int(seen[at:high].sum())) for at in range(low + 1, high)]
        # What was never seen weighs a little too: as much as a thousandth of the text, shared by all.
        assert apart[cut - low - 1] <= min(apart) + seen.sum() / 1000


@pytest.mark.parametrize("num_symbols", SIZES)
def test_log_odds_and_log_probabilities_undo_each_other(num_symbols):
    tree = tree_of(num_symbols)
    p = np.random.default_rng(2).dirichlet(np.ones(num_symbols), 4)
    odds = tree.log_odds(p)
    assert odds.shape == (4, num_symbols - 1)
    # Few of the symbols are so improbable that a node's odds are cut off at 14.
    assert (np.abs(odds) < 14).sum() >= 0.99 * odds.size
    np.testing.assert_allclose(np.exp(tree.log_probabilities(odds)), p, atol=1e-6)
    again = tree.log_odds(np.exp(tree.log_probabilities(np.clip(odds, -3, 3))))
    np.testing.assert_allclose(again, np.clip(odds, -3, 3), atol=1e-6)  # sums of up to 300 parts of 1


@pytest.mark.parametrize("num_symbols", SIZES)
def test_probabilities_from_any_log_odds_sum_to_one(num_symbols):
    odds = np.random.default_rng(3).normal(0, 20, (5, num_symbols - 1))
    p = np.exp(tree_of(num_symbols).log_probabilities(odds))
    assert p.shape == (5, num_symbols)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)


def test_log_odds_of_what_cannot_be_are_finite():
    odds = tree_of(7).log_odds(np.eye(7))
    assert np.isfinite(odds).all()
    assert np.abs(odds).max() == 14


@pytest.mark.parametrize("cuts", [[0], [2], [-1], [1, 1], [3, 1], [2, 2], [1 << 62, 0]], ids=str)
def test_cuts_that_make_no_tree_are_refused(cuts):
    with pytest.raises(ValueError, match=r"node \d+ divides"):
        Tree(np.array(cuts))


def test_a_tree_that_is_too_deep_is_refused():
    with pytest.raises(ValueError, match="divides"):
        Tree(np.arange(1, 1000))


@pytest.mark.parametrize(
    "seen",
    [2.0 ** np.arange(60), 2.0 ** -np.arange(60) * 2**60, 1.5 ** np.arange(100), np.arange(65_536) == 40_000],
    ids=["doubling", "halving", "growing", "one alone"],
)
def test_the_tree_of_no_text_is_too_deep(seen):
    assert Tree(weighted_cuts(seen.astype(np.int64))).path.shape[1] < 100
