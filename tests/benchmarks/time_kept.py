"""How long runs of a given time take while another process comes and goes on the same cores.

    python tests/benchmarks/time_kept.py shakespeare.txt --minutes 2 --runs 10

The neighbour takes all of one core, a random one each time, for 2 to 12 seconds and stays away for as long. Shown for
each run: the seconds of the whole command, those of the run's own clock at its last evaluation, the share of the
command's time in which the neighbour was there, updates, and nats/char held out.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from charrnn.machine import num_cores

STAY = (2.0, 12.0)  # seconds
_BUSY = """
import os, sys
if hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(sys.argv[1]) % len(cores)]})
while True:
    pass
"""


class Neighbour:
    """A process that comes and goes until it is stopped.

    Attributes:
        seconds: for how long it was there.
    """

    def __init__(self, seed: int) -> None:
        self.seconds = 0.0
        self._random = random.Random(seed)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._come_and_go)
        self._thread.start()

    def _come_and_go(self) -> None:
        while not self._stopped.wait(self._random.uniform(*STAY)):
            core = str(self._random.randrange(num_cores()))
            started = time.monotonic()
            with subprocess.Popen([sys.executable, "-c", _BUSY, core]) as process:
                self._stopped.wait(self._random.uniform(*STAY))
                process.kill()
            self.seconds += time.monotonic() - started

    def stop(self) -> None:
        """Sends it away for good."""
        self._stopped.set()
        self._thread.join()


@contextmanager
def neighbour(seed: int) -> Iterator[Neighbour]:
    """One that is gone when the context closes."""
    found = Neighbour(seed)
    try:
        yield found
    finally:
        found.stop()


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("text")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=10)
    asked = parser.parse_args()
    print(
        "| run | command, s | last evaluation, s | neighbour there | updates | nats/char |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.runs):
            options = ["--minutes", str(asked.minutes), "--out", folder, "--name", str(number), "--quiet", "--json"]
            command = [sys.executable, "-m", "charrnn", "train", asked.text, *options]
            with neighbour(number) as other:
                started = time.monotonic()
                found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
                seconds = time.monotonic() - started
            events = map(json.loads, Path(folder, str(number), "metrics.jsonl").read_text().splitlines())
            last = [event for event in events if event["event"] == "evaluated"][-1]
            print(
                f"| {number} | {seconds:.1f} | {last['seconds']:.1f} | {other.seconds / seconds:.0%} "
                f"| {last['step']:,} | {found['nats_per_char']:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
