"""Interpolated modified Kneser-Ney: the n-gram model that others are measured by, exact and in numpy alone.

    p_k(w | h) = max(c_k(h w) - D_k(c_k(h w)), 0) / c_k(h)  +  gamma_k(h) p_{k-1}(w | h without its first symbol)
    p_0(w)     = 1 / V

    c_k        of the highest order: how often the symbols h w come together
               of a lower order: how many different symbols come before them; the start of the text counts as one
    c_k(h)     the sum of c_k(h w) over all w; where it is 0, p_k is p_{k-1}
    D_k(c)     D1, D2 or D3+ for a count of 1, 2 or more, from n_i, the number of k-grams that have count i:
               Y = n_1 / (n_1 + 2 n_2),  D_i = i - (i + 1) Y n_{i+1} / n_i
    gamma_k(h) what the discounts left, over c_k(h), so that p_k sums to 1

Legend: V symbols, N symbols of text, U different grams of an order.

Source: Kneser and Ney 1995; Chen and Goodman 1998, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]

MAX_ORDER = 8
_FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where a text is too short to estimate them. Source: KenLM (Heafield et al. 2013), --discount_fallback."""
_SCORED_AT_ONCE = 1 << 20  # symbols
_TABLE_PER_SYMBOL = 2  # keys, at most, of a table by which the grams of a text are counted


@dataclass(frozen=True)
class _Order:
    """All grams of k symbols.

    A gram is numbered by its place in ``keys``; its key is the number of its first k - 1 symbols, a gram of the order
    below, times V, plus its last symbol.

    Attributes:
        keys: (U,) int64, ascending.
        shares: (U,) the discounted count over that of the context: what a gram has by itself.
        gammas: (U of the order below,) what a context leaves to the order below; 1 for one that nothing follows.
    """

    keys: NDArray[np.int64]
    shares: NDArray[np.float64]
    gammas: NDArray[np.float64]


