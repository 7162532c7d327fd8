"""The picture of a terminal in the README: a real run, trained and sampled on a pseudo terminal.

    python tests/benchmarks/terminal_picture.py shakespeare.txt docs/pictures/terminal.svg

It shows what the commands below wrote, nothing added and nothing left out. The progress bar is not in it, because
charrnn removes it at the end. The figures depend on the machine and on what else runs there.
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
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 128, 60
COMMANDS = (
    "charrnn train shakespeare.txt --minutes 0.4",
    'charrnn sample checkpoints/shakespeare --prompt "ROMEO:" --length 300 --temperature 0.7 --seed 1',
)


def main() -> None:
    """Runs the commands and draws what they wrote."""
    text, target = map(Path, sys.argv[1:])
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(text, Path(folder, "shakespeare.txt"))
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            for line in shown_lines(on_terminal(command, folder)):
                console.print(Text(line), highlight=False)
    svg = console.export_svg(title="charrnn", clear=False)
    # The fonts that rich names lie on another server; any monospaced one will do. Without xml:space some programmes
    # drop the spaces at the beginning of a line.
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    target.write_text(svg.replace("<svg ", '<svg xml:space="preserve" ', 1))


def on_terminal(command: str, folder: str) -> str:
    """All that a command sends to a terminal, which stands for its input, output and errors."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    arguments = [sys.executable, "-m", *shlex.split(command)]
    written = b""
    with subprocess.Popen(arguments, cwd=folder, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        try:
            while data := os.read(ours, 1 << 16):
                written += data
        except OSError:  # how Linux says that the other side has closed
            pass
        os.close(ours)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}:\n{written.decode()}")
    return written.decode()


def shown_lines(written: str) -> list[str]:
    """What a terminal shows in the end: lines wrapped at its width, and what follows a carriage return overwrites."""
    lines = [""]
    column = 0
    for piece in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]", written):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            lines.append("")
        elif piece.startswith("\x1b["):
            raise ValueError(f"an escape sequence that is not known here: {piece!r}")
        else:
            if column == COLUMNS:
                lines.append("")
                column = 0
            line = lines[-1].ljust(column)
            lines[-1] = line[:column] + piece + line[column + 1 :]
            column += 1
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.rstrip() for line in lines]


if __name__ == "__main__":
    main()
