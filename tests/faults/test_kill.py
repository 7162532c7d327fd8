"""Kills at random instants; ``make soak`` does hundreds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import ENVIRONMENT

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.long
def test_killed_at_random_and_resumed_a_run_ends_in_the_same_files():
    command = [sys.executable, str(KILLS), "--kills", "12"]
    ended = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=280)
    # The seed stands in the output: a failure can be repeated.
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "byte-identical" in ended.stdout
