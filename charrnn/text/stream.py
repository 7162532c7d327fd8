"""Windows of parallel streams for truncated BPTT.

text "abcdefghijklm" (N = 13), B = 3 streams, bptt T = 2, offset 0
window 0             window 1
stream 0: a b c d    inputs   targets     inputs   targets       columns are streams,
stream 1: e f g h    a e i    b f j       c g k    d h l         rows are time,
stream 2: i j k l    b f j    c g k       d h l    e i m         state flows down the windows
"""

from dataclasses import dataclass
from mmap import MADV_DONTNEED, mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError

_WINDOWS_BETWEEN_RELEASES = 1000
_LEAST_WINDOWS = 4
_ENOUGH_WINDOWS = 8


@dataclass(frozen=True)
class Window:
    """A window of every stream.

    Attributes:
        inputs: (T, B) int64, symbols read.
        targets: (T, B) int64, the symbol that follows each.
        starts_epoch: whether the streams begin again, so that the state before them is dropped.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    starts_epoch: bool


class Streams:
    """A text as parallel streams, window by window without end; the position is one integer, kept by the caller.

    Every epoch begins at a random offset, a function of seed and epoch alone, so that windows fall differently.
    All windows have T rows; what does not fill a window at either end waits for another epoch's offset.

    Args:
        ids: (N,) symbols, in memory or mapped from a file.
        batch_size: B, streams.
        bptt: T, rows of a window.
        seed: of the offsets.

    Raises:
        InputError: the text does not fill one window.
    """

    def __init__(self, ids: NDArray[Any], batch_size: int, bptt: int, seed: int) -> None:
        num_targets = len(ids) - 1
        if num_targets < batch_size * bptt:
            raise InputError(
                f"{len(ids)} symbols do not fill one window of {batch_size} streams x {bptt} steps; "
                f"use a smaller batch size or bptt, or a longer text"
            )
        self.bptt = bptt
        self.batch_size = batch_size
        self.windows_per_epoch, slack = divmod(num_targets, batch_size * bptt)
        if slack < bptt and self.windows_per_epoch >= _ENOUGH_WINDOWS:
            self.windows_per_epoch -= 1  # leaves room for the offsets to differ
        self._ids = ids
        self._seed = seed
        self._slack = num_targets - self.windows_per_epoch * batch_size * bptt
        length = self.windows_per_epoch * bptt  # of a stream
        self._places = np.arange(bptt + 1)[:, None] + length * np.arange(batch_size)  # (T + 1, B) of the first window
        self._epoch, self._offset = -1, 0  # the epoch whose offset was drawn last

    def offset(self, epoch: int) -> int:
        """Where an epoch begins in the text."""
        if epoch != self._epoch:
            drawn = np.random.default_rng((self._seed, epoch)).integers(self._slack + 1)
            self._epoch, self._offset = epoch, int(drawn)
        return self._offset

    def window(self, position: int) -> Window:
        """Window number ``position``, counted from 0 over all epochs."""
        epoch, index = divmod(position, self.windows_per_epoch)
        first = self.offset(epoch) + index * self.bptt
        block = np.take(self._ids, self._places + first).astype(np.int64)
        if position % _WINDOWS_BETWEEN_RELEASES == 0:
            release(self._ids)
        return Window(block[:-1], block[1:], index == 0)


def release(ids: NDArray[Any]) -> None:
    """Lets the system take back the pages of a mapped text that were touched; they are read again when needed."""
    mapped = getattr(ids, "_mmap", None)
    if isinstance(mapped, mmap):
        mapped.madvise(MADV_DONTNEED)


def shrink_to_fit(num_symbols: int, batch_size: int, bptt: int) -> tuple[int, int]:
    """The batch size and bptt, none larger than asked, that suit a text of ``num_symbols``.

    First the number of streams goes down, to one at least, so that each stream has at least four windows for its state
    to flow through; then the window shrinks to the text.

    >>> shrink_to_fit(1_000_000, 16, 64), shrink_to_fit(1000, 16, 64), shrink_to_fit(5, 16, 64)
    ((16, 64), (3, 64), (1, 4))
    """
    batch_size = max(1, min(batch_size, (num_symbols - 1) // (_LEAST_WINDOWS * bptt)))
    return batch_size, max(1, min(bptt, (num_symbols - 1) // batch_size))
