"""What a person can name in a text: the place in the line, what stands in quotes, brackets or comments, words.

A feature has a value after each character: what a reader knows who has read up to it. Text is text: quotes and
comments are told by simple rules that suit prose and languages like C, not by a parser.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

Values = NDArray[np.float32]

_LEAST = 20  # characters that must have each of two values, so that a correlation means something
_TAB = 8  # columns


class Feature(NamedTuple):
    """Something to follow.

    Attributes:
        name: in words.
        values: (N,) float32 after each character.
        is_binary: whether it is so or not; else it is a number.
    """

    name: str
    values: Values
    is_binary: bool


def features_of(text: str) -> list[Feature]:
    """All features of a text, also those that never vary in it; see ``varies``."""
    numbers: dict[str, Callable[[str], list[float]]] = {
        "position in the line": _position_in_line,
        "position in the paragraph": _position_in_paragraph,
        "position in the word": _position_in_word,
        "depth of indentation": _indentation,
        "depth of brackets": lambda text: _depth(text, "([{", ")]}"),
    }
    facts: dict[str, Callable[[str], list[bool]]] = {
        "inside quotes": _in_quotes,
        "inside round brackets": lambda text: [depth > 0 for depth in _depth(text, "(", ")")],
        "inside square brackets": lambda text: [depth > 0 for depth in _depth(text, "[", "]")],
        "inside curly brackets": lambda text: [depth > 0 for depth in _depth(text, "{", "}")],
        "inside a comment": _in_comment,
        "in the indentation": _in_indentation,
        "inside a word": lambda text: [char.isalnum() or char in "_'" for char in text],
        "inside a word of capitals": _in_capitals,
        "inside a number": lambda text: [char.isdigit() for char in text],
        "a sentence begins": _sentence_begins,
        "after a line's end": lambda text: [char == "\n" for char in text],
    }
    found = [Feature(name, np.array(measure(text), np.float32), False) for name, measure in numbers.items()]
    return found + [Feature(name, np.array(tell(text), np.float32), True) for name, tell in facts.items()]


def varies(feature: Feature, rows: slice) -> bool:
    """Whether some characters of a part of the text differ from enough others for a correlation to mean something."""
    values = feature.values[rows]
    if not len(values):
        return False
    num_usual = int(np.count_nonzero(values == np.median(values)))
    num_others = len(values) - num_usual
    return num_others >= _LEAST and (num_usual >= _LEAST or not feature.is_binary)


def _position_in_line(text: str) -> list[float]:
    found, position = [], 0
    for char in text:
        position = 0 if char == "\n" else position + 1
        found.append(float(position))
    return found


def _position_in_paragraph(text: str) -> list[float]:
    """Characters since an empty line."""
    found, position, before = [], 0, ""
    for char in text:
        position = 0 if char == "\n" and before == "\n" else position + 1
        before = char
        found.append(float(position))
    return found


def _position_in_word(text: str) -> list[float]:
    found, position = [], 0
    for char in text:
        position = position + 1 if char.isalnum() or char in "_'" else 0
        found.append(float(position))
    return found


def _indentation(text: str) -> list[float]:
    """Columns of blanks at the line's beginning, as far as it has been read."""
    found, columns, is_open = [], 0, True
    for char in text:
        if char == "\n":
            columns, is_open = 0, True
        elif is_open and char == " ":
            columns += 1
        elif is_open and char == "\t":
            columns += _TAB - columns % _TAB
        else:
            is_open = False
        found.append(float(columns))
    return found


def _in_indentation(text: str) -> list[bool]:
    found, is_open = [], True
    for char in text:
        is_open = char == "\n" or (is_open and char in " \t")
        found.append(is_open and char != "\n")
    return found


def _depth(text: str, opening: str, closing: str) -> list[float]:
    """Brackets open; what closes none is passed over."""
    found, depth = [], 0
    for char in text:
        if char in opening:
            depth += 1
        elif char in closing:
            depth = max(depth - 1, 0)
        found.append(float(depth))
    return found


def _in_quotes(text: str) -> list[bool]:
    """Between double quotes, straight or curly; an empty line closes them, and so does a line's end after code."""
    found, is_open, is_escaped = [], False, False
    for at, char in enumerate(text):
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        if char == '"' and not is_escaped and not (before == after == "'"):
            is_open = not is_open
        elif char in "\u201c\u201e":
            is_open = True
        elif char == "\u201d" or (char == "\n" and (before in ("\n", ";", "{", "}", ")") or after == "\n")):
            is_open = False
        is_escaped = char == "\\" and not is_escaped
        found.append(is_open)
    return found


def _in_comment(text: str) -> list[bool]:
    """Between /* and */, or from // to the line's end."""
    found: list[bool] = []
    kind, began = "", 0
    for at, char in enumerate(text):
        pair = text[at - 1 : at + 1] if at else ""
        if not kind and pair in ("/*", "//") and text[max(at - 2, 0) : at - 1] != ":":
            kind, began = pair, at
        elif (kind == "/*" and pair == "*/" and at > began + 1) or (kind == "//" and char == "\n"):
            kind = ""
        found.append(bool(kind))
    return found


def _in_capitals(text: str) -> list[bool]:
    """In a word whose letters so far, two or more, are capitals."""
    found, num_letters, is_all = [], 0, True
    for char in text:
        if char.isalpha():
            num_letters, is_all = num_letters + 1, is_all and char.isupper()
        elif not (char.isdigit() or char == "_"):
            num_letters, is_all = 0, True
        found.append(is_all and num_letters >= 2)
    return found


def _sentence_begins(text: str) -> list[bool]:
    """A period, a question or an exclamation mark and a blank are behind, the next letter is not yet there."""
    found, is_ended, is_open = [], False, False
    for char in text:
        if char in ".!?":
            is_ended, is_open = True, False
        elif char.isspace():
            is_open = is_open or is_ended
            is_ended = False
        elif char.isalnum():
            is_ended = is_open = False
        found.append(is_open)
    return found
