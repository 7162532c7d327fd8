"""Counts of contexts as predictors: as they are, or going on to count.

Legend: V symbols, B streams, T steps.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.models.counts import reference
from charrnn.models.counts.tables import READER, Learn, Tables
from charrnn.models.native.build import library
from charrnn.models.predictor import Predictor

Array = NDArray[Any]


class Read(Protocol):
    """See ``native.counts.read``."""

    def __call__(
        self,
        tables: Tables,
        readers: Array,
        ids: Array,
        *,
        targets: Array | None = None,
        logits: bool = False,
        learn: Learn = Learn.NOTHING,
        num_threads: int | None = None,
    ) -> tuple[Array, Array]:
        """Reads symbols, and predicts what follows them."""


def fastest_read() -> Read:
    """The kernel where there is one, else the equations in numpy: the same numbers, a thousand times slower."""
    if library() is None:
        return reference.read
    from charrnn.models.native import counts as native

    return native.read


@dataclass(frozen=True)
class CountsState:
    """What is remembered of each stream.

    Attributes:
        readers: (B,) of ``READER``.
    """

    readers: Array

    def of_streams(self, streams: Any) -> "CountsState":  # noqa: ANN401 - whatever numpy takes as an index
        """The state of some streams, by index; an index may come twice."""
        return CountsState(np.atleast_1d(self.readers[streams]))


class Counts(Predictor):
    """A model of counts as it was made.

    Args:
        tables: the model, with the weights that suit counts which stay as they are.
        num_threads: at most so many compute.
    """

    def __init__(self, tables: Tables, *, num_threads: int | None = None) -> None:
        self._tables = tables
        self._read = partial(fastest_read(), num_threads=num_threads)

    @property
    def num_symbols(self) -> int:
        """V."""
        return self._tables.num_symbols

    def zero_state(self, num_streams: int) -> CountsState:
        """The state at the start of a text."""
        return CountsState(np.zeros(num_streams, READER))

    def step(self, ids: Array, state: CountsState) -> tuple[Array, CountsState]:
        """Ln p (B, V) of what follows ``ids`` (B,), and the state after reading them."""
        readers = state.readers.copy()
        _, logits = self._read(self._tables, readers, np.asarray(ids)[None], logits=True)
        return logits, CountsState(readers)

    def score(self, ids: Array, targets: Array, state: CountsState) -> tuple[Array, CountsState]:
        """-ln p(targets[t]), (T, B) float64, having read ``ids[:t + 1]`` (T, B); and the state after all."""
        readers = state.readers.copy()
        nats, _ = self._read(self._tables, readers, ids, targets=targets)
        return nats, CountsState(readers)


class _Read(NamedTuple):
    """Symbols that were read, after others; ``num_parts`` counts both."""

    before: "_Read | None"
    ids: Array
    num_parts: int


@dataclass(frozen=True)
class GrowingState:
    """What counts that go on counting remember of their one stream.

    Attributes:
        readers: (1,) of ``READER``.
        read: symbols read since the start of the text; None before the first.
        learner: the tables as they have become; another state may have taken them further.
    """

    readers: Array
    read: _Read | None
    learner: "_Learner"

    def of_streams(self, streams: Any) -> "GrowingState":  # noqa: ANN401 - whatever numpy takes as an index
        """The state of the one stream.

        Raises:
            ValueError: another number of streams is asked for: each has counts of its own.
        """
        if np.zeros(1)[streams].shape not in ((), (1,)):
            raise ValueError("counts that go on counting read one stream at a time")
        return self


@dataclass
class _Learner:
    """Tables that learn; ``num_parts`` says after how many parts of what was read they stand."""

    tables: Tables
    num_parts: int


class GrowingCounts(Predictor):
    """A model of counts that learns from each symbol after it has predicted it.

    Args:
        tables: the model, with the weights that suit counts which grow; left as it is.
        num_threads: at most so many compute.
    """

    _LEARN = Learn.COUNTS | Learn.WEIGHTS

    def __init__(self, tables: Tables, *, num_threads: int | None = None) -> None:
        self._tables = tables
        self._read = partial(fastest_read(), num_threads=num_threads)

    @property
    def num_symbols(self) -> int:
        """V."""
        return self._tables.num_symbols

    def zero_state(self, num_streams: int) -> GrowingState:
        """The state at the start of a text: the counts as they were made.

        Raises:
            ValueError: there is not just one stream.
        """
        if num_streams != 1:
            raise ValueError("counts that go on counting read one stream at a time")
        return GrowingState(np.zeros(1, READER), None, _Learner(self._tables, -1))

    def step(self, ids: Array, state: GrowingState) -> tuple[Array, GrowingState]:
        """Ln p (1, V) of what follows ``ids`` (1,), and the state after reading and learning from them."""
        _, logits, after = self._go_on(np.asarray(ids)[None], state, logits=True)
        return logits, after

    def score(self, ids: Array, targets: Array, state: GrowingState) -> tuple[Array, GrowingState]:
        """-ln p(targets[t]), (T, 1) float64, each before it is learned from; and the state after all."""
        nats, _, after = self._go_on(np.asarray(ids), state, targets=targets)
        return nats, after

    def _go_on(
        self, ids: Array, state: GrowingState, *, targets: Array | None = None, logits: bool = False
    ) -> tuple[Array, Array, GrowingState]:
        learner = self._learner_of(state)
        learner.tables.grow(len(ids))
        readers = state.readers.copy()
        nats, found = self._read(learner.tables, readers, ids, targets=targets, logits=logits, learn=self._LEARN)
        learner.num_parts += 1
        return nats, found, GrowingState(readers, _Read(state.read, ids, learner.num_parts), learner)

    def _learner_of(self, state: GrowingState) -> _Learner:
        """Tables that stand where the state stands: its own, or, where those were taken further, ones that catch up."""
        num_parts = state.read.num_parts if state.read else 0
        if state.learner.num_parts == num_parts:
            return state.learner
        parts = []
        read = state.read
        while read:
            parts.append(read.ids)
            read = read.before
        learner = _Learner(self._tables.copy(more_text=1 << 16), 0)
        readers = np.zeros(1, READER)
        for part in reversed(parts):
            learner.tables.grow(len(part))
            self._read(learner.tables, readers, part, learn=self._LEARN)
            learner.num_parts += 1
        return learner
