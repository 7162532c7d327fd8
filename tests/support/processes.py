"""The ``charrnn`` command as a process of its own, for what only a process has: signals, streams, an exit code."""

import os
import sys

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "OMP_NUM_THREADS": "1",
}
CHARRNN = [sys.executable, "-m", "charrnn"]
TINY = ["--hidden-size", "6", "--batch-size", "2", "--bptt", "8", "--threads", "1"]
