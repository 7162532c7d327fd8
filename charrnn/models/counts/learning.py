"""A model of counts from a text: one pass, in which each symbol is predicted before it is counted.

Counts that stay as they are, and meet a text that is not theirs, deserve another trust than counts that grow while they
read: parts of the text are left out at first, and the weights for the one are fitted on them before they are counted.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.models.counts.predictor import fastest_read
from charrnn.models.counts.settings import MIXERS, NUM_CONTEXTS, RECENT
from charrnn.models.counts.tables import LETTER, NEWLINE, READER, Learn, Tables
from charrnn.text.vocab import Vocab

_FOLD_SHARE = 0.1
_FEWEST_FOLDS, _MOST_FOLDS = 4, 16
_SHORTEST_FOLD = 25_000
_MAX_FOLDED = 1_000_000
_FOLD_STEPS = 4
_BLOCK = 1 << 16
_OTHER = 0
_BLANK = 2
_NOT_ASCII = 128


class Learned(NamedTuple):
    """A model of counts.

    Attributes:
        tables: with the weights for counts that grow.
        fixed_weights: the weights for counts that stay as they are.
        nats: sum over the predictions that were made on the way.
        num_predictions: how many.
    """

    tables: Tables
    fixed_weights: dict[str, NDArray[np.float32]]
    nats: float
    num_predictions: int


def learn(
    ids: NDArray[np.int64], classes: NDArray[np.uint8], *, num_lines: int, progress: Callable[[int], None] | None = None
) -> Learned:
    """Counts a text and fits what mixes the counts.

    Args:
        ids: (N,) symbols.
        classes: (V,) LETTER, NEWLINE or another number.
        num_lines: lines of the table, a power of two.
        progress: is told, again and again, how many more symbols have been read.
    """
    tables = Tables.empty(np.bincount(ids, minlength=len(classes)), classes, num_lines=num_lines, text_space=len(ids))
    read = fastest_read()
    total = 0.0
    num_predictions = 0

    def go(begin: int, end: int, how: Learn, to: Tables) -> None:
        """Reads ids[begin:end], having looked at what stands before them."""
        nonlocal total, num_predictions
        readers = np.zeros(1, READER)
        before = ids[max(0, begin - RECENT) : begin]
        read(to, readers, before[:, None])
        for at in range(begin, end, _BLOCK):
            block = ids[at : min(at + _BLOCK, end)]
            nats, _ = read(to, readers, block[:-1, None], targets=block[1:, None], learn=how)
            read(to, readers, block[-1:, None], learn=how)
            if how & Learn.COUNTS:
                total += float(nats.sum())
                num_predictions += nats.size
                if progress is not None:
                    progress(len(block))

    folds = _folds(len(ids))
    at = 0
    for begin, end in [*folds, (len(ids), len(ids))]:
        go(at, begin, Learn.COUNTS | Learn.WEIGHTS, tables)
        at = end
    fixed = _without_recency({name: weight.copy() for name, weight in tables.weights.items()})
    steps = [step for fold in folds for step in _steps(*fold)]
    mean = {name: np.zeros(weight.shape) for name, weight in fixed.items()}
    for begin, end in steps:
        go(begin, end, Learn.WEIGHTS | Learn.SLOWLY, tables.with_weights(fixed))
        for name, weight in fixed.items():
            mean[name] += weight / len(steps)
    fixed = {name: weight.astype(np.float32) for name, weight in mean.items()}
    for begin, end in folds:
        go(begin, end, Learn.COUNTS | Learn.WEIGHTS, tables)
    return Learned(tables, fixed, total, num_predictions)


def _folds(num_symbols: int) -> list[tuple[int, int]]:
    """Parts that are left out at first: spread, and long, since what stands beside a short one tells it."""
    whole = min(int(num_symbols * _FOLD_SHARE), _MAX_FOLDED)
    number = min(max(_FEWEST_FOLDS, whole // _SHORTEST_FOLD), _MOST_FOLDS)
    ends = [(fold + 1) * num_symbols // number for fold in range(number)]
    return [(end - whole // number, end) for end in ends]


def _steps(begin: int, end: int) -> list[tuple[int, int]]:
    """A fold in parts, after each of which the weights go into a mean: the last ones suit the last fold best."""
    borders = [begin + (end - begin) * step // _FOLD_STEPS for step in range(_FOLD_STEPS + 1)]
    return list(itertools.pairwise(borders))


def _without_recency(weights: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Weights that begin without the inputs of what was seen lately: that is of a text which is read no more."""
    for name in MIXERS:
        weights[name][:, 1 : 2 * NUM_CONTEXTS : 2] = 0
    return weights


def classes_of(vocab: Vocab) -> NDArray[np.uint8]:
    """What each symbol is to the contexts: of a word, the end of a line, or neither; (V,)."""
    if vocab.level == "byte":
        chars = [chr(byte) if byte < _NOT_ASCII else "a" for byte in range(256)]  # part of a longer character: a letter
    else:
        chars = list(vocab.symbols)
    return np.array(list(map(_class_of, chars)), np.uint8)


def _class_of(char: str) -> int:
    if char == "\n":
        return NEWLINE
    if char.isspace():
        return _BLANK
    return LETTER if char.isalnum() or char == "_" else _OTHER
