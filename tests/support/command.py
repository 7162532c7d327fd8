"""The ``charrnn`` command in this process: as a user's shell sees it, without the seconds that loading torch takes."""

import io
import resource
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from charrnn.cli.app import main


def invoke(*arguments, stdin=b""):
    """Exit code, standard output and standard error of a command."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    err = io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin))
    argv = ["charrnn", *map(str, arguments)]
    code = 0
    streams = (mock.patch.object(sys, "stdin", given), redirect_stdout(out), redirect_stderr(err))
    with mock.patch.object(sys, "argv", argv), streams[0], streams[1], streams[2]:
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    out.flush()
    return code, out.buffer.getvalue().decode("utf-8"), err.getvalue()


def limited_files(most_bytes):
    """For a child before it starts: no file of it grows beyond this, as on a full disk (EFBIG; SIGXFSZ is ignored)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
