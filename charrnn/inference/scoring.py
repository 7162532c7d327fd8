"""How well a model predicts a text: nats of every symbol, summed in float64, counted once.

Every protocol here reads stretches of ids: inputs ``ids[start:end]`` from the zero state, targets one to the
right, of which those from ``first`` on count. They differ in the stretches alone:

    exact         one stretch: N symbols give N - 1 predictions, each from all before it; or the same, faster
    windowed      stretches of ``window`` predictions, none overlapping (nanoGPT's way)
    by line       a stretch per line, from the line's end before it
    streams       a stretch per stream, its first symbols read only to warm the state up

Legend: T time steps, B streams, N symbols.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import NonFiniteError, SettingsError
from charrnn.inference.reading import NUM_STREAMS, WINDOW, ExactReading, iterate_nats
from charrnn.inference.settings import MAX_STREAMS
from charrnn.models.predictor import Predictor
from charrnn.text.vocab import Vocab
from charrnn.units import ZERO_SCORE, Score

Array = NDArray[Any]

WARM_UP = 512

_STREAMS_AT_ONCE = 64
_SHORT_LINE = 127  # symbols: shorter lines wait little for each other
_SYMBOLS_AT_ONCE = 1 << 15  # of all streams between two looks at signals: about a second of a large model


class _Stretch(NamedTuple):
    start: int  # first input
    first: int  # first target that counts
    end: int  # one past the last target


class _Tally:
    """Sums of one score: float64, by fsum, so that the order and number of parts do not matter."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._nats: list[float] = []
        self._squares: list[float] = []
        self._counts = np.zeros(3, np.int64)  # predictions, characters, bytes

    def add_given(self, ids: Array) -> None:
        """Counts the first character where its first byte is given and the others are predicted."""
        is_begun = self._vocab.level == "byte" and len(ids) > 1 and ids[0] >= 0xC0 and ids[1] & 0xC0 == 0x80
        self._counts[1] += int(is_begun)

    def add(self, nats: Array, targets: Array) -> None:
        self._nats.append(math.fsum(nats.tolist()))
        self._squares.append(math.fsum((nats * nats).tolist()))
        self._counts += (len(targets), *self._vocab.measure(targets))

    def score(self) -> Score:
        if not math.isfinite(math.fsum(self._squares)):
            raise NonFiniteError
        num_predictions, num_chars, num_bytes = self._counts.tolist()
        return Score(
            nats=math.fsum(self._nats),
            nats_squared=math.fsum(self._squares),
            num_predictions=num_predictions,
            num_chars=num_chars,
            num_bytes=num_bytes,
        )


def score_ids(predictor: Predictor, ids: Array, *, vocab: Vocab, window: int = WINDOW) -> Score:
    """The exact score, read as one stream: N symbols give N - 1 predictions, each from all symbols before it.

    Args:
        predictor: what is scored.
        ids: (N,) symbols; the first is given, not predicted.
        vocab: their vocabulary.
        window: symbols taken at once, which bounds the memory and changes no result.
    """
    _require_whole("window", window)
    tally = _Tally(vocab)
    tally.add_given(ids)
    for nats, targets in iterate_nats(predictor, ids, window=window):
        tally.add(nats, targets)
    return tally.score()


def score_exact(
    predictor: Predictor,
    ids: Array,
    *,
    vocab: Vocab,
    num_streams: int = NUM_STREAMS,
    most_rounds: int | None = None,
) -> Score:
    """The same score, faster where the predictor forgets: its streams come to agree (see ``inference.reading``).

    It differs from that of ``score_ids`` by rounding, by less than 1e-6 of it.

    Args:
        predictor: what is scored.
        ids: (N,) symbols; the first is given, not predicted.
        vocab: their vocabulary.
        num_streams: parts of the text that are read side by side, at most.
        most_rounds: times that they are read again, at most; None: until all agree.
    """
    tally = _Tally(vocab)
    tally.add_given(ids)
    for nats, targets in ExactReading(predictor, ids, num_streams=num_streams, most_rounds=most_rounds):
        tally.add(nats, targets)
    return tally.score()


def score_windowed(predictor: Predictor, ids: Array, *, vocab: Vocab, window: int) -> Score:
    """The score with the memory cut every ``window`` predictions, as for models of a fixed context.

    Window k reads ``ids[k*window : (k+1)*window]`` from the zero state and predicts the symbols one to the
    right; the last may be shorter. So N symbols give N - 1 predictions here too. Comparable to the loss
    nanoGPT reports.

    Args:
        predictor: what is scored.
        ids: (N,) symbols.
        vocab: their vocabulary.
        window: predictions from each zero state.
    """
    _require_whole("windowed", window)
    last = len(ids) - 1
    stretches = (_Stretch(begin, begin + 1, min(begin + window, last) + 1) for begin in range(0, last, window))
    tally = _Tally(vocab)
    tally.add_given(ids)
    for group in _groups(stretches, size=4 * _STREAMS_AT_ONCE):
        for part in _score_stretches(predictor, ids, group):
            tally.add(*part)
    return tally.score()


