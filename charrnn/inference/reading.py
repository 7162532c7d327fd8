"""A text read from its first symbol to its last: as one stream, or faster as several that come to agree.

Read as several streams side by side, a text costs a network a fraction of the time, but each stream begins without the
state that the one before it ends with. Networks forget. So each stream gets that state and reads its part again, until
what it remembers is what it remembered there the first time; what follows would be the same again. Where a stream comes
to its end before that, its end has changed, and the next one reads once more. In the end each stream has begun with the
true end of the one before it, within rounding: the numbers are those of one stream.

    stream 1   ------------------------------------>
    stream 2   ======>----------------------------->     = read again, from the end of stream 1
    stream 3   ====>------------------------------->     = read again, from the end of stream 2

A network that does not forget gains nothing by that. So the beginning of the text is read twice at first, the second
time without what comes before its second block, and the difference that makes is seen to fade. Where it would take too
large a share of the parts, the rest of the text is read as one stream.

Legend: T time steps, B streams, N symbols, M numbers in a state.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.models.cells import State
from charrnn.models.predictor import Predictor
from charrnn.models.recurrent import RecurrentPredictor

Array = NDArray[Any]
Predicted = tuple[Array, Array]  # nats (T,) float64 and the symbols (T,) that were predicted

WINDOW = 1024
NUM_STREAMS = 16  # eight for each of two cores, which keep them busy; more streams would read more again
LEAST_PART = 1024  # symbols of a stream: networks were seen to forget within 300 to 7,000
_MOST_PART = 1 << 16
_MOST_AGAIN = 0.5  # of a part to be read again: with more, streams side by side would hardly be faster than one
_MOST_BYTES = 1 << 26  # of the states that are kept of each _BLOCK, where parts are longer than they need to be
_BLOCK = 128  # symbols read between two comparisons
# Two states that differ by rounding alone were seen to stay 4e-6 apart; the nats of a block then differ by 2e-7 of
# their sum. A state of which some part fades slowly may still be too far off where it is nearly equal: the nats tell.
_STATE_TOLERANCE = 2e-5  # of a number in a state, relative to 1 + its size
_NATS_TOLERANCE = 5e-7  # of the nats of a block: half of what exact scores promise
_LEAST_NATS = 0.05  # per symbol, where a text is easier to predict than that
_LEAST_FADING = 0.1  # what is left of a difference after a part, where to go on side by side is worth it
_SMALL = 10 * _STATE_TOLERANCE  # a difference that may be rounding, which does not fade
_MOST_ROUNDS = 8  # side by side: more would cost as much as to read one after the other


def iterate_nats(
    predictor: Predictor,
    ids: Array,
    *,
    window: int = WINDOW,
    state: Any = None,  # noqa: ANN401 - the predictor's own
) -> Iterator[Predicted]:
    """-ln p of every symbol but the first, in turn, read as one stream.

    Args:
        predictor: what predicts.
        ids: (N,) symbols; the first is given, not predicted.
        window: symbols taken at once, which bounds the memory and changes no result.
        state: before the first symbol is read; none: that at the start of a text.

    Yields:
        nats (T,) float64 and symbols (T,) predicted.
    """
    state = predictor.zero_state(1) if state is None else state
    for begin in range(0, len(ids) - 1, window):
        end = min(begin + window, len(ids) - 1)
        targets = np.asarray(ids[begin + 1 : end + 1])
        nats, state = predictor.score(np.asarray(ids[begin:end])[:, None], targets[:, None], state)
        yield nats[:, 0], targets


class ExactReading:
    """-ln p of every symbol but the first, in turn, read as several streams where the predictor allows it.

    Args:
        predictor: what predicts.
        ids: (N,) symbols; the first is given, not predicted.
        num_streams: side by side; fewer where the text is too short for so many.
        most_rounds: times that streams are read again, at most; what a state lacks then is what lies further back than
            so many parts. None: until all agree.

    Attributes:
        num_rounds: times that streams were read again, so far.
        num_read: symbols read by all streams together, so far.
    """

    def __init__(
        self, predictor: Predictor, ids: Array, *, num_streams: int = NUM_STREAMS, most_rounds: int | None = None
    ) -> None:
        self._predictor = predictor
        self._ids = ids
        self._num_streams = num_streams
        self._most_rounds = most_rounds
        self._network = predictor if isinstance(predictor, RecurrentPredictor) and predictor.compares else None
        self._forgets = self._network is not None  # as far as it was seen
        self.num_rounds = self.num_read = 0

    @property
    def is_divided(self) -> bool:
        """Whether the text is read as several streams, as far as it is known before."""
        return self._num_streams_from(0) > 1

    def _num_streams_from(self, at: int) -> int:
        return min(self._num_streams, (len(self._ids) - 1 - at) // LEAST_PART) if self._forgets else 1

    def __iter__(self) -> Iterator[Predicted]:
        """Nats (T,) float64 and symbols (T,) predicted."""
        at, last, state = 0, len(self._ids) - 1, self._predictor.zero_state(1)
        if self._network and self.is_divided and self._most_rounds is None:
            nats, state = self._try(self._network)
            at = len(nats)
            yield nats, np.asarray(self._ids[1 : at + 1])
        while self._network and (num_streams := self._num_streams_from(at)) > 1:
            rows = self._network.rows_of(state)
            length = self._part_length(at, rows.nbytes)
            end = at + num_streams * length
            parts = _Parts(np.asarray(self._ids[at : end + 1]), length, rows)
            self._read(self._network, parts)
            yield parts.nats.T.reshape(-1), parts.targets.T.reshape(-1)
            at, state = end, self._network.state_of(parts.ends[-1:])
        yield from iterate_nats(self._predictor, self._ids[at:], state=state)
        self.num_read += last - at

    def _part_length(self, at: int, state_bytes: int) -> int:
        """Symbols of each stream from ``at`` on: equal parts of what is left, or of an equal share of it."""
        num_streams, num_left = self._num_streams_from(at), len(self._ids) - 1 - at
        most = min(max(LEAST_PART, _MOST_BYTES // (num_streams * state_bytes) * _BLOCK), _MOST_PART)
        num_shares = math.ceil(num_left / (num_streams * most))
        return num_left // (num_streams * num_shares)

    def _try(self, network: RecurrentPredictor) -> tuple[Array, State]:
        """Reads the beginning until it is seen how fast the network forgets; its nats (T,) and the state after it."""
        first, state = self._score_once(network, 0, network.zero_state(1))
        found, differences = [first], list[float]()
        rows = network.rows_of(state)
        most = _MOST_AGAIN * self._part_length(0, rows.nbytes)
        state = network.state_of(np.concatenate([rows, np.zeros_like(rows)]))
        while True:
            nats, state = self._score_once(network, len(found) * _BLOCK, state)
            found.append(nats[:, :1])
            rows = network.rows_of(state)
            differences.append(float(_difference(rows[1:], rows[:1])[0]))
            agrees = _agree(rows[1:], rows[:1], nats[:, 1:], nats[:, :1]).all()
            self._forgets = _symbols_until_equal(differences) <= most
            if agrees or not self._forgets:
                return np.concatenate(found)[:, 0], network.state_of(rows[:1])

    def _score_once(self, network: RecurrentPredictor, at: int, state: State) -> tuple[Array, State]:
        """Nats (T, B) of the block that begins at ``at``, the same for all streams, and the state after it."""
        num_streams = state[0].shape[1]
        ids = np.repeat(np.asarray(self._ids[at : at + _BLOCK + 1])[:, None], num_streams, axis=1)
        self.num_read += num_streams * (len(ids) - 1)
        return network.score(ids[:-1], ids[1:], state)

    def _read(self, network: RecurrentPredictor, parts: "_Parts") -> None:
        """All parts, until each has begun with the true end of the one before it."""
        num_streams = parts.inputs.shape[1]
        self._read_on(network, parts, np.arange(num_streams))
        pending = np.arange(1, num_streams)  # streams before which the end of another has changed
        num_rounds = 0
        while len(pending) and num_rounds != self._most_rounds:
            # Of the first alone it is sure that what it begins with stays.
            chosen = pending if self._forgets else pending[:1]
            begins = parts.ends[chosen - 1]
            differed = _difference(begins, parts.begins[chosen])
            parts.begins[chosen] = begins
            before = parts.ends[chosen]
            left = self._read_on(network, parts, chosen)
            differs = _difference(parts.ends[chosen], before)
            pending = np.union1d(np.setdiff1d(pending, chosen), left[left + 1 < num_streams] + 1)
            num_rounds += 1
            if self._most_rounds is None:
                fades = differs <= np.maximum(_LEAST_FADING * differed, _SMALL)
                self._forgets &= bool(fades.all()) and num_rounds < _MOST_ROUNDS
        self.num_rounds = max(self.num_rounds, num_rounds)

    def _read_on(self, network: RecurrentPredictor, parts: "_Parts", streams: Array) -> Array:
        """Reads some streams until they agree with what was read before; those that have not up to their ends."""
        state = network.state_of(parts.begins[streams])
        for index, begin in enumerate(range(0, len(parts.inputs), _BLOCK)):
            block = slice(begin, begin + _BLOCK)
            nats, state = network.score(parts.inputs[block, streams], parts.targets[block, streams], state)
            self.num_read += nats.size
            rows = network.rows_of(state)
            agree = _agree(rows, parts.rows[index, streams], nats, parts.nats[block, streams])
            parts.rows[index, streams], parts.nats[block, streams] = rows, nats
            if agree.any():
                streams = streams[~agree]
                if not len(streams):
                    break
                state = network.state_of(rows[~agree])
        return streams


class _Parts:
    """Consecutive parts of a text, a stream each, and what is known of them so far.

    Args:
        ids: (B * T + 1,) symbols.
        length: T.
        rows: (1, M) the state before the first symbol.

    Attributes:
        inputs: (T, B) symbols read.
        targets: (T, B) symbols predicted.
        nats: (T, B); nan where nothing was read yet.
        begins: (B, M) the state that each stream began with. All begin with that of the first: any is as good.
        rows: (T / _BLOCK, B, M) states along the way.
    """

    def __init__(self, ids: Array, length: int, rows: Array) -> None:
        self.inputs = ids[:-1].reshape(-1, length).T
        self.targets = ids[1:].reshape(-1, length).T
        self.nats = np.full(self.inputs.shape, np.nan)
        self.begins = np.repeat(rows, self.inputs.shape[1], axis=0)
        self.rows = np.full((-(-length // _BLOCK), *self.begins.shape), np.nan, rows.dtype)

    @property
    def ends(self) -> Array:
        """(B, M) the state that each stream ends with."""
        ends: Array = self.rows[-1]
        return ends


def _difference(rows: Array, others: Array) -> Array:
    """How far states (B, M) are apart, (B,): the greatest difference of two numbers, relative to 1 + their size."""
    differences: Array = (np.abs(rows - others) / (1 + np.abs(others))).max(axis=1)
    return differences


def _symbols_until_equal(differences: Sequence[float]) -> float:
    """After how many symbols two streams will be equal that differed so after each block; what fades last counts.

    >>> round(_symbols_until_equal([2.0**-block for block in range(8)]) / _BLOCK, 1)
    16.6
    """
    num_blocks = len(differences)
    since = num_blocks // 2
    symbols = num_blocks * _BLOCK
    if symbols < LEAST_PART or differences[-1] <= _STATE_TOLERANCE:
        return symbols
    fading = math.log(differences[since] / differences[-1]) / (num_blocks - 1 - since)  # per block
    return symbols + _BLOCK * math.log(differences[-1] / _STATE_TOLERANCE) / fading if fading > 0 else math.inf


def _agree(rows: Array, others: Array, nats: Array, other_nats: Array) -> Array:
    """Whether streams (B,) agree, within rounding, in their states (B, M) and in the nats (T, B) on the way to them."""
    before, after = other_nats.sum(axis=0), nats.sum(axis=0)
    tolerance = _NATS_TOLERANCE * np.maximum(after, _LEAST_NATS * len(nats))
    agree: Array = (_difference(rows, others) <= _STATE_TOLERANCE) & (np.abs(after - before) <= tolerance)
    return agree
