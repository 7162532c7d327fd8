"""Hashes of all stretches of a text that have one length, so that two texts can be searched for what they share.

    h of one symbol       a fixed random number
    h of two stretches    mix(C h(first) + h(second))  modulo 2^64

A stretch is put together from stretches of 1, 2, 4, ... symbols, so that all stretches of L symbols take log2 L passes
over the text. Equal stretches have equal hashes. Two different ones have equal hashes with a probability of about
2^-64.

Source: doubling, Karp, Miller and Rosenberg 1972; mix is the finalizer of SplitMix64, Steele et al. 2014.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_WINDOWS_AT_ONCE = 1 << 18


def window_hashes(ids: NDArray[Any], length: int) -> Hashes:
    """The hash of each stretch of ``length`` symbols (N - length + 1, ...), in the order in which they begin.

    Args:
        ids: (N, ...) symbols, from 0 up, of one text or of several side by side.
        length: L, at least 1.

    >>> first, *others = window_hashes(np.array([5, 6, 7, 5, 6]), 2).tolist()
    >>> [first == other for other in others]
    [False, False, True]
    """
    num_windows = len(ids) - length + 1
    if num_windows < 1:
        return np.zeros((0, *ids.shape[1:]), np.uint64)
    pieces = _mixed((ids.astype(np.uint64) + np.uint64(1)) * _FACTOR)  # of ``size`` symbols
    size = 1
    hashes, done = pieces, 0  # of the first ``done`` symbols
    while True:
        if length & size:
            next_pieces = pieces[done : done + num_windows]
            hashes = _joined(hashes, next_pieces) if done else next_pieces
            done += size
        if done == length:
            return hashes
        pieces = _joined(pieces[:-size], pieces[size:])
        size *= 2


def iterate_hashes(ids: NDArray[Any], length: int, *, at_once: int = _WINDOWS_AT_ONCE) -> Iterator[tuple[int, Hashes]]:
    """``window_hashes`` of a text of any size, a part at a time: where the part begins, and its hashes."""
    for begin in range(0, len(ids) - length + 1, at_once):
        yield begin, window_hashes(np.asarray(ids[begin : begin + at_once + length - 1]), length)


def distinct(hashes: Hashes) -> Hashes:
    """Each hash once, ascending."""
    hashes = np.sort(hashes)  # np.unique, which keeps a table of them, takes a hundred times as long
    return hashes[np.concatenate([[True], hashes[1:] != hashes[:-1]])] if len(hashes) else hashes


def are_among(hashes: Hashes, known: Hashes) -> NDArray[np.bool_]:
    """Which of ``hashes`` (N,) are among ``known``, which are ascending."""
    if not len(known):
        return np.zeros(len(hashes), np.bool_)
    places = np.searchsorted(known, hashes)
    places[places == len(known)] = 0
    found: NDArray[np.bool_] = known[places] == hashes
    return found


def _joined(first: Hashes, second: Hashes) -> Hashes:
    return _mixed(first * _FACTOR + second)


def _mixed(hashes: Hashes) -> Hashes:
    """Each number made another one, so that every bit depends on all bits; the argument's memory is used."""
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)
    return hashes
