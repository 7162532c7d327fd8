"""English prose from Python files: the paragraphs of their docstrings, without code, tables and lists.

Files are parsed, never imported or executed. A paragraph is taken if it reads as English when its markup is gone:
whole sentences of plain words in printable ASCII. One that was taken before is left out.
"""

import ast
import gc
import inspect
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_LEAST_SHARE = 0.02  # of a file that its docstrings make up: parsing a longer file for less is not worth the time
_MOST_BYTES = 1_000_000  # of a file; what is longer is a table
_LEAST_WORDS = 8
_LEAST_PLAIN = 0.9  # share of words that are made of letters alone
_WIDTH = 60  # columns: a line fits any terminal

_HEADING = re.compile(r"^.+\n *([-=~^])\1{2,} *$", re.MULTILINE)
_GAP = re.compile(r"\n\s*\n")
_ROLE = re.compile(r":[a-z:+-]+:(?=`)")
_CITATION = re.compile(r" ?\[[\w-]+\]_")
_QUOTED = re.compile(r"(`+)(~?)([^`<]*?)(?: *<[^`>]*>)?\1_{0,2}")
_EMPHASIS = re.compile(r"(\*{1,2})(?=[^\s*])([^*]*[^\s*])\1")
_SIGNS = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-"})
_SENTENCES = re.compile(r"[A-Z][A-Za-z0-9_ .,;:!?'\"()/-]*[.!?][\"')]*")
_WORD = re.compile(r"[A-Za-z]+(?:['/-][A-Za-z]+)*")
_LINE = re.compile(rf"(.{{1,{_WIDTH}}}|\S+)(?: |$)")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def prose_of(contents: Iterable[bytes]) -> Iterator[str]:
    """The prose of each of these Python files, in turn; a paragraph that came before is left out.

    Args:
        contents: of the files; one that is not Python has no prose.
    """
    seen: set[str] = set()
    for content in contents:
        new = []
        for paragraph in (each for docstring in _docstrings(content) for each in _paragraphs(docstring)):
            if paragraph not in seen:
                seen.add(paragraph)
                new.append(paragraph)
        yield "".join(f"{_wrapped(each)}\n" for each in new)


def _docstrings(content: bytes) -> list[str]:
    quoted = sum(map(len, content.split(b'"""')[1::2]))
    if len(content) > _MOST_BYTES or quoted < _LEAST_SHARE * len(content):
        return []
    try:
        with warnings.catch_warnings(), _without_collection():
            warnings.simplefilter("ignore")  # what the author of a file is warned of is nothing to us
            return list(_docstrings_below(ast.parse(content)))
    except (SyntaxError, ValueError, RecursionError):  # no Python, or that of another version
        return []


@contextmanager
def _without_collection() -> Iterator[None]:
    """Without a search for garbage: a syntax tree is many objects, and to look at each takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _docstrings_below(node: ast.AST) -> Iterator[str]:
    if isinstance(node, _DOCUMENTED):
        yield inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
    for statement in getattr(node, "body", ()):
        yield from _docstrings_below(statement)


def _paragraphs(docstring: str) -> Iterator[str]:
    """What reads as English, each paragraph in one line.

    >>> list(_paragraphs("The *mean* of all ``values`` that are given, in float64.\\n\\n>>> mean([1, 2])\\n1.5"))
    ['The mean of all values that are given, in float64.']
    """
    for block in _GAP.split(_HEADING.sub("\n", docstring)):
        if any(line[:1].isspace() for line in block.strip("\n").splitlines()):
            continue  # a list of parameters, or code
        paragraph = _plain(block)
        words = paragraph.split()
        num_plain = sum(_WORD.fullmatch(word.strip(".,;:!?\"'()")) is not None for word in words)
        if _SENTENCES.fullmatch(paragraph) and len(words) >= _LEAST_WORDS and num_plain >= _LEAST_PLAIN * len(words):
            yield paragraph


def _plain(block: str) -> str:
    r"""The text without markup, accents and typographic signs, in one line.

    >>> _plain("See :func:`~torch.nn.init` and\n**never** [1]_ the `naïve way <https://x.org>`__.")
    'See init and never the naive way.'
    """
    text = _CITATION.sub("", _ROLE.sub("", block))
    text = _QUOTED.sub(lambda match: match[3].rsplit(".", 1)[-1] if match[2] else match[3], text)
    text = _EMPHASIS.sub(r"\2", text)
    text = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    return " ".join("".join(char for char in text if not unicodedata.combining(char)).split())


def _wrapped(paragraph: str) -> str:
    return _LINE.sub(r"\1\n", paragraph)
