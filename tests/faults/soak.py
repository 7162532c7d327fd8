"""Faults for as long as one likes: ``make soak``, or ``python tests/faults/soak.py SECONDS``.

Two lanes side by side. One kills: mishaps (runs that diverge, damaged caches, signals to every command, closed and full
streams), a sweep over every system call of a run, then rounds of random kills. The other
deceives: the loader under the fuzzer, histories of runs at random, a text of one line and 512 MiB. A finding ends it
with 1 and with all that is needed to repeat it.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
PLACES = [str(HERE.parent / "support"), str(HERE.parent.parent), *(path for path in sys.path if path)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(PLACES), "OMP_NUM_THREADS": "1"}
HISTORIES = """
import sys
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
sys.path.insert(0, sys.argv[1])
from test_machine import Life
run_state_machine_as_test(Life, settings=settings(
    max_examples=int(sys.argv[2]), stateful_step_count=30, deadline=None, print_blob=True,
    suppress_health_check=list(HealthCheck)))
print(f"{sys.argv[2]} histories of up to 30 steps: no finding")
"""
MAX_PEAK_MIB = 600  # torch and numpy loaded take some 350


def main() -> None:
    """Both lanes for the time given; one line for each piece of work."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    ends_at = time.monotonic() + seconds
    with ThreadPoolExecutor(2) as pool:
        lanes = [pool.submit(kill, ends_at), pool.submit(deceive, ends_at, seconds)]
        findings = [finding for lane in lanes for finding in lane.result()]
    print(f"{seconds:.0f} seconds: {len(findings)} findings")
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)


def kill(ends_at: float) -> list[str]:
    """Mishaps, the sweep, then kills at random, 50 per round."""
    findings = work("mishaps", [sys.executable, str(HERE / "mishaps.py"), "120"])
    findings += work("sweep", [sys.executable, str(HERE / "sweep.py")])
    while time.monotonic() < ends_at and not findings:
        findings = work("kills", [sys.executable, str(HERE / "kills.py"), "--kills", "50"])
    return findings


def deceive(ends_at: float, seconds: float) -> list[str]:
    """A huge line, the fuzzer for four tenths of the time, then histories."""
    findings = one_line()
    findings += work("fuzz", [sys.executable, str(HERE / "fuzz.py"), str(int(0.4 * seconds))], last="Done")
    while time.monotonic() < ends_at and not findings:
        findings = work("histories", [sys.executable, "-c", HISTORIES, str(HERE), "100"])
    return findings


def work(name: str, command: list[str], *, last: str = "") -> list[str]:
    """Runs a piece of work and says its last line, or the last that begins with ``last``; gives what it found."""
    began = time.monotonic()
    ended = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = [line for line in ended.stdout.splitlines() if line.startswith(last)] or ["nothing said"]
    print(f"{name} ({time.monotonic() - began:.0f} s): {lines[-1]}", flush=True)
    return [] if ended.returncode == 0 else [f"{name} ended with {ended.returncode}:\n{ended.stdout[-4000:]}"]


def one_line() -> list[str]:
    """A text of one line and 512 MiB, trained on: read in pieces, never held."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "line.txt")
        with text.open("wb") as file:
            for _ in range(512):
                file.write(b"to be or not to " * (1 << 16))
        command = [
            sys.executable,
            "-m",
            "charrnn",
            "train",
            str(text),
            "--steps",
            "20",
            "--hidden-size",
            "16",
            "--quiet",
        ]
        environment = {**ENVIRONMENT, "CHARRNN_CACHE": f"{folder}/cache"}
        actions = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        command += ["--out", f"{folder}/runs", "--threads", "1"]
        began = time.monotonic()
        _, status, usage = os.wait4(os.posix_spawn(sys.executable, command, environment, file_actions=actions), 0)
        peak = usage.ru_maxrss / 1024
        print(
            f"one line of 512 MiB ({time.monotonic() - began:.0f} s): status {status}, peak {peak:.0f} MiB", flush=True
        )
        return (
            []
            if status == 0 and peak < MAX_PEAK_MIB
            else [f"one line of 512 MiB: status {status}, peak {peak:.0f} MiB"]
        )


if __name__ == "__main__":
    main()
