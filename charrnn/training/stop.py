"""Signals that end a run: the first asks it to save and stop, the second stops at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from charrnn.errors import ExitCode

_EXIT_CODES = {
    name: code
    for name, code in (
        ("SIGINT", ExitCode.INTERRUPT),
        ("SIGTERM", ExitCode.TERMINATE),
        ("SIGHUP", ExitCode.HANGUP),
    )
    if hasattr(signal, name)
}


class StopRequest:
    """Whether a signal has asked the run to stop, and the exit code that tells so.

    The handler only sets a flag: nothing is ever raised inside an update or a save.
    """

    def __init__(self) -> None:
        self.exit_code: ExitCode | None = None

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.exit_code is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        code = _EXIT_CODES[signal.Signals(number).name]
        if self.exit_code is not None:
            os._exit(code)
        self.exit_code = code


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """A request that SIGINT, SIGTERM and SIGHUP set; the handlers before it come back at the end."""
    request = StopRequest()
    before = {}
    for name in _EXIT_CODES:
        number = getattr(signal, name)
        if signal.getsignal(number) == signal.SIG_IGN and name == "SIGHUP":
            continue  # nohup asked for just that
        before[number] = signal.signal(number, request._handle)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
