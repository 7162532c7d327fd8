"""The decisions by which a symbol is found: symbols in order, divided again and again into parts of like weight."""

import numpy as np
from numpy.typing import NDArray

_SMOOTHING = 1e-3
_MAX_DEPTH = 512
_LEAST = 1e-12
_LIMIT = 14.0


def weighted_cuts(num_seen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each node divides its symbols, so that both parts were seen about as often.

    Symbols keep their order, in which letters lie beside letters and capitals beside capitals: what is learned at a
    node of one context then holds for symbols that are alike. Nodes are numbered from the root, left before right; the
    left part of node n is node n + 1, the right one n + (cut - lo).

    Args:
        num_seen: (V,) how often each symbol was seen.

    Returns:
        (V - 1,) the first symbol of each node's right part.

    >>> weighted_cuts(np.array([5, 1, 1, 1])).tolist()
    [1, 2, 3]
    """
    weights = num_seen + _SMOOTHING * max(1.0, float(num_seen.sum())) * (1 / max(1, len(num_seen)))
    before = np.concatenate([[0.0], np.cumsum(weights)])
    cuts = np.zeros(max(0, len(num_seen) - 1), np.int64)
    parts = [(0, 0, len(num_seen))]
    while parts:
        node, lo, hi = parts.pop()
        if hi - lo < 2:
            continue
        # The cut nearest to half the weight, but not at an end.
        cut = int(np.searchsorted(before, (before[lo] + before[hi]) / 2))
        cut = min(max(cut, lo + 1), hi - 1)
        middle = (before[lo] + before[hi]) / 2
        if cut - 1 > lo and middle - before[cut - 1] <= before[cut] - middle:
            cut -= 1
        cuts[node] = cut
        parts.append((node + 1, lo, cut))
        parts.append((node + cut - lo, cut, hi))
    return cuts


class Tree:
    """The decisions of ``weighted_cuts``, for arrays of distributions.

    Args:
        cuts: (V - 1,) see ``weighted_cuts``.

    Attributes:
        cuts: as given.
        low, high: (V - 1,) the symbols of each node, from low up to high.
        path: (V, D) the nodes on the way to each symbol, -1 after the last.
        bits: (V, D) whether the way goes right there.

    Raises:
        ValueError: the cuts make no tree.
    """

    def __init__(self, cuts: NDArray[np.int64]) -> None:
        self.cuts = cuts
        num_symbols = len(cuts) + 1
        self.low = np.zeros(len(cuts), np.int64)
        self.high = np.zeros(len(cuts), np.int64)
        ways: list[list[tuple[int, bool]]] = [[] for _ in range(num_symbols)]
        parts: list[tuple[int, int, int, list[tuple[int, bool]]]] = [(0, 0, num_symbols, [])]
        while parts:
            node, lo, hi, way = parts.pop()
            if hi - lo == 1:
                ways[lo] = way
                continue
            cut = int(cuts[node])
            if not lo < cut < hi or len(way) >= _MAX_DEPTH:
                raise ValueError(f"node {node} divides {lo} to {hi} at {cut}")
            self.low[node], self.high[node] = lo, hi
            parts.append((node + 1, lo, cut, [*way, (node, False)]))
            parts.append((node + cut - lo, cut, hi, [*way, (node, True)]))
        depth = max(map(len, ways))
        self.path = np.full((num_symbols, depth), -1, np.int64)
        self.bits = np.zeros((num_symbols, depth), bool)
        for symbol, way in enumerate(ways):
            for at, (node, bit) in enumerate(way):
                self.path[symbol, at] = node
                self.bits[symbol, at] = bit

    def log_odds(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ln of p(right) / p(left) of each node, (B, V - 1), from distributions (B, V); between -14 and 14."""
        sums = np.zeros((len(p), p.shape[1] + 1))
        np.cumsum(p, axis=1, out=sums[:, 1:])
        at_cut = sums[:, self.cuts]
        left = np.maximum(at_cut - sums[:, self.low], _LEAST)
        right = np.maximum(sums[:, self.high] - at_cut, _LEAST)
        found: NDArray[np.float64] = np.clip(np.log(right / left), -_LIMIT, _LIMIT)
        return found

    def log_probabilities(self, log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ln p of each symbol, (B, V), from each node's log odds (B, V - 1)."""
        none = np.zeros((len(log_odds), 1))
        right = np.concatenate([-np.logaddexp(0, -log_odds), none], axis=1)  # the last is that of node -1
        left = np.concatenate([-np.logaddexp(0, log_odds), none], axis=1)
        found: NDArray[np.float64] = np.where(self.bits, right[:, self.path], left[:, self.path]).sum(axis=2)
        return found
