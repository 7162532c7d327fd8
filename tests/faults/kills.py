"""Kills a training run at random instants, resumes it until it is done, and compares it with one never killed.

    PYTHONPATH=tests/support python tests/faults/kills.py --kills 200

Each attempt is the whole command in a process of its own, forked from one that has loaded torch but computed nothing,
and ended by SIGKILL after a random time. Files must be whole after every kill, and byte-identical at the end.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch  # noqa: F401 - loaded once, before processes are forked
from tiny_run import NAMES, check_files

from charrnn.cli.app import main as charrnn
from charrnn.training.trainer import Trainer  # noqa: F401

TEXT = "to be or not to be, that is the question\n" * 40
OPTIONS = "--hidden-size 8 --batch-size 2 --bptt 5 --dropout 0.1 --weight-dropout 0.1 --steps 900 --eval-every 30"
OPTIONS += " --patience 99 --threads 1 --quiet"


def main() -> None:
    """Kills, resumes and compares until there were as many kills as asked for; ends with 1 at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    rng = random.Random(options.seed)
    num_kills = num_runs = num_before_save = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("text.txt").write_text(TEXT)
        straight: dict[str, dict[str, bytes]] = {}
        seconds = 0.0
        while num_kills < options.kills:
            cell = ("rnn", "lstm", "gru")[num_runs % 3]
            if cell not in straight:
                began = time.monotonic()
                process = start("train", "text.txt", "--cell", cell, *OPTIONS.split(), "--name", f"straight-{cell}")
                assert wait(process) == 0
                seconds = time.monotonic() - began
                straight[cell] = files_of(Path("checkpoints", f"straight-{cell}"))
            run = Path("checkpoints", "killed")
            shutil.rmtree(run, ignore_errors=True)
            while True:
                if (run / NAMES[1]).exists():
                    arguments = ["train", "--resume", str(run), "--quiet"]
                else:
                    num_before_save += run.exists()
                    shutil.rmtree(run, ignore_errors=True)
                    arguments = ["train", "text.txt", "--cell", cell, *OPTIONS.split(), "--name", "killed"]
                process = start(*arguments)
                # From far too short to too long: early instants are as likely as late ones.
                time.sleep(seconds * 10 ** rng.uniform(-2, 0.1))
                os.kill(process, signal.SIGKILL)
                code = wait(process)
                if code == 0:
                    break
                assert code == -signal.SIGKILL, f"the command ended with {code}"
                num_kills += 1
                check_files(run)
            assert files_of(run) == straight[cell], f"{cell}: not the files of the run never killed"
            num_runs += 1
    print(
        f"{num_kills} kills in {num_runs} runs ({num_before_save} before the first save): after each all files were "
        f"whole, at the end byte-identical to runs never killed"
    )


def start(*arguments: str) -> int:
    """A process that is the command; its id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        sys.argv = ["charrnn", *arguments]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        charrnn()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)


def wait(process: int) -> int:
    """How it ended: its exit code, or less than 0 for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def files_of(run: Path) -> dict[str, bytes]:
    """The bytes of a run's files."""
    return {name: (run / name).read_bytes() for name in NAMES}


if __name__ == "__main__":
    main()
