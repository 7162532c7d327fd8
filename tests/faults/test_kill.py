"""Kills at random instants; ``make soak`` does hundreds."""

import os
import subprocess
import sys
from pathlib import Path


def test_killed_at_random_and_resumed_until_done_a_run_ends_in_the_very_files_of_one_never_killed():
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(here.parent / "support"), *(path for path in sys.path if path)]),
    }
    ended = subprocess.run(
        [sys.executable, str(here / "kills.py"), "--kills", "12"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    # The seed stands in the output: a failure can be repeated.
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "byte-identical" in ended.stdout
