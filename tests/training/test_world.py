"""Runs shared by two processes, as torchrun starts them: the same learning as one process, and no one left waiting."""

import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from command import end_of, invoke, start, wait_for
from tiny_run import NAMES, files_of

from charrnn.errors import SettingsError
from charrnn.storage.model_file import read_model
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.world import World

SIZES = ["--cell", "gru", "--hidden-size", "6", "--batch-size", "4", "--bptt", "5", "--precision", "float32"]
SIZES += ["--eval-every", "2", "--patience", "999", "--threads", "1"]


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

# The same from Python: each process tells its model's step and score.
FROM_PYTHON = """
import sys, charrnn
_, text, out = sys.argv[1:]
model = charrnn.train(text, out=out, steps=5, hidden_size=6, batch_size=4, bptt=5, threads=1)
print(model.facts["step"], model.score("to be or not to be").nats)
"""


def start_both(*arguments, **options):
    """The command in two processes, with the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(2):
        environment = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
        }
        processes.append(start("train", *arguments, environment=environment, **options))
    return processes


def ends_of(processes):
    return [end_of(process) for process in processes]


def test_two_processes_learn_what_one_learns_and_one_of_them_speaks(tmp_path, text):
    # Dropout is drawn by each process for itself.
    more = ["--steps", "60", "--dropout", "0", "--weight-dropout", "0", "--out", tmp_path / "runs"]
    first, second = ends_of(start_both(text, *SIZES, *more, "--name", "two"))
    assert first.code == 0, first.err
    assert second == (0, "", "")
    assert "shared by 2 processes" in first.err
    assert "held-out loss" in first.out
    assert invoke("train", text, *SIZES, *more, "--name", "one")[0] == 0
    one, two = (read_model(tmp_path / "runs" / name) for name in ("one", "two"))
    for name, weight in one.weights.items():
        # The same sums in another order: float32 rounding, grown over 60 updates of Adam.
        np.testing.assert_allclose(two.weights[name], weight, atol=2e-3)
    found, alone = (model.facts["held_out"]["nats_per_char"] for model in (two, one))
    assert found == pytest.approx(alone, abs=1e-4)


@pytest.mark.long
def test_each_process_of_a_program_gets_the_model_that_all_have_trained(tmp_path, text):
    first, second = ends_of(start_both(text, tmp_path / "runs", fresh=True, program=("-c", FROM_PYTHON)))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert first.out == second.out
    assert first.out.startswith("5 ")
    assert "shared by 2 processes" in first.err
    assert second.err == ""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="thread names are read from Linux's /proc")
def test_no_thread_that_talks_to_other_processes_outlives_the_run(tmp_path, text):
    """Such a thread aborted a process in ten that had finished, while Python was ending under it."""
    more = [*SIZES, "--steps", "5", "--out", tmp_path / "runs"]
    for code, _, err in ends_of(start_both(text, *more, fresh=True, program=("-c", THREADS_AT_EXIT))):
        assert code == 0, err
        threads = [line for line in err.splitlines() if line.startswith("thread: ")]
        assert threads
        assert not [thread for thread in threads if "gloo" in thread]


@pytest.mark.long
def test_a_shared_run_stopped_by_a_signal_to_one_process_resumes(tmp_path, text):
    """To the very same end, though the signal went to the process that does not speak."""
    noise = ["--dropout", "0.2", "--weight-dropout", "0.1", "--restart", "0.2"]
    more = [*SIZES, *noise, "--steps", "300", "--out", tmp_path / "runs"]
    ended = ends_of(start_both(text, *more, "--name", "straight"))
    assert [process.code for process in ended] == [0, 0], ended
    # What it says is more than its pipe holds: it cannot end before it is read.
    processes = start_both(text, *more, "--name", "stopped", pipesize=4096)
    wait_for(processes[0], "step ")
    processes[1].send_signal(signal.SIGTERM)
    ended = ends_of(processes)
    assert ended[1].code == 143
    run = tmp_path / "runs" / "stopped"
    assert 0 < read_checkpoint(run / NAMES[1]).step < 300
    ended = ends_of(start_both("--resume", run))
    assert [process.code for process in ended] == [0, 0], ended
    assert "not bit for bit" not in ended[0].err
    assert files_of(run) == files_of(tmp_path / "runs" / "straight")


def test_where_one_process_is_killed_none_hangs_and_the_checkpoint_is_whole(tmp_path, text):
    processes = start_both(text, *SIZES, "--steps", "200000", "--out", tmp_path / "runs", "--name", "run")
    wait_for(processes[0], "step ", count=3)
    processes[1].kill()
    began = time.monotonic()
    code, _, err = ends_of(processes)[0]
    assert code == 6, err
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
