"""Runs shared by two processes, as torchrun starts them: the same learning as one process, and no one left waiting."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command import invoke

from charrnn.errors import SettingsError
from charrnn.storage.model_file import read_model
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.world import World

NAMES = ("model.safetensors", "training.safetensors")
SIZES = ["--cell", "gru", "--hidden-size", "6", "--batch-size", "4", "--bptt", "5", "--precision", "float32"]
SIZES += ["--eval-every", "20", "--patience", "99", "--threads", "1"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("to be or not to be, that is the question\n" * 40)
    return path


# The command; what it leaves running when Python ends goes to stderr.
THREADS_AT_EXIT = """
import atexit, os, sys
from charrnn.__main__ import main

@atexit.register
def tell():
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/comm") as name:
            print("thread:", name.read().strip(), file=sys.stderr)

main()
"""


def start(arguments, num_processes=2, program=("-m", "charrnn")):
    """The command in several processes, with the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(num_processes):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(num_processes),
            "LOCAL_WORLD_SIZE": str(num_processes),
        }
        command = [sys.executable, *program, "train", *map(str, arguments)]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    return processes


def end_of(processes):
    return [(*process.communicate(timeout=120), process.returncode) for process in processes]


def files_of(run):
    return [(run / name).read_bytes() for name in NAMES]


def test_two_processes_learn_what_one_learns_and_one_of_them_speaks(tmp_path, text):
    # Dropout is drawn by each process for itself.
    more = ["--steps", "60", "--dropout", "0", "--weight-dropout", "0", "--out", tmp_path / "runs"]
    (out, err, code), (other_out, other_err, other_code) = end_of(start([text, *SIZES, *more, "--name", "two"]))
    assert (code, other_code) == (0, 0), err + other_err
    assert (other_out, other_err) == ("", "")
    assert "shared by 2 processes" in err
    assert "held-out loss" in out
    assert invoke("train", text, *SIZES, *more, "--name", "one")[0] == 0
    one, two = (read_model(tmp_path / "runs" / name) for name in ("one", "two"))
    for name, weight in one.weights.items():
        # The same sums in another order: float32 rounding, grown over 60 updates of Adam.
        np.testing.assert_allclose(two.weights[name], weight, atol=2e-3)
    found, alone = (model.facts["held_out"]["nats_per_char"] for model in (two, one))
    assert found == pytest.approx(alone, abs=1e-4)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="thread names are read from Linux's /proc")
def test_no_thread_that_talks_to_other_processes_outlives_the_run(tmp_path, text):
    """Such a thread aborted a process in ten that had finished, while Python was ending under it."""
    more = [*SIZES, "--steps", "5", "--out", tmp_path / "runs"]
    for _, err, code in end_of(start([text, *more], program=("-c", THREADS_AT_EXIT))):
        assert code == 0
        threads = [line for line in err.splitlines() if line.startswith("thread: ")]
        assert threads
        assert not [thread for thread in threads if "gloo" in thread]


def test_a_shared_run_stopped_by_a_signal_to_one_process_resumes_to_the_very_same_end(tmp_path, text):
    noise = ["--dropout", "0.2", "--weight-dropout", "0.1", "--restart", "0.2"]
    more = [*SIZES, *noise, "--steps", "900", "--out", tmp_path / "runs"]
    ended = end_of(start([text, *more, "--name", "straight"]))
    assert [code for *_, code in ended] == [0, 0], ended
    processes = start([text, *more, "--name", "stopped"])
    for line in processes[0].stderr:
        if line.startswith("step "):
            break
    processes[1].send_signal(signal.SIGTERM)  # the process that does not speak
    codes = [code for *_, code in end_of(processes)]
    assert codes[1] == 143
    run = tmp_path / "runs" / "stopped"
    assert 0 < read_checkpoint(run / NAMES[1]).step < 900
    ended = end_of(start(["--resume", run]))
    assert [code for *_, code in ended] == [0, 0], ended
    assert "not bit for bit" not in ended[0][1]
    assert files_of(run) == files_of(tmp_path / "runs" / "straight")


def test_where_one_process_is_killed_none_hangs_and_the_checkpoint_is_whole(tmp_path, text):
    processes = start([text, *SIZES, "--steps", "200000", "--out", tmp_path / "runs", "--name", "run"])
    seen = 0
    for line in processes[0].stderr:
        seen += line.startswith("step ")
        if seen == 3:
            break
    processes[1].kill()
    began = time.monotonic()
    _, err, code = end_of(processes)[0]
    assert code == 6
    assert err.splitlines()[-1].startswith("charrnn: another process of this run")
    assert "--resume" in err.splitlines()[-1]
    assert time.monotonic() - began < 100  # gloo sees the closed connection at once
    assert invoke("verify", tmp_path / "runs" / "run")[0] == 0
    # What two began one can go on with, and it says that this is not the same to the last bit.
    checkpoint = read_checkpoint(tmp_path / "runs" / "run" / NAMES[1])
    assert checkpoint.computed_by["num_processes"] == 2


def test_streams_that_cannot_be_shared_evenly_are_refused():
    with pytest.raises(SettingsError, match="multiple of the 3 processes"):
        World(0, 3).columns(16)
    assert World(1, 2).columns(16) == slice(8, 16)


def test_standard_input_cannot_be_shared(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = invoke("train", "-", stdin=b"text")
    assert code == 2
    assert "standard input" in err
