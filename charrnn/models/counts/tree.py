"""The decisions by which a symbol is found: symbols in order, divided again and again into parts of like weight."""

import numpy as np
from numpy.typing import NDArray

_SMOOTHING = 1e-3


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
