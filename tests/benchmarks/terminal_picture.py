"""The picture of a terminal in the README: a real run while it trains, then its end and a text that it writes.

    python tests/benchmarks/terminal_picture.py corpora/english.txt docs/pictures/terminal.svg

It shows what the commands below wrote to a terminal of 80 columns, in its colours, nothing added and nothing left out:
first the screen as it was at one instant of the training, then the screen at the end. The figures depend on the machine
and on what else runs there.
"""

import fcntl
import io
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

COLUMNS, ROWS = 80, 24
TRAIN = "charrnn train {text} --minutes 1"
SAMPLE = 'charrnn sample {name} "This function" -n 400 -t 0.6 --seed 1'
INSTANT = 0.65  # of the training, at which the first screen is shown
_GAP = 16  # between the two screens, in the units of the picture
_ESCAPE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]")
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


class Written(NamedTuple):
    """What a command had written to the terminal after some seconds."""

    seconds: float
    data: bytes


def main() -> None:
    """Runs the commands and draws what they wrote."""
    text, target = map(Path, sys.argv[1:])
    train, sample = TRAIN.format(text=text.name), SAMPLE.format(name=text.stem)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(text, folder)
        trained, sampled = on_terminal(train, folder), on_terminal(sample, folder)
    until = INSTANT * trained[-1].seconds
    half = b"".join(written.data for written in trained if written.seconds <= until)
    whole, more = (b"".join(written.data for written in each) for each in (trained, sampled))
    begin = [*typed(train), *screen(half.decode(errors="ignore"))]
    summary = screen(whole.decode())
    end = [*summary[first_of_summary(summary) :], *typed(sample), *screen(more.decode())]
    target.write_text(stacked(drawn(begin, "charrnn: training"), drawn(end, "charrnn: trained, and writing")))


def on_terminal(command: str, folder: str) -> list[Written]:
    """All that a command sends to a terminal, which stands for its input, output and errors."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    arguments = [sys.executable, "-m", *shlex.split(command)]
    environment = {**os.environ, "TERM": "xterm-256color"}
    written = []
    began = time.monotonic()
    with subprocess.Popen(arguments, cwd=folder, stdin=its, stdout=its, stderr=its, env=environment) as process:
        os.close(its)
        try:
            while data := os.read(ours, 1 << 16):
                written.append(Written(time.monotonic() - began, data))
        except OSError:  # how Linux says that the other side has closed
            pass
        os.close(ours)
    if process.returncode:
        said = b"".join(each.data for each in written).decode()
        raise SystemExit(f"{command} ended with {process.returncode}:\n{said}")
    return written


def typed(command: str) -> list[Text]:
    """A command as its user typed it, in as many lines as it takes."""
    line = Text.assemble(("$ ", "bold green"), (command, "bold"))
    return list(line.wrap(Console(width=COLUMNS), COLUMNS))


def screen(written: str) -> list[Text]:
    """What a terminal shows after it has received all this: lines wrapped at its width, the last word on each cell."""
    lines: list[list[tuple[str, Style]]] = [[]]
    row, column, style = 0, 0, Style()
    for match in _ESCAPE.finditer(written):
        numbers, letter = match.group(1, 2)
        if letter == "m":
            style = styled(style, numbers)
        elif letter == "K":
            del lines[row][column:]
        elif letter == "J" and numbers in ("", "0"):
            del lines[row][column:], lines[row + 1 :]
        elif letter == "A":
            row = max(0, row - int(numbers or "1"))
        elif letter is not None:
            raise ValueError(f"an escape sequence that is not known here: {match[0]!r}")
        elif match[0] == "\r":
            column = 0
        elif match[0] == "\n":
            row += 1
            lines += [[] for _ in range(row + 1 - len(lines))]
        else:
            if column == COLUMNS:
                row, column = row + 1, 0
                lines += [[] for _ in range(row + 1 - len(lines))]
            line = lines[row]
            line += [(" ", Style())] * (column - len(line))
            line[column : column + 1] = [(match[0], style)]
            column += 1
    texts = [Text.assemble(*joined(line)) for line in lines]
    while texts and not texts[-1].plain.strip():
        texts.pop()
    for text in texts:
        text.rstrip()
    return texts


def joined(line: list[tuple[str, Style]]) -> list[tuple[str, Style]]:
    """The characters of a line as words of one style each."""
    return [("".join(char for char, _ in cells), style) for style, cells in groupby(line, key=lambda cell: cell[1])]


def styled(style: Style, numbers: str) -> Style:
    """The style after an SGR sequence of these numbers."""
    for number in map(int, (numbers or "0").split(";")):
        if number == 0:
            style = Style()
        elif number in (1, 2):
            style += Style(bold=True) if number == 1 else Style(dim=True)
        elif number == 22:
            style += Style(bold=False, dim=False)
        elif number in (39, 49):
            style += Style(color="default") if number == 39 else Style(bgcolor="default")
        elif 30 <= number <= 37:
            style += Style(color=_COLOURS[number - 30])
        elif 90 <= number <= 97:
            style += Style(color=f"bright_{_COLOURS[number - 90]}")
        else:
            raise ValueError(f"a style that is not known here: {number}")
    return style


def first_of_summary(lines: list[Text]) -> int:
    """Where the result of the training begins, below what it said on its way."""
    return max(number for number, line in enumerate(lines) if line.plain.startswith("model "))


def drawn(lines: list[Text], title: str) -> str:
    """The lines in the window of a terminal, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in (*lines, Text()):  # the empty one leaves room below the last
        console.print(line, highlight=False)
    svg = console.export_svg(title=title, theme=DIMMED_MONOKAI)
    # The fonts that rich names lie on another server; any monospaced one will do. Without xml:space some programmes
    # drop the spaces at the beginning of a line.
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return svg.replace("<svg ", '<svg xml:space="preserve" ', 1)


def stacked(*pictures: str) -> str:
    """Pictures of one width, one below the other."""
    sizes = [tuple(map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', each).groups())) for each in pictures]
    placed, top = [], 0.0
    for picture, (width, height) in zip(pictures, sizes, strict=True):
        placed.append(picture.replace("<svg ", f'<svg y="{top:g}" width="{width:g}" height="{height:g}" ', 1))
        top += height + _GAP
    width = max(width for width, _ in sizes)
    inside = "\n".join(placed)
    return f'<svg viewBox="0 0 {width:g} {top - _GAP:g}" xmlns="http://www.w3.org/2000/svg">\n{inside}\n</svg>\n'


if __name__ == "__main__":
    main()
