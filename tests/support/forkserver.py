"""A process that has loaded torch and forks others that are the ``charrnn`` command: at once, instead of after seconds.

It has one thread and has computed nothing, so a process forked from it is like one begun by ``python -m charrnn``: it
has a process id, signal handlers, streams, a directory and an environment of its own, it runs the same ``main`` and
ends through the same end of the interpreter. Only what is read while Python and torch load is the server's.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import resource
import selectors
import signal
import socket
import sys
from pathlib import Path

NUM_STREAMS = 3


def serve(control):
    """Answers requests until the other end of ``control`` is closed; returns in each process that was forked.

    A request is a byte on ``control`` that carries the three standard streams and a connection. On the connection
    comes a line of JSON: ``arguments``, ``cwd``, ``environment`` (all variables) and ``limits`` (pairs of a resource
    and its limit). The answers there are two lines: the new process's id, and how it ended (its exit code, or less
    than 0 for a signal).

    Returns:
        The standard streams' descriptors, and the request.
    """
    waiting = {}  # process: who waits for its end
    wake, wakened = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with wake, wakened, selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wakened, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if wakened in ready:
                wakened.recv(4096)
                _tell_ends(waiting)
            if control not in ready:
                continue
            data, descriptors, _, _ = socket.recv_fds(control, 1, NUM_STREAMS + 1)
            if not data:
                sys.exit()
            streams, connection = descriptors[:NUM_STREAMS], socket.socket(fileno=descriptors[NUM_STREAMS])
            with connection.makefile() as lines:
                request = json.loads(lines.readline())
            process = os.fork()
            if process == 0:
                signal.set_wakeup_fd(-1)  # what it wrote to is closed here
                for inherited in (control, connection, *waiting.values()):
                    inherited.close()
                return streams, request
            for stream in streams:
                os.close(stream)
            connection.sendall(f"{process}\n".encode())
            waiting[process] = connection


def _tell_ends(waiting):
    while waiting:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            return
        with waiting.pop(process) as connection, contextlib.suppress(BrokenPipeError):  # who asked may be gone
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def become(streams, *, arguments, cwd, environment, limits):
    """Takes on what a new process would have begun with."""
    for number in (signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for kind, most in limits:
        resource.setrlimit(kind, (most, most))
    sys.argv = ["charrnn", *arguments]


def load():
    """Imports all that the command imports at one time or another."""

    import charrnn

    for module in pkgutil.walk_packages(charrnn.__path__, "charrnn."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    threads = Path("/proc/self/task")
    if threads.is_dir() and len(list(threads.iterdir())) > 1:
        sys.exit("an import has started a thread, which would be missing in forked processes")
    gc.collect()
    gc.freeze()  # what is never collected is not copied where a forked process ends


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word
    with socket.socket(fileno=os.dup(0)) as control:
        load()
        given, asked = serve(control)
    become(given, **asked)
    from charrnn.__main__ import main

    main()
