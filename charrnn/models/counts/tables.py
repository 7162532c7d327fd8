"""What a model of counts consists of: slots, the text it learned, and what mixes them.

Legend: V symbols, K contexts, M matches, I inputs of a mixer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.models.counts.settings import (
    BINS,
    LEVELS,
    LINE_SLOTS,
    MIXERS,
    NUM_CONTEXTS,
    NUM_MATCHES,
    ODDS,
    RECENT,
    weight_shapes,
)
from charrnn.models.tree import weighted_cuts

Array = NDArray[Any]

CACHE_LINE = 64
LETTER = 1
NEWLINE = 3


class Learn(IntFlag):
    """What is learned from the symbols that are read: counts, the weights that mix them, those at a slow rate."""

    NOTHING = 0
    COUNTS = 1
    WEIGHTS = 2
    SLOWLY = 4


LINE = np.dtype(
    [
        ("check", "<u2", LINE_SLOTS),
        ("ever", "<u2", LINE_SLOTS),
        ("lately", "<u2", LINE_SLOTS),
        ("seen", "u1", LINE_SLOTS),
        ("hand", "u1"),
        ("unused", "u1", LINE_SLOTS - 1),
    ]
)
READER = np.dtype(
    [
        ("words", "<u8", 3),
        ("num_read", "<i8"),
        ("line_start", "<i8"),
        ("line_before", "<i8"),
        ("pointers", "<i8", NUM_MATCHES),
        ("lengths", "<i8", NUM_MATCHES),
        ("rolling", "<u8", NUM_MATCHES),
        ("recent", "<u2", RECENT),
    ]
)


def _squash(z: Array) -> Array:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-z))


@dataclass(frozen=True)
class Constants:
    """Tables that both ways of computing look up, so that their numbers are the same.

    Attributes:
        stretch: (4097,) ln(p / (1 - p)).
        squash: (4097,) 1 / (1 + exp(-z)) for z from -14 to 14.
        rates: (256,) of a slot that was seen n times.
        bins: (4096,) where the log odds of p lie among the bins; the fraction says how far on the way to the next.
        levels: (256,) class of how often a slot was seen.
    """

    stretch: Array
    squash: Array
    rates: Array
    bins: Array
    levels: Array

    @classmethod
    def make(cls) -> "Constants":
        """The tables; the same on every machine but for the last bit of exp and log."""
        p = (np.arange(4097) + 0.5) / 4097
        odds = np.log(p / (1 - p))
        at = np.clip((odds[:4096] + 8) * (BINS - 1) / 16, 0, BINS - 1.001)
        seen = np.arange(256)
        bounds = np.array([8, 12, 16, 24, 40, 64, 128, 250])
        levels = np.where(seen < 8, seen, 7 + np.searchsorted(bounds, seen, side="right"))
        return cls(
            odds.astype(np.float32),
            _squash(np.arange(4097) * 28 / 4096 - 14).astype(np.float32),
            (1 / (seen + 1.6)).astype(np.float32),
            at.astype(np.float32),
            np.minimum(levels, LEVELS - 1).astype(np.int32),
        )


CONSTANTS = Constants.make()


def first_weights(vocab_size: int) -> dict[str, Array]:
    """The weights before anything is learned: probabilities as they are, mixers that take a mean."""
    shapes = weight_shapes(vocab_size)
    made = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    made["ever"][:] = made["lately"][:] = _squash((np.arange(BINS) - (BINS - 1) / 2) * 16 / (BINS - 1))
    made["match"][:] = 0.9
    made["first"][:] = made["second"][:] = _squash(np.arange(ODDS) * 0.75 - 12.0)
    for name in MIXERS:
        made[name][:, : 2 * NUM_CONTEXTS : 2] = 0.2
        made[name][:, 1 : 2 * NUM_CONTEXTS : 2] = 0.02
        made[name][:, 2 * NUM_CONTEXTS : -1] = 0.02
    made["final"][:] = 1 / len(MIXERS)
    return made


def _aligned_lines(num_lines: int) -> Array:
    """Lines of zeros that begin where a line of the processor's cache does: numpy promises 16 bytes alone."""
    room = np.zeros(num_lines * LINE.itemsize + CACHE_LINE, np.uint8)
    begin = -room.ctypes.data % CACHE_LINE
    return room[begin : begin + num_lines * LINE.itemsize].view(LINE)


@dataclass
class Tables:
    """A model of counts; those who learn change it in place.

    Attributes:
        lines: (lines,) of ``LINE``, a power of two.
        text: (n,) uint16, symbols learned from, of which num_text count; the rest is room for more.
        num_text: length of the text.
        places: (M, places) uint32, a power of two: where a match may be.
        cuts: (V - 1,) int64, see ``tree.weighted_cuts``.
        classes: (V,) uint8: LETTER, NEWLINE or another number.
        weights: float32, named and shaped as ``weight_shapes`` says.
    """

    lines: Array
    text: Array
    num_text: int
    places: Array
    cuts: Array
    classes: Array
    weights: Mapping[str, Array]

    @classmethod
    def empty(cls, num_seen: Array, classes: Array, *, num_lines: int, text_space: int) -> "Tables":
        """Tables that have learned nothing.

        Args:
            num_seen: (V,) how often each symbol occurs in the text that will be learned.
            classes: (V,) as above.
            num_lines: a power of two.
            text_space: symbols that will be learned.
        """
        num_places = 1 << max(10, int(text_space).bit_length())
        return cls(
            _aligned_lines(num_lines),
            np.zeros(text_space, np.uint16),
            0,
            np.zeros((NUM_MATCHES, num_places), np.uint32),
            weighted_cuts(num_seen),
            classes.astype(np.uint8),
            first_weights(len(num_seen)),
        )

    @property
    def num_symbols(self) -> int:
        """V."""
        return len(self.classes)

    def with_weights(self, weights: Mapping[str, Array]) -> "Tables":
        """The same counts under other weights."""
        return replace(self, weights=weights)

    def copy(self, *, more_text: int = 0) -> "Tables":
        """Tables of their own, with room for more text."""
        text = np.concatenate([self.text[: self.num_text], np.zeros(more_text, np.uint16)])
        weights = {name: weight.copy() for name, weight in self.weights.items()}
        lines = _aligned_lines(len(self.lines))
        lines[:] = self.lines
        return replace(self, lines=lines, text=text, places=self.places.copy(), weights=weights)

    def grow(self, more_text: int) -> None:
        """Makes room for more text, where there is not enough."""
        if self.num_text + more_text > len(self.text):
            room = np.zeros(max(more_text, len(self.text) // 2, 1 << 16), np.uint16)
            self.text = np.concatenate([self.text[: self.num_text], room])
