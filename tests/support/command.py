"""The ``charrnn`` command, as tests run it: in this process, or in one of its own.

``invoke`` is quick, and shows what a user's shell sees. ``run`` and ``start`` make a process, for what only a process
shows: signals, kills, closed streams, limits. It is forked from one that has loaded torch; with ``fresh=True`` it
starts from nothing as ``python -m charrnn``, for what depends on how Python and torch are loaded.
"""

import contextlib
import io
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from functools import cache
from typing import NamedTuple
from unittest import mock

from forked import Forked, Server

from charrnn.__main__ import main

# Of all processes; read while Python and torch load.
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "PYTHONWARNINGS": "error",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "COLUMNS": "100",
}
SECONDS = 120  # no command of a test takes so long
PROGRAM = ("-m", "charrnn")
# The command; then, on the last line of standard error, which libraries it has loaded.
_TELLS_LIBRARIES = """
import atexit, sys
known = {"torch", "numpy", "rich", "tqdm"}
atexit.register(lambda: print(*sorted(name for name in known if sys.modules.get(name)), file=sys.stderr))
from charrnn.__main__ import main
main()
"""


class Ended(NamedTuple):
    """How a command ended: exit code (less than 0: the signal that killed it), standard output, standard error."""

    code: int
    out: str
    err: str


def invoke(*arguments, stdin=b"", cwd="."):
    """The command in this process, ``stdin`` in a file. What it changes in the process is put back."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    err = io.StringIO()
    code = 0
    with (
        io.TextIOWrapper(tempfile.TemporaryFile()) as given,
        mock.patch.object(sys, "argv", ["charrnn", *map(str, arguments)]),
        mock.patch.object(sys, "stdin", given),
        mock.patch.dict(os.environ, {"COLUMNS": ENVIRONMENT["COLUMNS"]}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(cwd),
        _threads_of_torch_kept(),
        _interrupts_kept(),
    ):
        given.buffer.write(stdin)
        given.buffer.seek(0)
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    out.flush()
    return Ended(code, out.buffer.getvalue().decode("utf-8"), err.getvalue())


@contextlib.contextmanager
def _threads_of_torch_kept():
    """Training sets how many threads torch computes with."""
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    yield
    if torch and torch.get_num_threads() != before:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _interrupts_kept():
    """The command ends by Ctrl-C without a traceback; the tests do not."""
    before = signal.getsignal(signal.SIGINT)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, before)


def run(*arguments, stdin=b"", **options):
    """The command as a process, to its end; ``options`` are those of ``start``."""
    with start(*arguments, stdin=subprocess.PIPE, **options) as process:
        return end_of(process, stdin)


def start(
    *arguments,
    fresh=False,
    cwd=".",
    environment=None,
    limits=None,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    pipesize=-1,
    **only_fresh,
):
    """The command as a process.

    Args:
        arguments: of the command.
        fresh: whether it starts from nothing.
        cwd: its directory.
        environment: variables besides this process's and ``ENVIRONMENT``.
        limits: most of a resource that it may use, by resource (``RLIMIT_...``).
        stdin: ``PIPE``, ``DEVNULL`` or a descriptor. Standard error is always a pipe.
        stdout: the same.
        pipesize: bytes that a pipe holds: a process that writes more waits until it is read.
        only_fresh: of one that starts fresh: ``bare=True`` (nothing of this process's environment), ``under`` (a
            command that runs it), ``program`` (Python's arguments before those of the command).
    """
    arguments = [str(argument) for argument in arguments]
    options = {"cwd": cwd, "stdin": stdin, "stdout": stdout, "pipesize": pipesize}
    if fresh:
        return _started(arguments, environment=environment or {}, limits=limits or {}, **options, **only_fresh)
    if only_fresh:
        raise TypeError(f"{sorted(only_fresh)} go with fresh=True alone")
    variables = {**os.environ, **ENVIRONMENT, **(environment or {})}
    return Forked(arguments, server=_server(), environment=variables, limits=limits or {}, **options)


@cache
def _server():
    return Server({**os.environ, **ENVIRONMENT})


def _started(arguments, *, environment, limits, bare=False, under=(), program=PROGRAM, **options):
    inherited = {"PYTHONPATH": ENVIRONMENT["PYTHONPATH"]} if bare else {**os.environ, **ENVIRONMENT}

    def prepare():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
        for kind, most in limits.items():
            resource.setrlimit(kind, (most, most))

    return subprocess.Popen(
        [*under, sys.executable, *program, *arguments],
        env={**inherited, **environment},
        stderr=subprocess.PIPE,
        preexec_fn=prepare,
        **options,
    )


def end_of(process, stdin=None):
    """Waits for a process to end; what it wrote and was not read before."""
    out, err = process.communicate(stdin, timeout=SECONDS)
    return Ended(process.returncode, (out or b"").decode("utf-8"), err.decode("utf-8"))


def wait_for(process, beginning, *, count=1):
    """Reads what a process says until ``count`` lines of it began as given."""
    for line in process.stderr:
        count -= line.decode("utf-8").startswith(beginning)
        if count == 0:
            return
    raise AssertionError(f"the process ended before it had said {beginning!r} often enough")


def libraries_of(*arguments, **options):
    """The large libraries that a command loads, as a process that starts fresh; it must succeed and warn of nothing."""
    ended = run(*arguments, fresh=True, program=("-c", _TELLS_LIBRARIES), **options)
    lines = ended.err.splitlines()
    assert (ended.code, len(lines)) == (0, 1), ended
    return set(lines[0].split())
