"""Kills a whole training run at every system call by which it touches its directory, one run a call.

    PYTHONPATH=tests/support python tests/faults/sweep.py

strace lists the calls of one run, then strikes each in turn with SIGKILL as it is entered. After each kill the run's
files must be whole, and resuming must end in the bytes of a run never killed. Linux, and strace installed.
"""

import os
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from command import Ended, run
from tiny_run import NAMES, check_files, files_of

TEXT = "to be or not to be, that is the question\n" * 40
OPTIONS = ["--cell", "gru", "--hidden-size", "6", "--batch-size", "2", "--bptt", "5", "--steps", "9"]
OPTIONS += ["--eval-every", "3", "--threads", "1", "--quiet"]
CALLS = ("openat", "write", "fsync", "close", "rename", "unlink", "ftruncate", "mkdir")


def main() -> None:
    """Sweeps; ends with 1 at the first bad outcome."""
    if shutil.which("strace") is None:
        print("strace is not installed: nothing swept")
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("text.txt").write_text(TEXT)
        assert run("train", "text.txt", *OPTIONS, "--name", "straight").code == 0
        straight = files_of(Path("checkpoints", "straight"))
        struck = listed()
        kinds: Counter[str] = Counter()
        path = Path("checkpoints", "run")
        for call, number in struck:
            shutil.rmtree(path, ignore_errors=True)
            ended = traced("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
            assert ended.code in (-9, 137), f"{call} {number}: ended with {ended.code}"
            if path.exists():
                check_files(path)
            if (path / NAMES[1]).exists():
                arguments = ["train", "--resume", path, "--quiet"]
            else:
                shutil.rmtree(path, ignore_errors=True)
                arguments = ["train", "text.txt", *OPTIONS, "--name", "run"]
            assert run(*arguments).code == 0, f"{call} {number}: no resume"
            assert files_of(path) == straight, f"{call} {number}: not the files of the run never killed"
            assert not [file for file in path.iterdir() if ".tmp-" in file.name], f"{call} {number}: a stale file stays"
            kinds[call] += 1
    counts = ", ".join(f"{count} {call}" for call, count in kinds.items())
    print(f"killed at each of {len(struck)} system calls of a run ({counts}): zero bad outcomes")


def listed() -> list[tuple[str, int]]:
    """The calls of the main thread that touch the run's directory: name, and which of that name it is."""
    ended = traced("-y", "-e", f"trace={','.join(CALLS)}", "-o", "log")
    assert ended.code == 0, ended.err
    shutil.rmtree(Path("checkpoints", "run"))
    lines = [re.match(r"(\d+)\s+(\w+)\((.*)", line) for line in Path("log").read_text().splitlines()]
    calls = [match.groups() for match in lines if match]
    main_thread = calls[0][0]
    counts: Counter[str] = Counter()
    found = []
    for thread, name, arguments in calls:
        if thread != main_thread:
            continue
        counts[name] += 1
        if "checkpoints/run" in arguments:
            found.append((name, counts[name]))
    return found


def traced(*options: str) -> Ended:
    """A run under strace."""
    # Without these the number of system calls differs from run to run.
    environment = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    under = ["strace", "-qq", "-f", *options]
    return run("train", "text.txt", *OPTIONS, "--name", "run", fresh=True, under=under, environment=environment)


if __name__ == "__main__":
    main()
