"""A terminal that a command writes to."""

import os
import pty

from command import run


def shown_on_a_terminal(*arguments, colour=False, columns=100):
    """What a command that starts fresh and succeeds writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm", "NO_COLOR": "" if colour else "1", "COLUMNS": str(columns)}
    ended = run(*arguments, stdout=theirs, environment=environment, fresh=True)
    os.close(theirs)
    assert ended.code == 0, ended.err
    received = b""
    while True:
        try:
            received += os.read(ours, 65_536)
        except OSError:  # the far end is closed and all is read
            break
    os.close(ours)
    return received.decode("utf-8").replace("\r\n", "\n")
