"""Whole tiny runs under faults of the disk and signals that arrive in the middle of a save."""

import errno
import os
import resource
import shutil
import signal
import subprocess

import pytest
import torch
from command import end_of, run, start, wait_for
from fault_fs import FaultFS
from tiny_run import NAMES, check_files, files_of, make_task, make_trainer, never

from charrnn.cli.signals import stop_on_signals
from charrnn.errors import DeviceError, ExitCode, OutputError
from charrnn.storage.model_file import read_model
from charrnn.training import event
from charrnn.training.checkpoint import read_checkpoint

TASK = {"training": {"steps": 9, "eval_every": 3}, "model": {"cell": "gru", "dropout": 0.2}}
MOST_CALLS = 200


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    directory = tmp_path_factory.mktemp("straight")
    list(make_trainer(make_task(**TASK), directory).run(never))
    return files_of(directory)


def check_whole(directory):
    """No temporary file, and what is there is whole."""
    assert {path.name for path in directory.iterdir()} <= {*NAMES, "metrics.jsonl"}
    check_files(directory)


def finish(directory):
    """Goes on from the checkpoint, or begins anew where there is none; the files at the end."""
    path = directory / NAMES[1]
    checkpoint = read_checkpoint(path) if path.exists() else None
    list(make_trainer(make_task(**TASK), directory, checkpoint=checkpoint).run(never))
    return files_of(directory)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_whichever_call_fails_training_goes_on_and_nothing_is_lost(tmp_path, straight, error):
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


def test_a_signal_in_any_call_of_a_save_stops_after_it(tmp_path, straight):
    for strike_at in range(1, MOST_CALLS):
        directory = tmp_path / str(strike_at)
        with stop_on_signals() as request, request.saving():
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


def test_a_best_model_not_written_is_written_at_the_next_evaluation(tmp_path):
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
        (torch.OutOfMemoryError("out of memory"), r"out of memory at step 3; use a smaller `batch_size`.*`resume`"),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), r"device was lost at step 3 .*`resume`"),
    ],
)
def test_a_device_that_fails_on_the_way_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch, error, says):
    trainer = make_trainer(make_task(**TASK), tmp_path / "run")
    update = trainer._learner.update

    def failing(**more):
        if trainer.step == 3:
            raise error
        return update(**more)

    trainer._learner.update = failing
    with pytest.raises(DeviceError, match=says) as caught:
        list(trainer.run(never))
    assert caught.value.exit_code == ExitCode.DEVICE
    assert read_checkpoint(tmp_path / "run" / NAMES[1]).step == 3
    check_whole(tmp_path / "run")


# --- the command on a full disk ---------------------------------------------------------------------------------------


def arguments(text, name, *options):
    """A run beside its text."""
    sizes = ["--cell", "gru", "--hidden-size", "24", "--batch-size", "2", "--bptt", "5", "--threads", "1"]
    return ["train", text, *sizes, "--out", text.parent / "runs", "--name", name, *options]


def check_whole_run(directory):
    assert not [path.name for path in directory.iterdir() if ".tmp-" in path.name]
    check_files(directory)


def test_on_a_full_disk_a_run_goes_on_and_keeps_its_model(tmp_path, text):
    # The model (some 20 kB) fits, the training state (some 80 kB) does not: writing fails as on a full disk (EFBIG).
    options = ["--steps", 60, "--eval-every", 10]
    code, _, err = run(*arguments(text, "run", *options), limits={resource.RLIMIT_FSIZE: 40_000})
    assert code == ExitCode.OUTPUT
    said = [line for line in err.splitlines() if "could not be saved" in line]
    assert len(said) == 2  # and the third failure in a row ends the run
    assert "File too large" in said[0]
    assert "training goes on" in said[0]
    assert "bytes needed" in said[0]
    assert err.splitlines()[-1].startswith("charrnn: cannot write")
    assert "Traceback" not in err
    assert read_model(tmp_path / "runs" / "run").facts["step"] >= 10
    check_whole_run(tmp_path / "runs" / "run")


def test_where_not_even_the_model_fits_nothing_torn_is_left(tmp_path, text):
    options = ["--steps", 60, "--eval-every", 10]
    code, _, err = run(*arguments(text, "run", *options), limits={resource.RLIMIT_FSIZE: 5_000})
    assert code == ExitCode.OUTPUT
    assert "the model could not be saved" in err
    check_whole_run(tmp_path / "runs" / "run")


def test_on_a_full_file_system_a_run_says_what_is_missing(tmp_path, text):
    """A real file system without room, in memory: ENOSPC from the kernel itself."""
    runs = tmp_path / "runs"
    runs.mkdir()
    probe = subprocess.run(["unshare", "-rm", "sh", "-c", f"mount -t tmpfs none {runs}"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip(f"no mount of our own here: {probe.stderr.decode().strip()[:80]}")
    script = f'mount -t tmpfs -o size=96k none {runs} && "$@"; code=$?; ls -a {runs}/run; exit $code'
    under = ["unshare", "-rm", "sh", "-c", script, "sh"]
    ended = run(*arguments(text, "run", "--steps", 60, "--eval-every", 10), fresh=True, under=under)
    assert ended.code == ExitCode.OUTPUT, ended.err
    assert "No space left on device" in ended.err
    assert "bytes needed" in ended.err
    assert "Traceback" not in ended.err
    assert "model.safetensors" in ended.out
    assert ".tmp-" not in ended.out


def test_a_run_frozen_and_thawed_ends_as_if_nothing_had_been(tmp_path, text):
    options = ["--steps", 300, "--eval-every", 2, "--patience", 999]
    assert run(*arguments(text, "straight", *options)).code == 0
    with start(*arguments(text, "frozen", *options), fresh=True, pipesize=4096) as process:
        wait_for(process, "step ")
        for _ in range(3):
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            process.send_signal(signal.SIGCONT)
            wait_for(process, "step ")
        assert end_of(process).code == 0
    assert files_of(tmp_path / "runs" / "frozen") == files_of(tmp_path / "runs" / "straight")
