"""Kills a training run at random instants, resumes it until it is done, and compares it with one never killed.

    PYTHONPATH=tests/support python tests/faults/kills.py --kills 200

Each attempt is the whole command in a process of its own, ended by SIGKILL after a random time. Files must be whole
after every kill, and byte-identical at the end.
"""

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

from cells import OPTIONS as CELLS
from command import end_of, run, start
from tiny_run import NAMES, check_files, files_of

TEXT = "to be or not to be, that is the question\n" * 40
OPTIONS = "--hidden-size 8 --batch-size 2 --bptt 5 --dropout 0.1 --weight-dropout 0.1 --steps 300 --eval-every 10"
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
            cell = [*CELLS][num_runs % len(CELLS)]
            begin = ["train", "text.txt", *CELLS[cell], *OPTIONS.split(), "--name"]
            if cell not in straight:
                run("--version")  # what forks the processes is there before the first is timed
                began = time.monotonic()
                assert run(*begin, f"straight-{cell}").code == 0
                seconds = time.monotonic() - began
                straight[cell] = files_of(Path("checkpoints", f"straight-{cell}"))
            path = Path("checkpoints", "killed")
            shutil.rmtree(path, ignore_errors=True)
            while True:
                if (path / NAMES[1]).exists():
                    arguments = ["train", "--resume", path, "--quiet"]
                else:
                    num_before_save += path.exists()
                    shutil.rmtree(path, ignore_errors=True)
                    arguments = [*begin, "killed"]
                process = start(*arguments)
                # From far too short to too long: early instants are as likely as late ones.
                time.sleep(seconds * 10 ** rng.uniform(-2, 0.1))
                process.kill()
                ended = end_of(process)
                if ended.code == 0:
                    break
                assert ended.code == -signal.SIGKILL, ended
                num_kills += 1
                check_files(path)
            assert files_of(path) == straight[cell], f"{cell}: not the files of the run never killed"
            num_runs += 1
    print(
        f"{num_kills} kills in {num_runs} runs ({num_before_save} before the first save): after each all files were "
        f"whole, at the end byte-identical to runs never killed"
    )


if __name__ == "__main__":
    main()
