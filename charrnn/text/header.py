"""C and C++ headers made fit to learn from: what aligns or adorns them, and what many of them repeat, left out.

What repeats is left out block by block, not line by line. A block is what stands between blank lines; a comment on
lines of its own is one too. Lines repeat because that is how code is: without the second ``}`` and the second
``private:`` it is code no more.
"""

import re
from collections.abc import Iterable, Iterator

_TAB = 8  # columns
_INNER_SPACES = re.compile(r"(?<=\S) {2,}")
_LONG_RUN = re.compile(r"(.)\1{16,}")  # indentation, ruled lines: inside such a run one more seems most probable
_RUN_KEPT = 16
_TRAILING_SPACES = re.compile(r" +$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")
# Of a header as a whole: one that may not be included under some condition says so around all it holds.
_FORBIDDING = re.compile(r"\A#if[^\n]*\n(.*\n)# ?else\n# ?error[^\n]*\n# ?endif[^\n]*\n\Z", re.DOTALL)
_ONCE = re.compile(r"^# ?pragma once\n", re.MULTILINE)
_BLOCKS = re.compile(r"((?:^ *//.*\n)+|^ */\*(?s:.*?)\*/\n|\n{2,})", re.MULTILINE)
_LICENCE = re.compile(r"\b(copyright|licen[cs]ed under)\b", re.IGNORECASE)
_CONDITION = re.compile(r"^ *# ?(if|endif)", re.MULTILINE)


def clean_headers(texts: Iterable[str]) -> Iterator[str]:
    """Each of these headers, cleaned, in turn.

    Spaces inside a line become one, runs of one sign are cut to 16, indentation among them; licences, guards around a
    whole header, and blocks that came before go. A blank line ends each.

    Args:
        texts: of the headers.
    """
    seen: set[str] = set()
    for text in texts:
        cleaned = _without_repeats(_without_guard(_without_alignment(text)), seen)
        yield f"{cleaned}\n" if cleaned else ""


def _without_alignment(text: str) -> str:
    r"""The text with one space inside a line where there were more, none at its end, and no long run of one sign.

    >>> _without_alignment("#define F(x)     \\\n" + 20 * " " + "g(x);\n/" + 70 * "*" + "/\n")
    '#define F(x) \\\n                g(x);\n/****************/\n'
    """
    text = _INNER_SPACES.sub(" ", text.expandtabs(_TAB))
    text = _LONG_RUN.sub(lambda run: run[1] * _RUN_KEPT, text)
    return _tidy(text)


def _without_guard(text: str) -> str:
    guarded = _FORBIDDING.match(text)
    return _ONCE.sub("", guarded[1] if guarded else text)


def _without_repeats(text: str, seen: set[str]) -> str:
    kept = []
    for block in _BLOCKS.split(text):
        content = block.strip("\n")
        if content and (_is_licence(content) or (content in seen and _can_go(content))):
            continue
        seen.add(content)
        kept.append(block)
    return _tidy("".join(kept))


def _is_licence(block: str) -> bool:
    return _is_comment(block) and _LICENCE.search(block) is not None


def _can_go(block: str) -> bool:
    """Whether what is around the block stays whole without it: it is a comment, or lines that close what they open."""
    if _is_comment(block):
        return True
    conditions = [match[1] for match in _CONDITION.finditer(block)]
    return (
        "\n" in block and block.count("{") == block.count("}") and conditions.count("if") == conditions.count("endif")
    )


def _is_comment(block: str) -> bool:
    return block.lstrip().startswith(("//", "/*"))


def _tidy(text: str) -> str:
    text = _BLANK_LINES.sub("\n\n", _TRAILING_SPACES.sub("", text)).strip("\n")
    return text + "\n" if text else ""
