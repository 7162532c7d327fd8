"""Whole tiny runs under faults of the disk and signals that arrive in the middle of a save."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from command import limited_files
from fault_fs import FaultFS
from tiny_run import make_task, make_trainer, never

from charrnn.errors import DeviceError, ExitCode, OutputError
from charrnn.storage.model_file import read_model
from charrnn.training import event
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.stop import stop_on_signals

NAMES = ("model.safetensors", "training.safetensors")
TASK = {"training": {"steps": 9, "eval_every": 3}, "model": {"cell": "gru", "dropout": 0.2}}
MOST_CALLS = 200


def files_of(directory):
    return {name: (directory / name).read_bytes() for name in NAMES}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    directory = tmp_path_factory.mktemp("straight")
    list(make_trainer(make_task(**TASK), directory).run(never))
    return files_of(directory)


def check_whole(directory):
    """No temporary file, and what is there is whole."""
    assert {path.name for path in directory.iterdir()} <= {*NAMES, "metrics.jsonl"}
    for name, read in zip(NAMES, (read_model, read_checkpoint), strict=True):
        if (directory / name).exists():
            read(directory / name)


def finish(directory):
    """Goes on from the checkpoint, or begins anew where there is none; the files at the end."""
    path = directory / NAMES[1]
    checkpoint = read_checkpoint(path) if path.exists() else None
    list(make_trainer(make_task(**TASK), directory, checkpoint=checkpoint).run(never))
    return files_of(directory)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_whichever_call_of_a_run_fails_training_goes_on_and_nothing_is_lost(tmp_path, straight, error):
    for strike_at in range(1, MOST_CALLS):
        directory = tmp_path / str(strike_at)
        trainer = make_trainer(make_task(**TASK), directory)
        with FaultFS(strike_at, error=error).installed() as fs:
            events = list(trainer.run(never))
        assert isinstance(events[-1], event.Finished)
        check_whole(directory)
        if not fs.struck:
            break
        # Loud, but for the last call of all, which closes the history of a run that is done.
        is_last = strike_at == len(fs.names)
        assert any(isinstance(e, event.Warned) for e in events) or (is_last and fs.names[-1] == "close")
        assert finish(directory) == straight
    assert strike_at > 40  # three saves of two files, eight calls each
    assert files_of(directory) == straight


def test_a_signal_in_any_call_of_a_save_stops_after_it_and_the_run_resumes_to_the_same_end(tmp_path, straight):
    for strike_at in range(1, MOST_CALLS):
        directory = tmp_path / str(strike_at)
        with stop_on_signals() as request:
            trainer = make_trainer(make_task(**TASK), directory)
            with FaultFS(strike_at, fault="signal").installed() as fs:
                events = list(trainer.run(request))
        check_whole(directory)
        if not fs.struck:
            break
        assert request.exit_code == ExitCode.TERMINATE
        assert events[-1].reason == "stopped" or events[-1].step == 9
        assert finish(directory) == straight
    assert strike_at > 40


def test_a_best_model_that_could_not_be_written_is_written_at_the_next_evaluation(tmp_path):
    task = make_task(training={"steps": 40, "eval_every": 4, "learning_rate": 0.05})
    straight = list(make_trainer(task, tmp_path / "straight").run(never))
    best_step = straight[-1].best_step
    trainer = make_trainer(task, tmp_path / "run")
    warned = []
    for happened in trainer.run(never):
        if isinstance(happened, event.Warned):
            warned.append(happened)
        if isinstance(happened, event.Saved):  # between evaluations the disk is full for one write
            full = happened.step == best_step - 4
            (tmp_path / "run" / NAMES[0]).parent.chmod(0o755)
            if full:
                struck = FaultFS(1).installed()
                struck.__enter__()
        if isinstance(happened, event.Evaluated) and happened.step == best_step:
            struck.__exit__(None, None, None)
    assert len(warned) == 1
    assert files_of(tmp_path / "run") == files_of(tmp_path / "straight")


def test_a_directory_deleted_on_the_way_is_told_and_ends_the_run(tmp_path):
    task = make_task(training={"steps": 5000, "eval_every": 2, "patience": 5000})
    seen = []

    def follow():
        for happened in make_trainer(task, tmp_path / "run").run(never):
            seen.append(happened)
            if isinstance(happened, event.Saved):
                shutil.rmtree(tmp_path / "run", ignore_errors=True)

    with pytest.raises(OutputError, match="No such file or directory"):
        follow()
    assert any(isinstance(e, event.Warned) for e in seen)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (torch.OutOfMemoryError("out of memory"), r"out of memory at step 3; use a smaller --batch-size.*--resume"),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), r"device was lost at step 3 .*--resume"),
    ],
)
def test_a_device_that_fails_on_the_way_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch, error, says):
    trainer = make_trainer(make_task(**TASK), tmp_path / "run")
    update = trainer._update

    def failing():
        if trainer.step == 3:
            raise error
        return update()

    trainer._update = failing
    with pytest.raises(DeviceError, match=says) as caught:
        list(trainer.run(never))
    assert caught.value.exit_code == ExitCode.DEVICE
    assert read_checkpoint(tmp_path / "run" / NAMES[1]).step == 3
    check_whole(tmp_path / "run")


# --- the command on a full disk ---------------------------------------------------------------------------------------


def train(directory, *options, most_bytes=None):
    text = directory / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 40)
    sizes = ["--cell", "gru", "--hidden-size", "24", "--batch-size", "2", "--bptt", "5", "--threads", "1"]
    command = [sys.executable, "-m", "charrnn", "train", str(text), *sizes, "--out", str(directory / "runs"), *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    limit = None if most_bytes is None else lambda: limited_files(most_bytes)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, preexec_fn=limit)


def test_on_a_full_disk_the_run_warns_goes_on_and_ends_with_its_last_model_whole(tmp_path):
    # The model (some 20 kB) fits, the training state (some 80 kB) does not.
    ended = train(tmp_path, "--steps", "60", "--eval-every", "10", "--name", "run", most_bytes=40_000)
    assert ended.returncode == ExitCode.OUTPUT
    said = [line for line in ended.stderr.splitlines() if "could not be saved" in line]
    assert len(said) == 2  # and the third failure in a row ends the run
    assert "File too large" in said[0]
    assert "training goes on" in said[0]
    assert "bytes needed" in said[0]
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("charrnn: cannot write")
    assert "Traceback" not in ended.stderr
    assert read_model(tmp_path / "runs" / "run").facts["step"] >= 10
    check_whole_run(tmp_path / "runs" / "run")


def test_where_not_even_the_model_fits_nothing_torn_is_left(tmp_path):
    ended = train(tmp_path, "--steps", "60", "--eval-every", "10", "--name", "run", most_bytes=5_000)
    assert ended.returncode == ExitCode.OUTPUT
    assert "the model could not be saved" in ended.stderr
    check_whole_run(tmp_path / "runs" / "run")


def check_whole_run(directory):
    assert not [path.name for path in directory.iterdir() if ".tmp-" in path.name]
    for name, read in zip(NAMES, (read_model, read_checkpoint), strict=True):
        if (directory / name).exists():
            read(directory / name)


def test_on_a_full_file_system_in_memory_the_run_ends_and_says_what_is_missing(tmp_path):
    """A real file system without room: ENOSPC from the kernel itself."""
    mount = "mount -t tmpfs -o size=96k none {0} && cd {0}/.. && exec {1}"
    runs = tmp_path / "runs"
    runs.mkdir()
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 40)
    sizes = "--cell gru --hidden-size 24 --batch-size 2 --bptt 5 --threads 1 --steps 60 --eval-every 10 --name run"
    command = f"{sys.executable} -m charrnn train {text} {sizes} --out {runs}; code=$?; ls -a {runs}/run; exit $code"
    probe = subprocess.run(["unshare", "-rm", "sh", "-c", f"mount -t tmpfs none {runs}"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip(f"no mount of our own here: {probe.stderr.decode().strip()[:80]}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    script = mount.format(runs, f"sh -c '{command}'")
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == ExitCode.OUTPUT, ended.stderr
    assert "No space left on device" in ended.stderr
    assert "bytes needed" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "model.safetensors" in ended.stdout
    assert ".tmp-" not in ended.stdout


def test_a_run_that_is_frozen_and_thawed_ends_as_if_nothing_had_been(tmp_path):
    options = ["--steps", "900", "--eval-every", "100", "--patience", "99"]
    assert train(tmp_path, *options, "--name", "straight").returncode == 0
    text = tmp_path / "text.txt"
    sizes = ["--cell", "gru", "--hidden-size", "24", "--batch-size", "2", "--bptt", "5", "--threads", "1"]
    command = [sys.executable, "-m", "charrnn", "train", str(text), *sizes, *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "runs"), "--name", "frozen"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        while not process.stderr.readline().startswith(b"step "):
            pass
        for _ in range(3):
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            process.send_signal(signal.SIGCONT)
        process.stderr.read()
    assert process.returncode == 0
    assert files_of(tmp_path / "runs" / "frozen") == files_of(tmp_path / "runs" / "straight")
