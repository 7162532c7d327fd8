"""The picture of the prompt in the guide: a real conversation, as a terminal of 80 columns showed it at its end.

    python tests/benchmarks/interactive_picture.py checkpoints/shakespeare docs/pictures/interactive.svg

It needs tmux, which plays the terminal. Nothing is added and nothing left out.
"""

import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from terminal_picture import COLUMNS, drawn, screen, typed

COMMAND = 'charrnn sample {name} "ROMEO:" --interactive --length 120 --temperature 0.7 --seed 4'
LINES = ("/again", "/pick", "2", "", "", "/save romeo.txt")
ROWS = 48
_SECONDS = 30.0
_SOCKET = f"charrnn-{time.time_ns()}"


def main() -> None:
    """Holds the conversation and draws it."""
    run, target = (Path(each).resolve() for each in sys.argv[1:])
    command = COMMAND.format(name=run.name)
    arguments = [sys.executable, "-m", *shlex.split(command.replace(run.name, str(run), 1))]
    with tempfile.TemporaryDirectory() as folder:
        started = ["new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", folder, shlex.join(arguments)]
        tmux(*started)
        try:
            settle("ROMEO:")
            for line in LINES:
                tmux("send-keys", "-l", line)
                tmux("send-keys", "Enter")
                settle(line)
            shown = tmux("capture-pane", "-e", "-p")
        finally:
            tmux("kill-server")
    target.write_text(drawn([*typed(command), *screen(shown.replace("\n", "\r\n"))], "charrnn: writing together"))


def tmux(*arguments: str) -> str:
    """What a command to a tmux of its own prints."""
    done = subprocess.run(["tmux", "-L", _SOCKET, "-f", "/dev/null", *arguments], capture_output=True, check=True)
    return done.stdout.decode()


def settle(wanted: str) -> None:
    """Waits until the screen has what is wanted and has not changed for a while."""
    before, until = "", time.monotonic() + _SECONDS
    while time.monotonic() < until:
        time.sleep(1.0)
        now = tmux("capture-pane", "-p")
        if wanted in now and now == before:
            return
        before = now
    raise SystemExit(f"the screen never settled with {wanted!r}:\n{before}")


if __name__ == "__main__":
    main()
