"""Faults of a file system: makes the N-th call to ``os`` fail, fall short, or be the process's last.

A caller counts N up from 1 until the work passes untouched: by then every call has been struck once.
"""

import errno
import os
import signal
from contextlib import contextmanager

CALLS = ("open", "write", "fsync", "close", "replace", "unlink")


class FaultFS:
    """Stands in the way of the calls in ``CALLS``.

    Args:
        strike_at: the number of the call that is struck, from 1; 0 strikes none.
        fault: "fail" (the call is not made and raises ``error``), "kill" (the process dies before the call),
            "kill-after" (it dies just after it) or "signal" (a SIGTERM arrives during the call).
        error: errno of a failing call.
        most: bytes that a single write takes at most; 0: as many as it is given.

    Attributes:
        names: the calls made, in order.
        struck: whether the fault came about.
    """

    def __init__(self, strike_at=0, *, fault="fail", error=errno.EIO, most=0):
        self.strike_at, self.fault, self.error, self.most = strike_at, fault, error, most
        self.names = []
        self.struck = False

    @contextmanager
    def installed(self):
        originals = {name: getattr(os, name) for name in CALLS}
        for name, original in originals.items():
            setattr(os, name, self._wrapped(name, original))
        try:
            yield self
        finally:
            for name, original in originals.items():
                setattr(os, name, original)

    def _wrapped(self, name, original):
        def call(*arguments, **options):
            self.names.append(name)
            here = len(self.names) == self.strike_at
            self.struck = self.struck or here
            if here and self.fault == "fail":
                raise OSError(self.error, os.strerror(self.error))
            if here and self.fault in ("kill", "signal"):
                os.kill(os.getpid(), signal.SIGKILL if self.fault == "kill" else signal.SIGTERM)
            if name == "write" and self.most:
                descriptor, data = arguments
                arguments = (descriptor, bytes(data[: self.most]))
            result = original(*arguments, **options)
            if here and self.fault == "kill-after":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call
