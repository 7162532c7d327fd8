"""A predictor that writes no more than so many symbols in a row as they stand in a text.

Legend: N symbols in a row, T time steps, B streams, V symbols.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import SettingsError
from charrnn.machine import num_memory_bytes
from charrnn.models.predictor import Generated, Predictor
from charrnn.models.sampling import choose
from charrnn.models.settings import SamplingSettings
from charrnn.text.utf8 import ALLOWED, TRANSITIONS
from charrnn.text.window_hash import distinct, iterate_hashes, window_hashes

Array = NDArray[Any]

BYTES_PER_SYMBOL = 24  # of a text, while its index is made; 8 stay


class Continuations:
    """Which symbols follow any N symbols in a text.

    One number of 64 bits is kept for each different stretch of N + 1 symbols: the hash of the first N, whose last bits
    give way to the symbol after them. What follows in the text is always found. After N symbols that are not in the
    text, some symbol is found by mistake with a probability of about M V / 2^64: below 10^-8 for a text of a thousand
    million symbols and an alphabet of a hundred.

    Args:
        ids: (M,) symbols of the text.
        num_before: N, at least 1.
        num_symbols: V.

    Raises:
        SettingsError: the index would not fit into this machine's memory.
    """

    def __init__(self, ids: Array, num_before: int, num_symbols: int) -> None:
        needed, memory = BYTES_PER_SYMBOL * len(ids), num_memory_bytes()
        if memory and needed > memory // 2:
            raise SettingsError(
                f"the index of a training text of {len(ids):,} symbols takes {needed / 2**30:.1f} GiB, more than half "
                f"of this machine's memory; leave `max_copy` out, or name a part of the text with `training_text`"
            )
        self.num_before = num_before
        self.num_symbols = num_symbols
        self._mask = np.uint64((1 << (num_symbols - 1).bit_length()) - 1)
        keys = np.empty(max(len(ids) - num_before, 0), np.uint64)
        for begin, hashes in iterate_hashes(ids[:-1], num_before):
            after = np.asarray(ids[begin + num_before : begin + num_before + len(hashes)])
            keys[begin : begin + len(hashes)] = (hashes & ~self._mask) | after.astype(np.uint64)
        self._keys = distinct(keys)

    def after(self, history: Array) -> NDArray[np.bool_]:
        """Whether each symbol follows the history of each stream: (B, V).

        Args:
            history: (N, B) symbols; V stands for none, which nothing follows.
        """
        first = window_hashes(history, len(history))[0] & ~self._mask
        begins = np.searchsorted(self._keys, first)
        ends = np.searchsorted(self._keys, first | self._mask, side="right")
        follows = np.zeros((history.shape[1], self.num_symbols), np.bool_)
        for stream in np.flatnonzero(begins < ends):
            found = self._keys[begins[stream] : ends[stream]] & self._mask
            follows[stream, found.astype(np.intp)] = True
        return follows


@dataclass(frozen=True)
class CopyState:
    """What is remembered of each stream.

    Attributes:
        inner: the state of the predictor that is limited.
        history: (N, B) the last symbols read, the latest in the last row; V where fewer have been read.
    """

    inner: Any
    history: NDArray[np.intp]

    def of_streams(self, streams: Any) -> "CopyState":  # noqa: ANN401 - whatever numpy takes as an index
        """The state of some streams, by index; an index may come twice."""
        return CopyState(self.inner.of_streams(streams), self.history[:, streams])


class CopyLimit(Predictor):
    """A predictor that predicts as another does, but never draws the symbol that would make a copy too long.

    What it has read counts, a prompt for one: no N + 1 symbols in a row that end with a drawn one are in the text.

    Args:
        predictor: what predicts.
        text: what may be copied for N symbols in a row.
        when_forced: called where every symbol would make a copy too long; then one is drawn as if there were no limit.
    """

    def __init__(self, predictor: Predictor, text: Continuations, *, when_forced: Callable[[], None]) -> None:
        self._predictor = predictor
        self._text = text
        self._when_forced = when_forced

    @property
    def num_symbols(self) -> int:
        """V."""
        return self._predictor.num_symbols

    def zero_state(self, num_streams: int) -> CopyState:
        """The state at the start of a text."""
        history = np.full((self._text.num_before, num_streams), self.num_symbols, np.intp)
        return CopyState(self._predictor.zero_state(num_streams), history)

    def step(self, ids: Array, state: CopyState) -> tuple[Array, CopyState]:
        """Logits (B, V) of what follows ``ids`` (B,), and the state after reading them; the limit is in no logit."""
        logits, inner = self._predictor.step(ids, state.inner)
        return logits, CopyState(inner, self._longer(state.history, ids[None]))

    def score(self, ids: Array, targets: Array, state: CopyState) -> tuple[Array, CopyState]:
        """-ln p(targets[t]), (T, B) float64, by the predictor without the limit; and the state after all."""
        nats, inner = self._predictor.score(ids, targets, state.inner)
        return nats, CopyState(inner, self._longer(state.history, ids))

    def generate(
        self,
        ids: Array,
        state: CopyState,
        *,
        uniforms: Array,
        sampling: SamplingSettings,
        marks: Array | None = None,
    ) -> Generated:
        """Symbols drawn one after the other, each the next one's input; see ``Predictor.generate``."""
        drawn = np.empty(uniforms.shape, np.intp)
        for t, uniform in enumerate(uniforms):
            logits, state = self.step(ids, state)
            possible = np.ones(logits.shape, np.bool_) if marks is None else ALLOWED[marks]
            allowed = possible & ~self._text.after(state.history)
            is_forced = ~allowed.any(axis=1)
            if is_forced.any():
                self._when_forced()
                allowed[is_forced] = possible[is_forced]
            ids = drawn[t] = choose(logits, uniform, sampling=sampling, allowed=allowed)
            if marks is not None:
                marks = TRANSITIONS[marks, ids]
        return Generated(drawn, state, marks)

    def _longer(self, history: Array, ids: Array) -> NDArray[np.intp]:
        return np.concatenate([history, ids])[-self._text.num_before :].astype(np.intp, copy=False)
