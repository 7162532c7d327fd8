"""How text looks on a terminal: its colours, and lines that fit its width."""

import os
import re
import textwrap
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

_DUMB = ("dumb", "unknown")
_CODES = {
    "strong": "1",
    "weak": "2",
    "good": "32",
    "bad": "31",
    "name": "1;36",
    "value": "33",
    "error": "1;31",
    "warning": "1;33",
}
_LABEL = re.compile(r"([a-z]+):( +)")
_LABELS = {
    "charrnn": "error",
    "warning": "warning",
    **dict.fromkeys(("note", "text", "model", "train", "run", "score", "best"), "name"),
}
_USUAL_COLUMNS = 80


def shows_colour(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Whether what goes to ``stream`` is coloured: never where it is no terminal, and there unless the user objects.

    NO_COLOR with any value and TERM=dumb turn colours off, as does CLICOLOR=0 without FORCE_COLOR or CLICOLOR_FORCE.
    What forces colours elsewhere does not force them into a pipe, where others would have to take them out again.

    Args:
        stream: standard output or standard error.
        environment: variables; none: those of this process.

    Source: no-color.org, force-color.org, bixense.com/clicolors.
    """
    known = os.environ if environment is None else environment
    if not stream.isatty() or known.get("NO_COLOR") or known.get("TERM", "").lower() in _DUMB:
        return False
    is_forced = bool(known.get("FORCE_COLOR")) or known.get("CLICOLOR_FORCE", "0") not in ("", "0")
    return is_forced or known.get("CLICOLOR") != "0"


def can_move_cursor(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that obeys more than a carriage return, and knows more than ASCII."""
    is_able = os.environ.get("TERM", "").lower() not in ("", *_DUMB)
    return stream.isatty() and is_able and (stream.encoding or "").lower().replace("-", "") == "utf8"


def num_columns(stream: TextIO) -> int:
    """Characters in a line of the terminal behind ``stream``: COLUMNS where it is set, 80 where there is none."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    return _USUAL_COLUMNS


def painted(text: str, style: str) -> str:
    """The text in a style of ``_CODES``; nothing stays nothing.

    >>> painted("whole", "good")
    '\\x1b[32mwhole\\x1b[0m'
    """
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if text else ""


def fitted(text: str, width: int, *, indent: int = 0, cuts_words: bool = False) -> str:
    """The text in lines of at most ``width`` characters, but for words that are longer: a path stays whole.

    Args:
        text: to be cut into lines; each line of it by itself.
        width: of a line, in characters.
        indent: spaces before each line but the first, which has as many characters before it.
        cuts_words: cut words that are longer too.
    """
    lines = []
    for line in text.split("\n"):
        lines += textwrap.wrap(
            line, max(width - indent, 1), break_long_words=cuts_words, break_on_hyphens=False, replace_whitespace=False
        ) or [""]
    return f"\n{' ' * indent}".join(lines)


def message_on_terminal(message: str, width: int, *, colour: bool) -> str:
    """A message as a terminal shows it: cut to its width, under its label if it begins with one ("note: ...").

    Args:
        message: one that a terminal does not act on. A command at its end, after a colon, is never cut: it has a line
            of its own where it does not fit.
        width: of a line, in characters; 0 leaves the lines as they are.
        colour: whether the label is coloured.
    """
    match = _LABEL.match(message)
    label, word = match.group(0, 1) if match else ("", "")
    rest = message.removeprefix(label)
    if width and len(label + rest) > width:
        before, colon, command = rest.rpartition(": charrnn ")
        rest = fitted(f"{before}:" if colon else rest, width, indent=len(label))
        rest += f"\n{' ' * len(label)}charrnn {command}" if colon else ""
    if colour and word in _LABELS:
        label = painted(f"{word}:", _LABELS[word]) + label.removeprefix(f"{word}:")
    return label + rest
