"""Results to standard output: exact into a pipe, harmless on a terminal, an error when they cannot be written.

Text from a model, a file or a file name may hold escape sequences that command a terminal. Where standard
output is a terminal they are shown, not sent.
"""

import contextlib
import errno
import io
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, TextIO

from charrnn.errors import ExitCode, OutputError
from charrnn.reports.style import fitted, message_on_terminal, num_columns, painted, shows_colour

# C0 but tab and newline, DEL and C1; controls of writing direction, which reorder what is around them; lone
# surrogates, which no encoding can write.
_ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_LEAST_TEXT = 12  # characters of a column of texts
_RICH_STYLES = {"good": "green", "bad": "red"}


def inert(text: str) -> str:
    r"""The text with every character that a terminal acts on shown as an escape; newline and tab stay.

    >>> inert("a\x1b[2Jb\n")
    'a\\x1b[2Jb\n'
    """
    return _ACTIVE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def write_result(text: str, *, raw: bool = False) -> None:
    """Writes a piece of the result to standard output, in UTF-8 whatever the locale, and sends it at once.

    Args:
        text: what to write.
        raw: send control characters to a terminal as they are.

    Raises:
        OutputError: the output cannot be written, for one because its disk is full.
        SystemExit: with code 141 and no word, when the reader went away, as ``head`` does.
    """
    if not raw and is_terminal():
        text = inert(text)
    try:
        sys.stdout.flush()  # what others wrote as text comes first
        sys.stdout.buffer.write(text.encode("utf-8", errors="backslashreplace"))
        sys.stdout.buffer.flush()
    except OSError as error:
        raise_for_stdout(error)


def raise_for_stdout(error: OSError) -> NoReturn:
    """Ends what writes to standard output after a write that failed.

    Raises:
        OutputError: it is closed, its disk is full, or the like.
        SystemExit: with code 141 and no word, when the reader went away, as ``head`` does.
    """
    _abandon(sys.stdout)
    if error.errno == errno.EPIPE:
        raise SystemExit(int(ExitCode.BROKEN_PIPE)) from None
    if error.errno == errno.EBADF:
        raise OutputError("standard output is closed; give the result somewhere to go") from error
    raise OutputError(f"cannot write to standard output: {error.strerror or error}") from error


def say(message: str, *, on_new_line: bool = False) -> None:
    """A line on standard error; that it cannot be written is no reason to end anything.

    Args:
        message: the line.
        on_new_line: begin below what stands on a terminal's line: a bar, half a sample, the terminal's own ^C.
    """
    if sys.stderr is None or sys.stderr.closed:
        return
    with contextlib.suppress(OSError):
        is_on_terminal = sys.stderr.isatty()
        start = "\n" if on_new_line and is_on_terminal else ""
        width = num_columns(sys.stderr) if is_on_terminal else 0
        shown = message_on_terminal(inert(message), width, colour=shows_colour(sys.stderr))
        with BELOW.aside():
            sys.stderr.write(f"{start}{shown}\n")
            sys.stderr.flush()


class Below:
    """The last lines of a terminal, which are drawn again and again while other lines go by above them.

    The cursor stands behind the last of them. It is never hidden: a process that is killed could not show it again.
    """

    def __init__(self) -> None:
        self._stream: TextIO | None = None
        self._widths: list[int] = []  # of the lines that stand there, in characters
        self._lock = threading.RLock()  # a signal is answered by a thread of its own

    def draw(self, stream: TextIO, lines: Sequence[str], widths: Sequence[int], *, above: str = "") -> None:
        """Puts these lines there, in place of those before.

        Args:
            stream: the terminal.
            lines: each without a line's end, no wider than the terminal.
            widths: of the lines, in characters.
            above: lines that stay above them, each with its end.
        """
        with self._lock, contextlib.suppress(OSError):
            text = self._back() + above.replace("\n", "\x1b[K\n") + "\x1b[K\n".join(lines) + "\x1b[J"
            self._stream, self._widths = stream, list(widths)
            stream.write(text)
            stream.flush()

    def draw_last(self, line: str, width: int) -> None:
        """Puts another line in place of the last."""
        with self._lock, contextlib.suppress(OSError):
            if self._stream is None:
                return
            self._widths[-1] = width
            self._stream.write(f"\r{line}\x1b[K")
            self._stream.flush()

    def clear(self) -> None:
        """Takes the lines away; what is written next stands where they began."""
        with self._lock, contextlib.suppress(OSError):
            if self._stream is not None:
                self._stream.write(self._back() + "\x1b[J")
                self._stream.flush()
            self._stream, self._widths = None, []

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Takes the lines away for what the block writes; they come back when they are drawn the next time."""
        with self._lock:
            self.clear()
            yield

    def _back(self) -> str:
        """To where the lines begin; a terminal that became narrower has wrapped them."""
        if self._stream is None:
            return ""
        columns = num_columns(self._stream)
        num_lines = sum(max(1, -(-width // columns)) for width in self._widths)
        return "\r" + (f"\x1b[{num_lines - 1}A" if num_lines > 1 else "")


BELOW = Below()
"""Those of standard error's terminal."""


