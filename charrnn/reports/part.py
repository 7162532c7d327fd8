"""Which part of the held-out text a score is of, in words."""

from charrnn.units import Score

UNITS = {"char": "characters", "byte": "bytes"}
"""What symbols are called, by level."""


def num_scored(score: Score) -> int:
    """Symbols that a score is of: those predicted, and the first, which was given."""
    return score.num_predictions + 1


def held_out_part(num_symbols: int, num_held_out: int, *, level: str) -> str:
    """The first symbols of the held-out text, or all of it, in words.

    Args:
        num_symbols: how many are scored.
        num_held_out: how many there are.
        level: what a symbol is, "char" or "byte".

    >>> held_out_part(100_000, 100_000, level="byte")
    'all 100,000 held-out bytes'
    >>> held_out_part(5_000, 100_000, level="char")
    'the first 5,000 of 100,000 held-out characters'
    """
    unit = f"held-out {UNITS[level]}"
    if num_symbols < num_held_out:
        return f"the first {num_symbols:,} of {num_held_out:,} {unit}"
    return f"all {num_held_out:,} {unit}"
