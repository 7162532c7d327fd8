"""What a text has in common with the text that a model has learned from: words, and passages word for word."""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.text.vocab import Vocab
from charrnn.text.window_hash import are_among, distinct, iterate_hashes, window_hashes

Ids = NDArray[Any]

_WORD = re.compile(r"\w+")
_SYMBOLS_AT_ONCE = 1 << 18
_FIRST_LENGTH = 16  # few stretches of a written text that are longer stand in another one


class Written(NamedTuple):
    """A text that a model has written.

    Attributes:
        prompt: what it goes on from.
        text: without the prompt.
        is_cut: whether it ends where its length was reached, perhaps within a word.
    """

    prompt: str
    text: str
    is_cut: bool


@dataclass(frozen=True)
class Copying:
    """What texts have in common with a training text.

    Attributes:
        num_words: runs of letters, digits and underscores that end in the texts, without a last one that is cut.
        num_known_words: those of them that the training text has too, as words.
        longest: the longest passage of a text, without its prompt, that stands in the training text word for word.
        sample: index of the text that has it.
    """

    num_words: int
    num_known_words: int
    longest: str
    sample: int


def copying_of(texts: Sequence[Written], learned: Ids, vocab: Vocab) -> Copying:
    """What texts have in common with the text that a model has learned from.

    Args:
        texts: of the vocabulary's symbols.
        learned: (N,) symbols of the training text.
        vocab: their vocabulary.
    """
    words = [word for written in texts for word in _words(written)]
    known = _known_words(set(words), learned, vocab)
    # A symbol that no text has stands between them, so that no passage goes from one to the next.
    end = np.array([vocab.size])
    parts = [np.concatenate([vocab.encode(written.text), end]) for written in texts]
    begin, length = longest_common(np.concatenate(parts), learned)
    longest = vocab.decode(np.concatenate(parts)[begin : begin + length])
    if vocab.level == "byte":
        longest = longest.strip("\ufffd")  # bytes of a character that is cut
    ends = np.cumsum([len(part) for part in parts])
    sample = int(np.searchsorted(ends, begin, side="right"))
    return Copying(len(words), sum(word in known for word in words), longest, sample)


def longest_common(ids: Ids, text: Ids) -> tuple[int, int]:
    """Begin and length of the longest stretch of ``ids`` that ``text`` has too; the first of those as long.

    Args:
        ids: (M,) symbols.
        text: (N,) symbols; read a part at a time.

    >>> longest_common(np.array([1, 2, 3, 4]), np.array([9, 2, 3, 2]))
    (1, 2)
    """
    parts = list(range(0, len(text), _SYMBOLS_AT_ONCE))  # where those begin that may hold a stretch so long
    most = min(len(ids), len(text))
    begin, length, too_long = 0, 0, most + 1
    tried = min(_FIRST_LENGTH, most)
    while length + 1 < too_long:
        where, found = _common(ids, text, tried, parts)
        if found:
            begin, length, parts = where, tried, found
        else:
            too_long = tried
        tried = min(2 * length, most) if too_long > most else (length + too_long) // 2
    return begin, length


def _common(ids: Ids, text: Ids, length: int, parts: Sequence[int]) -> tuple[int, list[int]]:
    """Where the first stretch of ``ids`` begins that ``text`` has too, and the parts of ``text`` that have any."""
    hashes = window_hashes(ids, length)
    sought = distinct(hashes)
    seen = np.zeros(len(sought), np.bool_)
    found = []
    for part in parts:
        windows = window_hashes(np.asarray(text[part : part + _SYMBOLS_AT_ONCE + length - 1]), length)
        windows = windows[are_among(windows, sought)]
        if len(windows):
            seen[np.searchsorted(sought, windows)] = True
            found.append(part)
    return int(np.argmax(are_among(hashes, sought[seen]))) if found else 0, found


def copied_share(ids: Ids, text: Ids, *, length: int) -> float:
    """The share of ``ids`` that lies in stretches of ``length`` symbols or more which ``text`` has too.

    Args:
        ids: (M,) symbols.
        text: (N,) symbols; read a part at a time.
        length: of the shortest stretch that counts; a shorter ``ids`` counts as a whole.
    """
    length = min(length, len(ids))
    if not length:
        return 0.0
    hashes = window_hashes(ids, length)
    sought = distinct(hashes)
    seen = np.zeros(len(sought), np.bool_)
    for _, windows in iterate_hashes(text, length):
        seen[np.searchsorted(sought, windows[are_among(windows, sought)])] = True
    begins = np.flatnonzero(are_among(hashes, sought[seen]))
    edges = np.zeros(len(ids) + 1, np.int64)
    edges[begins] += 1
    edges[begins + length] -= 1
    return float(np.count_nonzero(np.cumsum(edges)[:-1]) / len(ids))


def _words(written: Written) -> Iterator[str]:
    whole = written.prompt + written.text
    for match in _WORD.finditer(whole):
        if match.end() > len(written.prompt) and not (written.is_cut and match.end() == len(whole)):
            yield match.group()


def _known_words(words: set[str], learned: Ids, vocab: Vocab) -> set[str]:
    """Those of ``words`` that a text has as words; the text is read a part at a time."""
    known: set[str] = set()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for begin in range(0, len(learned), _SYMBOLS_AT_ONCE):
        ids = np.asarray(learned[begin : begin + _SYMBOLS_AT_ONCE])
        is_last = begin + len(ids) == len(learned)
        text = rest + (decoder.decode(ids.tobytes(), is_last) if vocab.level == "byte" else vocab.decode(ids))
        found = [match.span() for match in _WORD.finditer(text)]
        # The last word may go on in the next part.
        rest = text[found.pop()[0] :] if found and found[-1][1] == len(text) and not is_last else ""
        known |= words & {text[start:end] for start, end in found}
    return known
