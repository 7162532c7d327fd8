"""The side of the tests to ``forkserver``: processes forked there, with the ways of ``subprocess.Popen``."""

import atexit
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_READ_AT_LOAD = ("PYTHON", "OMP_", "GOMP_", "OPENBLAS_", "MKL_", "LC_", "LANG", "LD_")


class Server:
    """The process that forks others; it ends with this one.

    Args:
        environment: what it reads while Python and torch load, for all that it forks.
    """

    def __init__(self, environment):
        self.environment = environment
        self.control, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, str(Path(__file__).with_name("forkserver.py"))]
            self._process = subprocess.Popen(command, stdin=theirs, env=environment)
        atexit.register(self._end)

    def _end(self):
        self.control.close()
        self._process.wait()

    def check(self, environment):
        """Makes sure that a process forked here would be one that started fresh with this environment."""
        names = {name for name in {**environment, **self.environment} if name.startswith(_READ_AT_LOAD)}
        wrong = [name for name in sorted(names) if environment.get(name) != self.environment.get(name)]
        if wrong:
            raise ValueError(f"{wrong} are read before a forked process begins: start it fresh")


class Forked:
    """A process that is the command.

    Args:
        arguments: of the command.
        server: where it is forked.
        cwd: its directory.
        environment: its variables, all of them.
        limits: most of a resource that it may use, by resource.
        stdin: ``PIPE``, ``DEVNULL`` or a descriptor.
        stdout: the same.
        pipesize: bytes that a pipe holds; less than 0 for as many as usual.
    """

    def __init__(self, arguments, *, server, cwd, environment, limits, stdin, stdout, pipesize):
        server.check(environment)
        self.returncode = None
        self._told = b""
        self._connection, theirs = socket.socketpair()
        with contextlib.ExitStack() as sent:
            sent.enter_context(theirs)
            streams = []
            for name, kind in (("stdin", stdin), ("stdout", stdout), ("stderr", subprocess.PIPE)):
                ours, stream = _stream(name, kind, pipesize)
                setattr(self, name, ours)
                streams.append(stream)
                if stream != kind:
                    sent.callback(os.close, stream)
            socket.send_fds(server.control, [b"x"], [*streams, theirs.fileno()])
        request = {
            "arguments": arguments,
            "cwd": str(Path(cwd).resolve()),
            "environment": environment,
            "limits": list(limits.items()),
        }
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        self.pid = self._answer(None)

    def _answer(self, timeout):
        while b"\n" not in self._told:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("charrnn", timeout)
            data = self._connection.recv(100)
            if not data:
                raise RuntimeError("the server of processes has ended")
            self._told += data
        answer, self._told = self._told.split(b"\n", 1)
        return int(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()

    def wait(self, timeout=None):
        """How it ended, once it has."""
        if self.returncode is None:
            self.returncode = self._answer(timeout)
            self._connection.close()
        return self.returncode

    def poll(self):
        """How it ended; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number):
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, given=None, timeout=None):
        """Gives it ``given`` to read and waits for its end; what it wrote."""
        late = threading.Event()

        def give_up():
            late.set()
            self.kill()

        timer = threading.Timer(timeout or threading.TIMEOUT_MAX, give_up)
        timer.start()
        try:
            with ThreadPoolExecutor(2) as pool:
                reading = [pool.submit(s.read) if s is not None else None for s in (self.stdout, self.stderr)]
                if self.stdin is not None:
                    with contextlib.suppress(BrokenPipeError), self.stdin:
                        self.stdin.write(given or b"")
                out, err = (None if future is None else future.result() for future in reading)
            self.wait()
        finally:
            timer.cancel()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        if late.is_set():
            raise subprocess.TimeoutExpired("charrnn", timeout, out, err)
        return out, err


def _stream(name, kind, pipesize):
    """This process's end of a standard stream, as a file, None if there is none, and the other's, as a descriptor."""
    if kind == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_RDWR)
    if kind != subprocess.PIPE:
        return None, kind
    read, write = os.pipe()
    if pipesize > 0 and hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, pipesize)
    return (os.fdopen(write, "wb"), read) if name == "stdin" else (os.fdopen(read, "rb"), write)
