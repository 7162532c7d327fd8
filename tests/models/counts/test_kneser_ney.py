"""Modified Kneser-Ney, beside the same formulas written out for one symbol at a time."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from charrnn.models.counts import kneser_ney
from charrnn.models.counts.kneser_ney import KneserNey, discounts_of

RANDOM = np.random.default_rng(4)
# Some symbols often and some never, so that contexts of every kind are seen and not seen.
SKEWED = RANDOM.choice(7, size=600, p=[0.4, 0.3, 0.15, 0.1, 0.03, 0.02, 0.0])
TEXTS = {
    "skewed": (SKEWED, 7),
    "few in a large alphabet": (RANDOM.choice(5, size=400), 5000),
    "one symbol": (np.zeros(30, np.int64), 3),
    "short": (np.array([2, 0, 1, 2]), 3),
    "shorter than the order": (np.array([1, 0]), 2),
    "empty": (np.zeros(0, np.int64), 3),
}
# Sums of a few terms between 0 and 1 in float64.
TOLERANCE = 1e-12


class Plain:
    """The model of a text, from dictionaries."""

    def __init__(self, ids, order, num_symbols):
        ids = list(map(int, ids))
        self.num_symbols = num_symbols
        self.order = min(order, len(ids))
        self.counts = {}
        self.discounts = {}
        for k in range(1, self.order + 1):
            grams = [(tuple(ids[i : i + k]), ids[i - 1] if i else None) for i in range(len(ids) - k + 1)]
            if k == self.order:
                self.counts[k] = Counter(gram for gram, _ in grams)
            else:
                before = defaultdict(set)
                for gram, symbol in grams:
                    before[gram].add(symbol)
                self.counts[k] = {gram: len(symbols) for gram, symbols in before.items()}
            self.discounts[k] = self._estimated(Counter(self.counts[k].values()))

    def _estimated(self, n):
        if not all(n[i] for i in (1, 2, 3, 4)):
            return 0.5, 1.0, 1.5
        y = n[1] / (n[1] + 2 * n[2])
        found = 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]
        is_usable = all(0 < d <= i for i, d in enumerate(found, 1))
        return found if is_usable else (0.5, 1.0, 1.5)

    def p(self, symbol, context, k=None):
        context = tuple(map(int, context))
        k = min(self.order, len(context) + 1) if k is None else k
        if k == 0:
            return 1 / self.num_symbols
        history = context[len(context) - k + 1 :]
        following = {gram[-1]: count for gram, count in self.counts[k].items() if gram[:-1] == history}
        lower = self.p(symbol, context, k - 1)
        total = sum(following.values())
        if not total:
            return lower
        count = following.get(symbol, 0)
        left = sum(self.discounts[k][min(c, 3) - 1] for c in following.values())
        own = max(count - self.discounts[k][min(count, 3) - 1], 0) if count else 0
        return (own + left * lower) / total


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("text", TEXTS)
def test_probabilities_are_those_of_the_formulas(text, order):
    ids, num_symbols = TEXTS[text]
    model, plain = KneserNey.fit(ids, order, num_symbols), Plain(ids, order, num_symbols)
    shown = range(min(num_symbols, 8))
    for context in ([], [0], [1, 0], [2, 1], [0, 0, 0], [1, 2, 0, 1, 0], [0, 1, 2, 2, 1, 0, 1, 0, 1]):
        if max(context, default=0) < num_symbols:
            found = model.probabilities(context)
            assert [found[s] for s in shown] == pytest.approx([plain.p(s, context) for s in shown], rel=TOLERANCE)


@pytest.mark.parametrize("order", [1, 2, 4, 8])
@pytest.mark.parametrize("text", TEXTS)
def test_probabilities_sum_to_one_in_every_context(text, order):
    ids, num_symbols = TEXTS[text]
    model = KneserNey.fit(ids, order, num_symbols)
    seen = [ids[i : i + 9] for i in range(0, len(ids), 37)]
    unseen = [RANDOM.integers(0, num_symbols, length) for length in (1, 2, 3, 7, 12)]
    for context in ([], *seen, *unseen):
        found = model.probabilities(context)
        assert found.sum() == pytest.approx(1, rel=TOLERANCE)
        assert (found > 0).all()


@pytest.mark.parametrize("order", [1, 3, 5])
def test_a_text_costs_what_its_symbols_cost_one_by_one(order):
    model = KneserNey.fit(SKEWED, order, 7)
    text = np.concatenate([SKEWED[-40:], RANDOM.integers(0, 7, 100)])
    each = [-np.log(model.probabilities(text[:i])[text[i]]) for i in range(len(text))]
    assert model.nats(text) == pytest.approx(each, rel=TOLERANCE)
    assert model.nats(text[9:], context=text[:9]) == pytest.approx(each[9:], rel=TOLERANCE)


def test_a_long_text_costs_the_same_in_parts(monkeypatch):
    model = KneserNey.fit(SKEWED, 4, 7)
    whole = model.nats(SKEWED, context=SKEWED[:5])
    monkeypatch.setattr(kneser_ney, "_SCORED_AT_ONCE", 17)
    assert (model.nats(SKEWED, context=SKEWED[:5]) == whole).all()


def test_grams_are_numbered_alike_by_a_table_and_by_sorting(monkeypatch):
    by_table = KneserNey.fit(SKEWED, 5, 7).nats(SKEWED)
    monkeypatch.setattr(kneser_ney, "_TABLE_PER_SYMBOL", 0)
    assert (KneserNey.fit(SKEWED, 5, 7).nats(SKEWED) == by_table).all()


def test_symbols_may_have_any_integer_type():
    plain = KneserNey.fit(SKEWED, 3, 7).nats(SKEWED)
    for dtype in (np.uint8, np.uint16, np.uint32):
        assert (KneserNey.fit(SKEWED.astype(dtype), 3, 7).nats(SKEWED.astype(dtype)) == plain).all()


def test_discounts_follow_the_formula_of_chen_and_goodman():
    counts = np.repeat([1, 2, 3, 4, 9], [10, 5, 3, 2, 1])
    y = 10 / (10 + 2 * 5)
    expected = (1 - 2 * y * 5 / 10, 2 - 3 * y * 3 / 5, 3 - 4 * y * 2 / 3)
    assert discounts_of(counts) == pytest.approx(expected, rel=TOLERANCE)


# Of the last two, D3+ would be below 0, and D2 would be 0.
@pytest.mark.parametrize(
    "counts",
    [[], [1, 1], [1, 2, 3], [2, 3, 4], [1, 1, 2, 3, 4, 4, 4, 4, 4, 4], [*[1] * 6, *[2] * 3, *[3] * 4, 4]],
)
def test_discounts_that_cannot_be_estimated_have_usual_values(counts):
    assert discounts_of(np.array(counts, np.int64)) == (0.5, 1.0, 1.5)


def test_an_order_or_a_symbol_out_of_range_is_refused():
    for order in (0, 9):
        with pytest.raises(ValueError, match="from 1 to 8"):
            KneserNey.fit(SKEWED, order, 7)
    with pytest.raises(ValueError, match="from 0 to 5"):
        KneserNey.fit(SKEWED + 1, 3, 6)


def test_longer_contexts_predict_a_regular_text_better():
    text = np.tile([0, 1, 0, 2, 0, 3], 50)
    costs = [KneserNey.fit(text, order, 5).nats(text).mean() for order in (1, 2, 3, 4)]
    assert costs == sorted(costs, reverse=True)
    assert costs[2] < 0.05 < costs[1]
