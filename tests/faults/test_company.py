"""Several processes around one run: a second trainer, a sampler that reads while the first one writes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import invoke
from tiny_run import NAMES, make_task, make_trainer, never

import charrnn
from charrnn.training import event

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
SIZES = ["--cell", "rnn", "--hidden-size", "8", "--batch-size", "2", "--bptt", "5", "--threads", "1"]
SIZES += ["--eval-every", "50", "--patience", "99"]


def start(directory, name, steps):
    text = directory / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 40)
    command = [sys.executable, "-m", "charrnn", "train", str(text), *SIZES, "--steps", str(steps)]
    return subprocess.Popen(
        [*command, "--out", str(directory / "runs"), "--name", name],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for(process, beginning):
    for line in process.stderr:
        if line.startswith(beginning):
            return
    pytest.fail("the run ended early")


def files_of(run):
    return [(run / name).read_bytes() for name in NAMES]


def test_a_second_trainer_is_refused_and_the_first_is_unharmed_until_a_kill_frees_the_run(tmp_path):
    straight = start(tmp_path, "straight", 3000)
    straight.communicate(timeout=120)
    first = start(tmp_path, "run", 3000)
    run = tmp_path / "runs" / "run"
    wait_for(first, b"step 100")
    first.send_signal(signal.SIGSTOP)  # so that it is there for as long as we look
    code, _, err = invoke("train", "--resume", run)
    assert code == 7
    assert f"process {first.pid} on " in err
    assert len(err.splitlines()) == 1
    code, _, err = invoke("train", tmp_path / "text.txt", "--out", tmp_path / "runs", "--name", "run")
    assert code == 4
    assert "already holds a run" in err
    first.send_signal(signal.SIGCONT)
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert files_of(run) == files_of(tmp_path / "runs" / "straight")

    third = start(tmp_path, "killed", 3000)
    wait_for(third, b"step 100")
    third.kill()
    third.communicate(timeout=120)
    code, _, err = invoke("train", "--resume", tmp_path / "runs" / "killed", "--threads", "1")
    assert code == 0, err


def test_who_samples_and_scores_while_a_run_writes_always_finds_a_whole_model(tmp_path):
    process = start(tmp_path, "run", 6000)
    wait_for(process, b"step 50")
    run = tmp_path / "runs" / "run"
    seen = set()
    while process.poll() is None:
        model = charrnn.load(run)
        seen.add(model.facts["step"])
        assert len(model.sample("to", length=5, seed=1)[0]) == 5
        assert invoke("verify", run)[0] == 0
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(seen) > 3  # models were replaced while they were read


def test_a_model_is_whole_at_each_event_of_a_run(tmp_path):
    """The same within one process: at whatever event a reader comes, what is there is whole."""
    num_read = 0
    for happened in make_trainer(make_task(training={"steps": 60, "eval_every": 2}), tmp_path / "run").run(never):
        if (tmp_path / "run" / NAMES[0]).exists():
            charrnn.load(tmp_path / "run")
            num_read += isinstance(happened, event.Saved)
    assert num_read >= 30


def test_a_reader_of_the_log_that_goes_away_does_not_end_the_run(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 40)
    train = f"{sys.executable} -m charrnn train {text} {' '.join(SIZES)} --steps 500 --out {tmp_path}/runs --name run"
    subprocess.run(["bash", "-c", f"{train} 2>&1 | head -n 1"], env=ENVIRONMENT, capture_output=True, timeout=120)
    assert Path(tmp_path, "runs", "run", NAMES[0]).exists()
    code, out, _ = invoke("verify", tmp_path / "runs" / "run")
    assert code == 0
    assert "step 500 of 500" in out


def test_a_run_resumed_with_other_threads_or_precision_goes_on_and_says_what_differs(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 40)
    more = ["--steps", "40", "--out", tmp_path / "runs", "--name", "run", "--precision", "float32"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.training.stop.StopRequest.__call__", lambda self: True)
        assert invoke("train", text, *SIZES, *more)[0] == 0
    code, _, err = invoke("train", "--resume", tmp_path / "runs" / "run", "--threads", "2")
    assert code == 0
    assert "not bit for bit as if it had never stopped: num_threads differs" in err
    assert invoke("verify", tmp_path / "runs" / "run")[0] == 0
