"""Whether a user has put something on standard input without saying so, as in ``echo "ROMEO:" | charrnn sample RUN``.

A file or a pipe there is read. What is never read unasked: a terminal, /dev/null, a socket, a closed stream. A pipe may
be no more than what the process was started with (by ssh, by a test runner), and never end: one into which nothing
comes within a few seconds is left alone, and that is said.
"""

import os
import select
import stat
import sys

from charrnn.reports.terminal import say

_SECONDS_TO_BEGIN = 5.0


def has_input(*, alternative: str, quiet: bool = False) -> bool:
    """Whether standard input is a file, or a pipe that something comes from or that has ended.

    Args:
        alternative: how to say that it is to be waited for, such as "--prompt -".
        quiet: say nothing of a pipe that is left alone.
    """
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, OSError, ValueError):  # closed, or no stream of the system's
        return False
    if stat.S_ISREG(mode):
        return True
    if not stat.S_ISFIFO(mode):
        return False
    if select.select([descriptor], [], [], _SECONDS_TO_BEGIN)[0]:
        return True
    if not quiet:
        say(f"note: nothing came from standard input within {_SECONDS_TO_BEGIN:g} s; {alternative} waits for it")
    return False
