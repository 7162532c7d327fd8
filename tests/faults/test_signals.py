"""Signals to every command: heard within a second whatever it computes, and a second one ends it without harm."""

import fcntl
import os
import random
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from command import start as start_command
from processes import TINY
from small_model import make_model

from charrnn.training.checkpoint import read_checkpoint

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
SECONDS = 3.0  # promised is one; a loaded machine may need longer to switch to the process
TEXT = "to be, or not to be: that is the question\n" * 10_000
# A model so large and a text so long that none of these ends by itself.
LASTING = [
    "sample m --length 100000000",
    "sample m --length 100000 --num-samples 3000",
    "perplexity m text.txt",
    "perplexity m text.txt text.txt text.txt",
    "perplexity m text.txt --windowed 256",
    "perplexity m text.txt --streams 16",
    "perplexity m lines.txt --by-line",
    "perplexity m medium.txt --dynamic",
    "perplexity m short.txt --fit-temperature text.txt",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signals")
    make_model(folder / "m", text=TEXT, hidden_size=1024, cell="lstm")
    (folder / "text.txt").write_text(TEXT)
    (folder / "medium.txt").write_text(TEXT[:8000])
    (folder / "short.txt").write_text(TEXT[:1000])
    symbols = sorted(set(TEXT) - {"\n"})
    lines = (
        "".join(random.Random(seed).choices(symbols, k=40)) for seed in range(10_000)
    )  # equal ones are scored once
    (folder / "lines.txt").write_text("\n".join(lines))
    return folder


def start(folder, *arguments, **more):
    return start_command(*arguments, cwd=folder, stdout=subprocess.DEVNULL, **more)


def wait_until_it_computes(process, seconds=0.3):
    """Until it has used so much processor time: more than its start needs."""
    stat = Path(f"/proc/{process.pid}/stat")
    for _ in range(1200):
        used = sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
        if used > seconds or process.poll() is not None:
            break
        time.sleep(0.05)
    assert process.poll() is None, process.stderr.read()


def end_of(process):
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize("command", LASTING)
def test_a_computing_command_says_at_once_that_it_stops_and_ends(folder, command):
    process = start(folder, *command.split())
    wait_until_it_computes(process, 0.6 if "--dynamic" in command else 0.3)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert select.select([process.stderr], [], [], SECONDS)[0]
    code, err = end_of(process)
    assert time.monotonic() - sent < SECONDS
    assert (code, err) == (130, b"stopping\n")


@pytest.mark.parametrize(("number", "code"), CODES.items())
def test_each_signal_has_its_exit_code_also_when_it_comes_twice(folder, number, code):
    for times in (1, 2):
        process = start(folder, "perplexity", "m", "text.txt")
        wait_until_it_computes(process)
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.02)
        returned, err = end_of(process)
        assert returned == code
        assert b"Traceback" not in err


def test_ctrl_c_while_python_is_still_loading_leaves_no_traceback(folder):
    for delay in (0.06, 0.09, 0.12, 0.2, 0.4):
        process = start(folder, "train", "text.txt", fresh=True)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        returned, err = end_of(process)
        # Before the command begins, Python itself ends with its own traceback, and sometimes with 1.
        assert returned in (-signal.SIGINT, 130) or (returned == 1 and b"charrnn" not in err)
        assert b"charrnn/cli" not in err
        assert b"unexpected" not in err
    assert not (folder / "checkpoints" / "text" / "training.safetensors").exists()


def said(process, pattern):
    """The lines of standard error up to the first with ``pattern``."""
    lines = []
    for line in process.stderr:
        lines.append(line.decode())
        if re.search(pattern, lines[-1]):
            return lines
    pytest.fail(f"ended without {pattern!r}: {''.join(lines)}")


@pytest.mark.parametrize("number", CODES)
def test_a_run_says_at_once_that_it_saves_and_can_be_gone_on_with(folder, number):
    name = f"run{number}"
    slow = ["--hidden-size", "512", "--batch-size", "16", "--bptt", "64", "--threads", "1", "--steps", "100000"]
    process = start(folder, "train", "short.txt", "--name", name, *slow)
    said(process, "^plan")
    sent = time.monotonic()
    process.send_signal(number)
    said(process, "^stopping: the run is saved")
    assert time.monotonic() - sent < SECONDS
    said(process, "go on with: charrnn train --resume")
    assert end_of(process)[0] == CODES[number]
    assert read_checkpoint(folder / "checkpoints" / name / "training.safetensors").step > 0


def wait_until_it_waits(process):
    """Until nothing has been added for a while to what it says: the pipe is full."""
    before, unchanged_since = -1, time.monotonic()
    while before < 2000 or time.monotonic() - unchanged_since < 1.0:
        waiting = int.from_bytes(fcntl.ioctl(process.stderr, termios.FIONREAD, bytes(4)), "little")
        if waiting != before:
            before, unchanged_since = waiting, time.monotonic()
        time.sleep(0.05)


def test_a_second_signal_ends_a_run_whose_messages_nobody_reads(folder):
    # A pipe smaller than what the run says: it waits in a write, and so does who would say that it stops.
    process = start(folder, "train", "short.txt", "--name", "unread", *TINY, "--steps", "100000", "--eval-every", "1",
                    "--patience", "100000", pipesize=4096)  # fmt: skip
    wait_until_it_waits(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    process.stderr.close()
    ended = start(folder, "verify", "checkpoints/unread")
    assert end_of(ended)[0] == 0


def test_what_a_killed_save_leaves_behind_goes_with_the_next_start(folder):
    name = "litter"
    process = start(folder, "train", "short.txt", "--name", name, *TINY, "--steps", "3")
    assert end_of(process)[0] == 0
    run = folder / "checkpoints" / name
    left = run / f".training.safetensors.tmp-{process.pid}-0011aabb"  # as replacing() names it; the process has ended
    left.write_bytes(b"half")
    assert end_of(start(folder, "train", "--resume", f"checkpoints/{name}"))[0] == 0
    assert not left.exists()
