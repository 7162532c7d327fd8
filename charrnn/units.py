"""Units of a language model's score: nats, bits, perplexity, and the sums they come from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def bits(nats: float) -> float:
    """Bits in ``nats``: nats / ln 2.

    >>> round(bits(math.log(2)), 12)
    1.0
    """
    return nats / math.log(2)


def perplexity(nats_per_char: float) -> float:
    """exp(nats per character): the size of a uniform choice that is equally hard; inf past float64.

    >>> round(perplexity(math.log(65)), 9)
    65.0
    """
    try:
        return math.exp(nats_per_char)
    except OverflowError:
        return math.inf


_LARGEST_SUM = 1e150  # of nats, or of their squares: its own square is finite


@dataclass(frozen=True, slots=True, repr=False)
class Score:
    """How well a model predicted a text: sums that add up over texts, and the averages made of them.

    A symbol is what the model predicts: a character, or a byte for a byte-level model. The first symbol of a
    text is given, not predicted, so N symbols give N - 1 predictions.

    Attributes:
        nats: sum over predictions of -ln p(symbol | all before), float64.
        nats_squared: sum over predictions of (-ln p)^2, for the standard error.
        num_predictions: symbols predicted.
        num_chars: characters predicted; equals num_predictions unless the symbols are bytes. A character whose first
            byte is given counts where its other bytes are predicted.
        num_bytes: UTF-8 bytes of the characters predicted.
        num_unknown: characters left out because the vocabulary lacks them; no other count has them.

    >>> s = Score(nats=2 * math.log(4), nats_squared=2 * math.log(4) ** 2, num_predictions=2, num_chars=2,
    ...           num_bytes=2)
    >>> s.bits_per_char, round((s + s).perplexity, 9)
    (2.0, 4.0)
    >>> s
    Score(1.3863 ± 0.0000 nats/char, 2.0000 bits/char, 2.0000 bits/byte, perplexity 4.000; 2 characters)
    """

    nats: float
    nats_squared: float
    num_predictions: int
    num_chars: int
    num_bytes: int
    num_unknown: int = 0

    @classmethod
    def from_sums(cls, values: Mapping[str, Any]) -> "Score":
        """A score from its sums and counts by name, as ``dataclasses.asdict`` gives them.

        Raises:
            ValueError: one is no count, or no sum that can be reckoned with.
            TypeError: one is missing, or there are others.
        """
        score = cls(**values)
        for name, value in values.items():
            if name.startswith("num_"):
                is_right = type(value) is int and 0 <= value < 1 << 62
            else:
                is_right = type(value) in (int, float) and 0 <= value <= _LARGEST_SUM
            if not is_right:
                raise ValueError(f"{name} is {value!r}")
        return score

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.nats + other.nats,
            self.nats_squared + other.nats_squared,
            self.num_predictions + other.num_predictions,
            self.num_chars + other.num_chars,
            self.num_bytes + other.num_bytes,
            self.num_unknown + other.num_unknown,
        )

    def __repr__(self) -> str:
        if not self.num_chars:
            return "Score(nothing predicted)"
        error = f" ± {self.standard_error:.4f}" if math.isfinite(self.standard_error) else ""
        unknown = f", {self.num_unknown:,} unknown left out" if self.num_unknown else ""
        return (
            f"Score({self.nats_per_char:.4f}{error} nats/char, {self.bits_per_char:.4f} bits/char, "
            f"{self.bits_per_byte:.4f} bits/byte, perplexity {self.perplexity:.3f}; "
            f"{self.num_chars:,} character{'' if self.num_chars == 1 else 's'}{unknown})"
        )

    @property
    def nats_per_char(self) -> float:
        """Mean nats per character; nan where nothing was predicted."""
        return self.nats / self.num_chars if self.num_chars else math.nan

    @property
    def nats_per_symbol(self) -> float:
        """Mean nats per symbol predicted: per character, or per byte for a byte-level model."""
        return self.nats / self.num_predictions if self.num_predictions else math.nan

    @property
    def bits_per_char(self) -> float:
        """Mean bits per character."""
        return bits(self.nats_per_char)

    @property
    def bits_per_byte(self) -> float:
        """Mean bits per UTF-8 byte: comparable between vocabularies; nan where nothing was predicted."""
        return bits(self.nats) / self.num_bytes if self.num_bytes else math.nan

    @property
    def nats_per_byte(self) -> float:
        """Mean nats per UTF-8 byte; nan where nothing was predicted."""
        return self.nats / self.num_bytes if self.num_bytes else math.nan

    @property
    def perplexity(self) -> float:
        """exp(nats_per_char)."""
        return perplexity(self.nats_per_char)

    @property
    def perplexity_per_byte(self) -> float:
        """exp(nats_per_byte)."""
        return perplexity(self.nats_per_byte)

    @property
    def standard_error(self) -> float:
        """Standard error of nats_per_char, taking predictions as independent; nan below two predictions."""
        return self._nats_error / self.num_chars if self.num_chars else math.nan

    @property
    def standard_error_per_byte(self) -> float:
        """Standard error of nats_per_byte, likewise."""
        return self._nats_error / self.num_bytes if self.num_bytes else math.nan

    @property
    def _nats_error(self) -> float:
        """Standard error of the sum, nats."""
        n = self.num_predictions
        if n < 2:
            return math.nan
        variance = max(self.nats_squared - self.nats * self.nats / n, 0.0) / (n - 1)
        return math.sqrt(n * variance)

    def to_json(self) -> dict[str, float | int | None]:
        """Counts, sums and averages as plain values; a number that is not finite is null."""
        values = {name: getattr(self, name) for name in FIGURES}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


FIGURES = (
    "num_chars",
    "num_bytes",
    "num_unknown",
    "num_predictions",
    "nats",
    "nats_per_char",
    "standard_error",
    "bits_per_char",
    "bits_per_byte",
    "perplexity",
)
"""What is reported of a score, in order."""

ZERO_SCORE = Score(nats=0.0, nats_squared=0.0, num_predictions=0, num_chars=0, num_bytes=0)
