"""Runs stopped by a signal, as a person or a scheduler stops them, and gone on with to the very same end."""

import os
import signal
import subprocess
import sys
import time

import pytest

from charrnn.training.stop import stop_on_signals

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "OMP_NUM_THREADS": "1",
}
TRAIN = [sys.executable, "-m", "charrnn", "train"]
NUM_STEPS = 1500


@pytest.fixture(autouse=True)
def hangups_heard():
    """Processes started here hear SIGHUP even where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "play.txt"
    path.write_text("to be or not to be, that is the question\n" * 40)
    return path


def options(cell, name):
    sizes = ["--cell", cell, "--hidden-size", "8", "--batch-size", "2", "--bptt", "5", "--dropout", "0.1"]
    return [
        *sizes,
        "--steps",
        str(NUM_STEPS),
        "--eval-every",
        "10",
        "--threads",
        "1",
        "--name",
        name,
        "--patience",
        "99",
    ]


def start(arguments, cwd):
    # A pipe smaller than what a run says: it waits to be read, so a busy machine cannot let it end before its signal.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "pipesize": 4096}
    return subprocess.Popen([*TRAIN, *arguments], cwd=cwd, env=ENVIRONMENT, **pipes)


def wait_for_evaluation(process):
    for line in process.stderr:
        if line.startswith(b"step "):
            return
    pytest.fail("the run ended before an evaluation")


def end_of(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def files_of(run):
    return [(run / name).read_bytes() for name in ("model.safetensors", "training.safetensors")]


@pytest.mark.parametrize(
    ("cell", "number", "code"),
    [
        ("rnn", signal.SIGINT, 130),
        ("lstm", signal.SIGTERM, 143),
        ("gru", signal.SIGHUP, 129),
        ("gru", signal.SIGINT, 130),
    ],
)
def test_a_signalled_run_saves_says_how_to_go_on_and_ends_as_if_never_stopped(tmp_path, text, cell, number, code):
    straight = start([text, *options(cell, "straight")], tmp_path)
    assert end_of(straight)[0] == 0
    stopped = start([text, *options(cell, "stopped")], tmp_path)
    wait_for_evaluation(stopped)
    stopped.send_signal(number)
    returned, out, err = end_of(stopped)
    assert returned == code
    assert b"go on with: charrnn train --resume checkpoints/stopped" in err
    assert b"until it was stopped" in out
    returned, _, err = end_of(start(["--resume", "checkpoints/stopped"], tmp_path))
    assert returned == 0, err
    assert b"not bit for bit" not in err
    runs = tmp_path / "checkpoints"
    assert files_of(runs / "stopped") == files_of(runs / "straight")


def test_a_hangup_that_nohup_ignores_does_not_stop_a_run():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals() as request:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not request()
        os.kill(os.getpid(), signal.SIGTERM)
        assert request()


def test_a_second_signal_ends_at_once_and_harms_no_file(tmp_path, text):
    process = start([text, *options("gru", "twice")], tmp_path)
    wait_for_evaluation(process)
    wait_for_evaluation(process)  # by now the first is saved
    process.send_signal(signal.SIGSTOP)  # both signals are there when it goes on
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    process.send_signal(signal.SIGCONT)
    returned, _, _ = end_of(process)
    assert returned in (130, 143)
    returned, _, err = end_of(start(["--resume", "checkpoints/twice"], tmp_path))
    assert returned == 0, err


def test_a_killed_run_goes_on_from_its_last_save_to_the_same_end(tmp_path, text):
    straight = start([text, *options("gru", "straight")], tmp_path)
    assert end_of(straight)[0] == 0
    process = start([text, *options("gru", "killed")], tmp_path)
    wait_for_evaluation(process)
    wait_for_evaluation(process)
    process.kill()
    end_of(process)
    returned, _, err = end_of(start(["--resume", "checkpoints/killed"], tmp_path))
    assert returned == 0, err
    runs = tmp_path / "checkpoints"
    assert files_of(runs / "killed") == files_of(runs / "straight")
