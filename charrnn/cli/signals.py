"""Signals that end a command: answered at once, whatever the main thread is doing.

Python runs signal handlers in the main thread alone, and only between its own instructions: a handler waits for a C
function to return. So a thread of its own reads each signal from a pipe, says what happens, and ends the process where
the main thread does not.

    first signal    a run in training saves and stops; everything else stops where it is
    second signal   the process ends at once; files are whole at any instant
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from charrnn.errors import ExitCode
from charrnn.reports.terminal import say

_EXIT_CODES = {
    getattr(signal, name): code
    for name, code in (
        ("SIGINT", ExitCode.INTERRUPT),
        ("SIGTERM", ExitCode.TERMINATE),
        ("SIGHUP", ExitCode.HANGUP),
    )
    if hasattr(signal, name)
}
_MOST_INTERRUPTS = 2  # that nobody asked for: then what computes does not look, and Ctrl-C ends it like all else
_SECONDS_TO_UNWIND = 0.7  # then a command that saves nothing is ended where it stands


class Stopped(BaseException):
    """A signal has asked the command to end; raised in the main thread, past every handler of errors."""

    def __init__(self, exit_code: ExitCode) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class StopRequest:
    """Whether a signal has asked the command to stop, and the exit code that says so.

    Attributes:
        exit_code: of the first signal; None before it.
    """

    def __init__(self) -> None:
        self.exit_code: ExitCode | None = None
        self._saves = False
        self._num_heard = 0
        self._is_over = False
        self._is_known = False  # to the main thread
        self._takes_interrupts = False
        self._num_interrupts = 0

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.exit_code is not None

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Within the block a signal raises nothing: the code there asks whether to stop, saves and ends by itself.

        Raises:
            Stopped: a signal came before.
        """
        self._saves = True
        try:
            if self.exit_code is not None:
                raise Stopped(self.exit_code)
            yield
        finally:
            self._saves = False

    @contextmanager
    def taking_interrupts(self) -> Iterator[Callable[[], bool]]:
        """Within the block Ctrl-C ends nothing, as long as somebody asks for it before it comes again.

        Yields:
            what says whether Ctrl-C has come since it was asked last.
        """

        def has_come() -> bool:
            found, self._num_interrupts = self._num_interrupts > 0, 0
            return found

        self._takes_interrupts = True
        try:
            yield has_come
        finally:
            self._takes_interrupts = False

    def _takes(self, number: int) -> bool:
        return self._takes_interrupts and number == signal.SIGINT

    def _hear(self, number: int) -> None:
        """In the thread that listens."""
        code = _EXIT_CODES.get(signal.Signals(number))
        if self._takes(number) and self._num_interrupts < _MOST_INTERRUPTS:
            self._num_interrupts += 1
            return
        if code is None:
            return
        self._num_heard += 1
        if self._num_heard > 1:
            os._exit(self.exit_code or code)
        self.exit_code = code
        message = "stopping: the run is saved after this update; a second signal ends it without saving"
        if not self._saves:
            message = "stopping"
            ender = threading.Timer(_SECONDS_TO_UNWIND, self._end)
            ender.daemon = True
            ender.start()
        say(message, on_new_line=True)  # last: where nobody reads it, this thread waits here

    def _end(self) -> None:
        if not self._saves and not self._is_over and self.exit_code is not None:
            os._exit(self.exit_code)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, between two instructions."""
        if self._takes(number):
            return
        code = _EXIT_CODES[signal.Signals(number)]
        if self.exit_code is None:
            self.exit_code = code
        if not self._saves:
            raise Stopped(code)
        if self._is_known:  # the thread that listens may wait for a reader of what it says
            os._exit(code)
        self._is_known = True


@contextmanager
def wakeup_kept() -> Iterator[None]:
    """Keeps signals coming to the thread that listens, after a block whose event loop takes them for itself."""
    before = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """A request that SIGINT, SIGTERM and SIGHUP set; the handlers before it come back at the end.

    Raises:
        Stopped: a signal came, and nothing is to be saved.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # signals are not this thread's to handle
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = {}
    for number in _EXIT_CODES:
        if signal.getsignal(number) == signal.SIG_IGN and number == getattr(signal, "SIGHUP", None):
            continue  # nohup asked for just that
        before[number] = signal.signal(number, request._raise)
    fd_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    listener = threading.Thread(target=_listen, args=(reading, request), daemon=True)
    listener.start()
    try:
        yield request
    finally:
        request._is_over = True
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)  # ends the listener
        listener.join()
        os.close(reading)


def _listen(reading: int, request: StopRequest) -> None:
    with suppress(OSError):
        while numbers := os.read(reading, 1):
            request._hear(numbers[0])
