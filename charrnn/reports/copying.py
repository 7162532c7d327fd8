"""What samples have copied, in a line and as JSON."""

from typing import Any

from charrnn.inference.copying import Copying

_SHOWN = 60  # characters of a passage


def copying_to_json(found: Copying) -> dict[str, Any]:
    """What was copied as plain JSON values; of the passage the first 60 characters."""
    longest = {"sample": found.sample, "num_chars": len(found.longest), "begins": found.longest[:_SHOWN]}
    return {"num_words": found.num_words, "num_known_words": found.num_known_words, "longest": longest}


def copying_line(found: Copying, *, num_samples: int) -> str:
    """What was copied in a line.

    >>> copying_line(Copying(num_words=4, num_known_words=3, longest="the king", sample=0), num_samples=1)
    "copying: 3 of 4 words (75 %) are in the training text; longest passage copied: 8 characters, 'the king'"
    """
    share = f" ({found.num_known_words / found.num_words:.0%})".replace("%", " %") if found.num_words else ""
    where = f" in sample {found.sample + 1}" if num_samples > 1 and found.longest else ""
    num_chars = f"{len(found.longest):,} character{'' if len(found.longest) == 1 else 's'}"
    shown = f", {found.longest[:_SHOWN]!r}" + ("..." if len(found.longest) > _SHOWN else "") if found.longest else ""
    return (
        f"copying: {found.num_known_words:,} of {found.num_words:,} words{share} are in the training text; "
        f"longest passage copied: {num_chars}{where}{shown}"
    )