def write_note(text: str) -> None:
    """Writes a line beside the result, to standard error; silent where that is no terminal."""
    if sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty():
        say(text)


def prepare_standard_streams() -> None:
    """Makes sure that each standard stream can be used, whatever the shell did to it.

    A stream that is closed gets a file that is always empty (input), never takes a byte (output) or loses all that it
    is given (error): else the next file to be opened would get its number, and receive what is meant for it. Standard
    error that cannot be written, closed or on a full disk, loses what it is given: no reason to end anything.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, flags)
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(_Closed(), encoding="utf-8", write_through=True)
    if sys.stderr is sys.__stderr__:
        encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
        raw = io.BufferedWriter(_Lossy(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=True)


class _Lossy(io.FileIO):
    """A file to which every write succeeds."""

    def write(self, data: Any) -> int:  # noqa: ANN401 - any bytes
        """Writes, or loses all of it."""
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


class _Closed(io.BufferedIOBase):
    """A file to which no write succeeds, and which has nothing to close."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - any bytes
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _abandon(stream: TextIO) -> None:
    """Sends what is still buffered nowhere: else the interpreter tries again at its end, and complains."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def write_facts(rows: Sequence[tuple[str, str]]) -> None:
    """Writes what is known of a thing to standard output, a line each: its name, then its value.

    Args:
        rows: name and value; "" names what the name above names. A value that begins with "charrnn " is a command to
            copy, and never cut into lines; no path is cut either.
    """
    cells = [(_one_line(name), _one_line(value)) for name, value in rows]
    width = max(len(name) for name, _ in cells) + 2
    columns = num_columns(sys.stdout)
    lines = []
    for name, value in cells:
        label = f"{name:<{width}}"
        if is_terminal() and not value.startswith("charrnn "):
            cuts_words = "/" not in value and columns - width >= _LEAST_TEXT
            value = fitted(value, columns, indent=width, cuts_words=cuts_words)
        if is_terminal() and shows_colour(sys.stdout):
            label = painted(name, "name") + " " * (width - len(name))
        lines.append(f"{label}{value}".rstrip() + "\n")
    write_result("".join(lines), raw=True)


def write_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, align: str, styles: Mapping[str, str] | None = None
) -> None:
    """Writes a table to standard output: ruled on a terminal, plain columns elsewhere, the numbers the same.

    On a terminal too narrow for its numbers each row becomes a list of its cells.

    Args:
        headings: one per column, words joined by underscores; "" for none.
        rows: cells as text, already formatted.
        align: one letter per column: "l" for text, set to the left, or "r" for numbers, set to the right.
        styles: of cells, by their text: "good" or "bad".
    """
    cells = [[_one_line(cell) for cell in row] for row in rows]
    if not is_terminal():
        write_result(_plain(headings, cells, align))
    elif any(headings) and _least_width(headings, cells, align) > num_columns(sys.stdout):
        for row in cells:
            write_facts(list(zip(headings, row, strict=True)))
            write_result("\n")
    else:
        write_result(_ruled(headings, cells, align, styles or {}), raw=True)


def _one_line(cell: str) -> str:
    return inert(cell).replace("\n", "\\n").replace("\t", "\\t")


def _plain(headings: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    lines = [list(headings), *rows] if any(headings) else rows
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    if align.endswith("l"):
        widths[-1] = 0  # nothing stands to the right: each row need not be as long as the longest
    written = []
    for line in lines:
        columns = [
            cell.ljust(width) if side == "l" else cell.rjust(width)
            for cell, width, side in zip(line, widths, align, strict=True)
        ]
        written.append("  ".join(columns).rstrip() + "\n")
    return "".join(written)


def _least_width(headings: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> int:
    """Characters of a table whose numbers are whole and whose texts have room for a word."""
    width = 0
    for column, side in enumerate(align):
        parts = [*headings[column].split("_"), *(row[column] for row in rows)]
        widest = max(map(len, parts))
        width += 2 + (min(_LEAST_TEXT, widest) if side == "l" else widest)
    return width - 2


def _ruled(headings: Sequence[str], rows: Sequence[Sequence[str]], align: str, styles: Mapping[str, str]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, show_header=any(headings), show_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    for heading, side in zip(headings, align, strict=True):
        if side == "l":
            table.add_column(Text(heading), overflow="fold")
        else:
            # A heading of several words stands in several lines: columns are as narrow as their numbers.
            table.add_column(Text(heading.replace("_", "\n")), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell, style=_RICH_STYLES.get(styles.get(cell, ""), "")) for cell in row))
    # Rendered to text first: rich ends the process its own way on a broken pipe.
    rendered = io.StringIO()
    system: Any = "standard" if shows_colour(sys.stdout) else None
    Console(file=rendered, color_system=system, force_terminal=True, width=num_columns(sys.stdout)).print(table)
    return "".join(f"{line.rstrip()}\n" for line in rendered.getvalue().splitlines())