class KneserNey:
    """An n-gram model of a text.

    Args:
        orders: its grams of 1, 2, ... symbols.
        num_symbols: V.
    """

    def __init__(self, orders: Sequence[_Order], num_symbols: int) -> None:
        self._orders = tuple(orders)
        self.num_symbols = num_symbols

    @classmethod
    def fit(cls, ids: Ids, order: int, num_symbols: int) -> "KneserNey":
        """The model of a text.

        It takes 24 bytes per different gram of each order, and while it is made some 60 more per symbol of text.

        Args:
            ids: (N,) symbols of the text, each below V.
            order: n, symbols of a gram, 1 to 8: the last one is predicted from the n - 1 before it.
            num_symbols: V.

        Raises:
            ValueError: the order is out of range, or a symbol is.

        >>> model = KneserNey.fit(np.array([0, 1, 0, 1, 0, 2]), order=2, num_symbols=4)
        >>> bool(abs(model.probabilities([0]).sum() - 1) < 1e-12)
        True
        """
        if not 1 <= order <= MAX_ORDER:
            raise ValueError(f"order is {order}; it must be from 1 to {MAX_ORDER}")
        if len(ids) and not 0 <= ids.min() <= ids.max() < num_symbols:
            raise ValueError(f"the symbols must be from 0 to {num_symbols - 1}")
        num_orders = min(order, len(ids))
        orders = []
        # The numbers of the grams of the order at hand, by the place of their last symbol. A text has one gram of no
        # symbols at each place: its number is 0.
        grams: NDArray[np.int64] = np.zeros(len(ids) + 1, np.int64)
        num_contexts = 1
        keys, grams, counts = _numbered(grams, ids, num_contexts, num_symbols)
        for k in range(1, num_orders + 1):
            if k < num_orders:
                longer_keys, longer_grams, longer_counts = _numbered(grams, ids[k:], len(keys), num_symbols)
                counts = _num_before(grams, longer_grams, len(longer_keys), len(keys))
            orders.append(_discounted(keys, counts, num_contexts, num_symbols))
            if k < num_orders:
                num_contexts = len(keys)
                keys, grams, counts = longer_keys, longer_grams, longer_counts
        return cls(orders, num_symbols)

    def nats(self, ids: Ids, *, context: Ids | None = None) -> NDArray[np.float64]:
        """-ln p of each of ``ids`` (T,), given those before it.

        Args:
            ids: (T,) symbols.
            context: symbols before the first of them; none: the first is predicted from nothing.
        """
        num_before = max(len(self._orders) - 1, 0)
        before = np.zeros(0, np.int64) if context is None else np.asarray(context, np.int64)[-num_before:]
        if not num_before:
            before = before[:0]
        text = np.concatenate([before, np.asarray(ids, np.int64)])
        found = [np.zeros(0)]
        for begin in range(len(before), len(text), _SCORED_AT_ONCE):
            start = max(0, begin - num_before)
            found.append(-np.log(self._of_text(text[start : begin + _SCORED_AT_ONCE])[begin - start :]))
        return np.concatenate(found)

    def probabilities(self, context: Ids | Sequence[int]) -> NDArray[np.float64]:
        """The probability of each symbol (V,) after those of ``context``, of which the last n - 1 count."""
        p = np.full(self.num_symbols, 1 / self.num_symbols)
        for k, order in enumerate(self._orders):
            gram = self._number(context[len(context) - k :]) if k <= len(context) else -1
            if gram >= 0:
                begin, end = np.searchsorted(order.keys, [gram * self.num_symbols, (gram + 1) * self.num_symbols])
                p *= order.gammas[gram]
                p[order.keys[begin:end] - gram * self.num_symbols] += order.shares[begin:end]
        return p

    def _number(self, gram: Ids | Sequence[int]) -> int:
        """The number of a gram; -1 where the text does not have it."""
        number = 0
        for order, symbol in zip(self._orders, gram, strict=False):
            key = number * self.num_symbols + int(symbol)
            number = int(np.searchsorted(order.keys, key))
            if number == len(order.keys) or order.keys[number] != key:
                return -1
        return number

    def _of_text(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """The probability of each symbol (T,), the first from nothing."""
        p = np.full(len(ids), 1 / self.num_symbols)
        contexts = np.zeros(len(ids), np.int64)  # the gram before each symbol, or -1
        for order in self._orders:
            is_known = contexts >= 0
            keys = contexts * self.num_symbols + ids
            places = np.searchsorted(order.keys, keys)
            places[places == len(order.keys)] = 0
            is_seen = is_known & (order.keys[places] == keys)
            p = np.where(is_known, order.gammas[contexts] * p, p)
            p[is_seen] += order.shares[places[is_seen]]
            contexts = np.concatenate([[-1], np.where(is_seen, places, -1)[:-1]])
        return p


def _numbered(
    contexts: NDArray[np.int64], ids: Ids, num_contexts: int, num_symbols: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Keys, the number of the gram that ends at each of ``ids``, and how often each gram comes.

    Args:
        contexts: the number of the gram before each of ``ids``, and one more.
        ids: symbols.
        num_contexts: how many different grams come before symbols.
        num_symbols: V.
    """
    found = contexts[:-1] * num_symbols + ids
    if num_contexts * num_symbols <= _TABLE_PER_SYMBOL * len(ids):  # a table of all keys: much faster than sorting
        table = np.bincount(found, minlength=num_contexts * num_symbols)
        keys = np.flatnonzero(table)
        counts = table[keys]
        table[keys] = np.arange(len(keys))
        return keys, table[found], counts
    keys, grams, counts = np.unique(found, return_inverse=True, return_counts=True)
    return keys, grams, counts


def _num_before(
    grams: NDArray[np.int64], longer_grams: NDArray[np.int64], num_longer: int, num_grams: int
) -> NDArray[np.int64]:
    """How many different symbols come before each gram; the start of the text is one.

    Args:
        grams: the number of the gram that ends at each place, from the first one.
        longer_grams: the same of grams that are longer by one, from the second place on.
        num_longer: how many different ones there are.
        num_grams: the same of the shorter ones.
    """
    place = np.empty(num_longer, np.int64)
    place[longer_grams] = np.arange(1, len(grams))  # any place where the longer gram ends
    counts = np.bincount(grams[place], minlength=num_grams)
    counts[grams[0]] += 1
    return counts


def _discounted(keys: NDArray[np.int64], counts: NDArray[np.int64], num_contexts: int, num_symbols: int) -> _Order:
    contexts = keys // num_symbols
    discounts = np.array([0.0, *discounts_of(counts)])[np.minimum(counts, 3)]
    totals = np.bincount(contexts, weights=counts, minlength=num_contexts)
    left = np.bincount(contexts, weights=discounts, minlength=num_contexts)
    gammas = np.divide(left, totals, out=np.ones(num_contexts), where=totals > 0)
    return _Order(keys, (counts - discounts) / totals[contexts], gammas)


def discounts_of(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """D1, D2 and D3+ of grams with these counts.

    Where no gram has a count of 1, 2, 3 or 4, or a discount would not be above 0 or be above its count, the text is too
    short or too regular for the estimate; then they are 0.5, 1 and 1.5. So each context leaves something to the order
    below, and no symbol is impossible.
    """
    num_with = np.bincount(np.minimum(counts, 5), minlength=6).tolist()
    if not all(num_with[1:5]):
        return _FALLBACK
    y = num_with[1] / (num_with[1] + 2 * num_with[2])
    first, second, third = (i - (i + 1) * y * num_with[i + 1] / num_with[i] for i in (1, 2, 3))
    if not (0 < first <= 1 and 0 < second <= 2 and 0 < third <= 3):
        return _FALLBACK
    return first, second, third
