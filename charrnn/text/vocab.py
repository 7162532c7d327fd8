"""The symbols a model knows: characters of a text, or the 256 bytes; text to ids and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError

Level = Literal["char", "byte"]
Ids = NDArray[Any]

_NUM_CODE_POINTS = 0x110000
_UNKNOWN = np.iinfo(np.uint32).max


class UnknownCharacterError(InputError):
    """Characters that a vocabulary lacks.

    Attributes:
        chars: the distinct unknown characters, in order of appearance.
        position: index of the first in the text.
        where: the first one's place, in words.
    """

    def __init__(self, chars: str, position: int, *, where: str = "", remedy: str = "") -> None:
        self.chars = chars
        self.position = position
        named = ", ".join(describe_char(c) for c in chars[:5]) + (", ..." if len(chars) > 5 else "")
        plural = "characters" if len(chars) > 1 else "character"
        self.where = place = where or f"the first at position {position}"
        advice = (
            remedy or "leave them out, or use a model that knows them (one of bytes, `level=byte`, knows every text)"
        )
        super().__init__(f"unknown {plural} {named} ({place}): the model's vocabulary lacks them; {advice}")


def describe_char(char: str) -> str:
    """A character by sight and number, harmless on a terminal.

    >>> describe_char("\\n"), describe_char("é")
    ("'\\\\n' (U+000A)", "'é' (U+00E9)")
    """
    return f"{char!r} (U+{ord(char):04X})"


@dataclass(frozen=True)
class Vocab:
    """Symbols and their ids: ids are ranks, so the order of symbols is part of a model.

    Attributes:
        level: "char", or "byte" for the 256 bytes of UTF-8 (or of anything).
        symbols: at level "char" the characters in ascending code point order; at level "byte" empty.

    >>> vocab = Vocab.of_text("hello")
    >>> vocab.symbols, vocab.encode("hello").tolist()
    ('ehlo', [1, 0, 2, 2, 3])
    """

    level: Level
    symbols: str
    _ranks: NDArray[np.uint32] = field(init=False, repr=False, compare=False)
    _points: NDArray[np.uint32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        points = code_points(self.symbols)
        ranks = np.full(int(points[-1]) + 1 if len(points) else 0, _UNKNOWN, np.uint32)
        ranks[points] = np.arange(len(points), dtype=np.uint32)
        object.__setattr__(self, "_points", points)
        object.__setattr__(self, "_ranks", ranks)

    @classmethod
    def of_text(cls, text: str) -> "Vocab":
        """The characters of ``text``."""
        return cls.of_points(np.unique(code_points(text)))

    @classmethod
    def of_points(cls, points: NDArray[np.uint32]) -> "Vocab":
        """The characters with these ascending, distinct code points.

        Raises:
            InputError: one is a surrogate, half a character, which some encodings can express.
        """
        halves = points[(points >= 0xD800) & (points < 0xE000)]
        if len(halves):
            raise InputError(
                f"the text has U+{halves[0]:04X}, half a character (a surrogate), which no text should have; "
                f"check the text's encoding, or model its bytes (`level=byte`)"
            )
        return cls("char", points.astype("<u4").tobytes().decode("utf-32-le"))

    @classmethod
    def bytes(cls) -> "Vocab":
        """The 256 bytes; the id of a byte is its value."""
        return cls("byte", "")

    @property
    def size(self) -> int:
        """V, the number of symbols."""
        return 256 if self.level == "byte" else len(self.symbols)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every id."""
        return np.min_scalar_type(max(self.size - 1, 0))

    def __contains__(self, char: object) -> bool:
        """Whether ``encode`` takes this one character."""
        if not isinstance(char, str) or len(char) != 1:
            return False
        return not "\ud800" <= char <= "\udfff" if self.level == "byte" else char in self.symbols

    def encode(self, text: str) -> Ids:
        """Ids (N,) of ``text``, of type ``dtype``.

        Raises:
            UnknownCharacterError: the vocabulary lacks some character of it.
        """
        if self.level == "byte":
            try:
                return np.frombuffer(text.encode(), np.uint8)
            except UnicodeEncodeError:
                # Half a character has no UTF-8: bytes of a command line that were not text arrive like this.
                halves = [i for i, char in enumerate(text) if char not in self]
                chars = "".join(dict.fromkeys(text[i] for i in halves))
                remedy = "they are halves of characters, which no text has: check the text's encoding"
                raise UnknownCharacterError(chars, halves[0], remedy=remedy) from None
        ids, known = self.encode_points(code_points(text))
        if not known.all():
            unknown = np.flatnonzero(~known)
            chars = "".join(dict.fromkeys(text[i] for i in unknown))
            raise UnknownCharacterError(chars, int(unknown[0]))
        return ids

    def encode_points(self, points: NDArray[np.uint32]) -> tuple[Ids, NDArray[np.bool_]]:
        """Ids (N,) of code points, and which are known; the id of an unknown one means nothing."""
        if not len(self._ranks):
            return np.zeros(len(points), self.dtype), np.zeros(len(points), np.bool_)
        inside = points < len(self._ranks)
        ranks = self._ranks[np.where(inside, points, 0)]
        known = inside & (ranks != _UNKNOWN)
        return ranks.astype(self.dtype), known

    def decode(self, ids: Ids | Sequence[int]) -> str:
        """The text of ``ids``; at level "byte", bytes that are not UTF-8 become U+FFFD."""
        array = np.asarray(ids)
        if self.level == "byte":
            return array.astype(np.uint8).tobytes().decode("utf-8", "replace")
        text: str = self._points[array].astype("<u4").tobytes().decode("utf-32-le")
        return text

    def measure(self, ids: Ids) -> tuple[int, int]:
        """Characters and UTF-8 bytes in ``ids``: at level "byte", a character is counted at its first byte."""
        if self.level == "byte":
            return int(np.count_nonzero((ids & 0xC0) != 0x80)), len(ids)
        if not len(ids):
            return 0, 0
        sizes = 1 + (self._points >= 0x80) + (self._points >= 0x800) + (self._points >= 0x10000)
        return len(ids), int(np.bincount(ids, minlength=self.size) @ sizes)

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as plain values, for ``from_json``."""
        return {"level": self.level, "symbols": [int(point) for point in self._points]}

    @classmethod
    def from_json(cls, values: object) -> "Vocab":
        """A vocabulary from plain values.

        Raises:
            InputError: they are not a vocabulary: code points not ascending or not distinct, or an unknown level.
        """
        if not isinstance(values, Mapping) or set(values) != {"level", "symbols"}:
            raise InputError("the vocabulary must have level and symbols")
        level, symbols = values["level"], values["symbols"]
        if level not in ("char", "byte") or not isinstance(symbols, list):
            raise InputError(f"the vocabulary's level is {level!r}; it must be char or byte, with a list of symbols")
        if level == "byte":
            if symbols:
                raise InputError("a vocabulary of bytes lists no symbols")
            return cls.bytes()
        if not 1 <= len(symbols) <= _NUM_CODE_POINTS:
            raise InputError(f"the vocabulary has {len(symbols)} symbols; it must have 1 to {_NUM_CODE_POINTS:,}")
        previous = -1
        for point in symbols:
            if type(point) is not int or not previous < point < _NUM_CODE_POINTS or 0xD800 <= point < 0xE000:
                raise InputError(f"the vocabulary's symbols must be ascending code points; {point!r} is out of place")
            previous = point
        return cls.of_points(np.array(symbols, np.uint32))


def code_points(text: str) -> NDArray[np.uint32]:
    """Code points (N,) of ``text``."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32, copy=False)