def score_streams(predictor: Predictor, ids: Array, *, vocab: Vocab, num_streams: int, warm_up: int = WARM_UP) -> Score:
    """The score of one long text, read as several streams side by side: faster, and approximate.

    All N - 1 predictions are made once. A stream but the first begins ``warm_up`` symbols before its first
    prediction, from the zero state: what lies further back it has not read, which costs the exact score
    little or nothing.

    Args:
        predictor: what is scored.
        ids: (N,) symbols.
        vocab: their vocabulary.
        num_streams: equal parts of the text.
        warm_up: symbols read before a part to warm the state up.
    """
    _require_whole("streams", num_streams, most=MAX_STREAMS)
    num_predictions = max(len(ids) - 1, 0)
    edges = (1 + num_predictions * part // num_streams for part in range(num_streams + 1))
    stretches = [_Stretch(max(0, first - 1 - warm_up), first, end) for first, end in pairwise(edges) if first < end]
    tally = _Tally(vocab)
    tally.add_given(ids)
    for part in _score_stretches(predictor, ids, stretches):
        tally.add(*part)
    return tally.score()


def score_lines(predictor: Predictor, lines: Sequence[Array], *, vocab: Vocab) -> list[Score]:
    """Each line by itself, as what follows a line's end: scores that rank sentences.

    A newline is read from the zero state before each line, so that a line's N symbols get N predictions, its
    own newline among them where it has one. Where the vocabulary has no newline, a line's first symbol is
    given.

    Args:
        predictor: what is scored.
        lines: symbols (N,) of each line.
        vocab: their vocabulary.
    """
    begin = vocab.encode("\n" if "\n" in vocab else "")
    scores = [ZERO_SCORE] * len(lines)
    # Lines of similar length run side by side: a batch is computed to the end of its longest.
    order = sorted(range(len(lines)), key=lambda i: len(lines[i]))
    similar = groupby(order, key=lambda i: max(len(lines[i]), _SHORT_LINE).bit_length())
    for chosen in (chosen for _, some in similar for chosen in _groups(some, size=_STREAMS_AT_ONCE)):
        pieces, stretches, at = [], [], 0
        for i in chosen:
            piece = np.concatenate([begin, lines[i]])
            pieces.append(piece)
            stretches.append(_Stretch(at, at + 1, at + len(piece)))
            at += len(piece)
        tallies = [_Tally(vocab) for _ in chosen]
        for column, nats, targets in _score_columns(predictor, np.concatenate(pieces), stretches):
            tallies[column].add(nats, targets)
        for i, tally in zip(chosen, tallies, strict=True):
            scores[i] = tally.score()
    return scores


def _groups(items: Any, *, size: int) -> Iterator[list[Any]]:  # noqa: ANN401 - any iterable, kept as it is
    group: list[Any] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _score_stretches(predictor: Predictor, ids: Array, stretches: Sequence[_Stretch]) -> Iterator[tuple[Array, Array]]:
    for _, nats, targets in _score_columns(predictor, ids, stretches):
        yield nats, targets


def _score_columns(
    predictor: Predictor, ids: Array, stretches: Sequence[_Stretch]
) -> Iterator[tuple[int, Array, Array]]:
    """Stretches side by side, window by window: (stretch, nats, symbols predicted) of what counts."""
    state = predictor.zero_state(len(stretches))
    most = max((s.end - 1 - s.start for s in stretches), default=0)
    window = max(1, min(WINDOW, _SYMBOLS_AT_ONCE // max(1, len(stretches))))
    for begin in range(0, most, window):
        length = min(window, most - begin)
        # A stretch that ended reads zeros to the end of the batch; nothing there counts.
        block = np.zeros((length + 1, len(stretches)), ids.dtype)
        for column, s in enumerate(stretches):
            taken = ids[s.start + begin : max(s.start + begin, min(s.start + begin + length + 1, s.end))]
            block[: len(taken), column] = taken
        nats, state = predictor.score(block[:-1], block[1:], state)
        for column, s in enumerate(stretches):
            low = max(s.first - 1 - s.start - begin, 0)
            high = min(s.end - 1 - s.start - begin, length)
            if low < high:
                yield column, nats[low:high, column], block[low + 1 : high + 1, column]


def _require_whole(name: str, value: int, *, most: int = 2**62) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise SettingsError(f"{name} is {value!r}; it must be a whole number from 1 to {most:,}")
