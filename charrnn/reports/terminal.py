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
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from charrnn.errors import ExitCode, OutputError

# C0 but tab and newline, DEL and C1; controls of writing direction, which reorder what is around them; lone
# surrogates, which no encoding can write.
_ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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
        start = "\n" if on_new_line and sys.stderr.isatty() else ""
        sys.stderr.write(f"{start}{inert(message)}\n")
        sys.stderr.flush()


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


def write_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, align: str) -> None:
    """Writes a table to standard output: ruled on a terminal, plain columns elsewhere, the numbers the same.

    Args:
        headings: one per column, words joined by underscores; "" for none.
        rows: cells as text, already formatted.
        align: one letter per column: "l" for text, set to the left, or "r" for numbers, set to the right.
    """
    cells = [[_one_line(cell) for cell in row] for row in rows]
    if is_terminal():
        write_result(_ruled(headings, cells, align))
        return
    lines = [list(headings), *cells] if any(headings) else cells
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
    write_result("".join(written))


def _one_line(cell: str) -> str:
    return inert(cell).replace("\n", "\\n").replace("\t", "\\t")


def _ruled(headings: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    import io
    import shutil

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_header=any(headings), padding=(0, 1, 0, 0), pad_edge=False)
    width = 2
    for column, (heading, side) in enumerate(zip(headings, align, strict=True)):
        if side == "l":
            table.add_column(Text(heading), overflow="fold")
            width += 2 + 12
        else:
            # A heading of several words stands in several lines: columns are as narrow as their numbers.
            table.add_column(Text(heading.replace("_", "\n")), justify="right", vertical="top", no_wrap=True)
            parts = [*heading.split("_"), *(row[column] for row in rows)]
            width += 2 + max(len(part) for part in parts)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # Rendered to text first: rich ends the process its own way on a broken pipe. Numbers are never cut: a
    # terminal too narrow for them wraps the lines.
    rendered = io.StringIO()
    columns = max(shutil.get_terminal_size().columns, width)
    Console(file=rendered, color_system=None, width=columns).print(table)
    return rendered.getvalue()
