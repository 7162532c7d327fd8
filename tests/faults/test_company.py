"""Several processes around one run: a second trainer, a sampler that reads while the first one writes."""

import signal

import pytest
from command import end_of, invoke, run, start, wait_for
from tiny_run import NAMES, files_of, make_task, make_trainer, never

import charrnn
from charrnn.training import event

SIZES = [
    "--cell",
    "rnn",
    "--hidden-size",
    "8",
    "--batch-size",
    "2",
    "--bptt",
    "5",
    "--threads",
    "1",
    "--eval-every",
    "2",
    "--patience",
    "999",
]


def arguments(text, name, *, steps):
    """A run beside its text."""
    return ["train", text, *SIZES, "--steps", steps, "--out", text.parent / "runs", "--name", name]


def started(text, name):
    """A run under way, with its first model stored. It says more than its pipe holds, so it cannot end unread."""
    process = start(*arguments(text, name, steps=300), pipesize=4096)
    wait_for(process, "step ", count=2)
    return process


def test_a_second_trainer_is_refused_and_the_first_is_unharmed(tmp_path, text):
    assert run(*arguments(text, "straight", steps=300)).code == 0
    first = started(text, "run")
    path = tmp_path / "runs" / "run"
    first.send_signal(signal.SIGSTOP)  # so that it is there for as long as we look
    code, _, err = invoke("train", "--resume", path)
    assert code == 7
    assert f"process {first.pid} on " in err
    assert len(err.splitlines()) == 1
    code, _, err = invoke("train", text, "--out", tmp_path / "runs", "--name", "run")
    assert code == 4
    assert "already holds a run" in err
    first.send_signal(signal.SIGCONT)
    assert end_of(first).code == 0
    assert files_of(path) == files_of(tmp_path / "runs" / "straight")


def test_a_kill_frees_a_run(tmp_path, text):
    process = started(text, "killed")
    process.kill()
    end_of(process)
    code, _, err = invoke("train", "--resume", tmp_path / "runs" / "killed", "--threads", "1")
    assert code == 0, err


def test_who_reads_while_a_run_writes_always_finds_a_whole_model(tmp_path, text):
    process = start(*arguments(text, "run", steps=600))
    wait_for(process, "step ")
    path = tmp_path / "runs" / "run"
    seen = set()
    while process.poll() is None:
        model = charrnn.load(path)
        seen.add(model.facts["step"])
        assert len(model.sample("to", length=5, seed=1)[0]) == 5
        assert invoke("verify", path).code == 0
    assert end_of(process).code == 0
    assert len(seen) > 3  # models were replaced while they were read


def test_a_model_is_whole_at_each_event_of_a_run(tmp_path):
    """The same within one process: at whatever event a reader comes, what is there is whole."""
    num_read = 0
    for happened in make_trainer(make_task(training={"steps": 60, "eval_every": 2}), tmp_path / "run").run(never):
        if (tmp_path / "run" / NAMES[0]).exists():
            charrnn.load(tmp_path / "run")
            num_read += isinstance(happened, event.Saved)
    assert num_read >= 30


def test_a_run_goes_on_when_the_reader_of_its_messages_leaves(tmp_path, text):
    with start(*arguments(text, "run", steps=100)) as process:
        assert process.stderr.readline()
        process.stderr.close()
        process.stdout.close()
        process.wait()
    code, out, _ = invoke("verify", tmp_path / "runs" / "run")
    assert code == 0
    assert "step 100 of 100" in out


def test_a_run_resumed_with_other_threads_says_what_differs(tmp_path, text):
    more = ["--precision", "float32"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.cli.signals.StopRequest.__call__", lambda self: True)
        assert invoke(*arguments(text, "run", steps=40), *more).code == 0
    code, _, err = invoke("train", "--resume", tmp_path / "runs" / "run", "--threads", "2")
    assert code == 0
    assert "not bit for bit as if it had never stopped: num_threads differs" in err
    assert invoke("verify", tmp_path / "runs" / "run")[0] == 0
