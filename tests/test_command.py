"""The ways in which tests run the command show the same."""

import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest
from command import Ended, end_of, invoke, run, start, wait_for

ENDLESS = ["--hidden-size", "4", "--steps", "1000000", "--eval-every", "2", "--patience", "1000000", "--threads", "1"]


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["inspect", "."], ["verify", "nowhere"], ["sample", ".", "--seed", "1"], ["train", "--cell", "x"]],
    ids=lambda arguments: arguments[0],
)
def test_in_this_process_forked_or_fresh_a_command_shows_the_same(trained, arguments):
    ended = invoke(*arguments, cwd=trained)
    forked, fresh = run(*arguments, cwd=trained), run(*arguments, cwd=trained, fresh=True)
    assert forked == ended
    # Where Python is named in a usage line, so is the module.
    assert fresh._replace(err=fresh.err.replace("python -m charrnn", "charrnn")) == ended


@pytest.mark.parametrize("fresh", [False, True])
def test_a_process_reads_what_it_is_given_and_where(tmp_path, fresh):
    arguments = ["train", "-", "--steps", "1", "--hidden-size", "3", "--threads", "1", "--quiet"]
    code, out, _ = run(*arguments, stdin=b"to be or not to be " * 9, cwd=tmp_path, fresh=fresh)
    assert (code, out) == (0, "checkpoints/stdin/model.safetensors\n")
    assert (tmp_path / out.strip()).exists()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_process_has_variables_of_its_own(tmp_path, fresh):
    assert "Traceback" in run("inspect", tmp_path, environment={"CHARRNN_DEBUG": "1"}, fresh=fresh).err
    assert "Traceback" not in run("inspect", tmp_path, fresh=fresh).err


def test_a_forked_process_has_limits_of_its_own(tmp_path, text):
    options = ["--steps", "1", "--hidden-size", "3", "--threads", "1"]
    assert "File too large" in run("train", text, *options, cwd=tmp_path, limits={resource.RLIMIT_FSIZE: 100}).err
    assert run("train", text, *options, cwd=tmp_path).code == 0


def test_a_forked_process_can_be_signalled_and_its_end_is_seen(tmp_path, text):
    for number, code in ((signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGKILL, -9)):
        process = start("train", text, *ENDLESS, cwd=tmp_path)
        wait_for(process, "step ")
        assert process.poll() is None
        process.send_signal(number)
        assert end_of(process).code == code
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


def test_a_forked_process_that_does_not_end_is_given_up(tmp_path, text):
    process = start("train", text, *ENDLESS, cwd=tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.5)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "PYTHONWARNINGS", "LC_ALL"])
def test_what_is_read_before_a_fork_cannot_be_chosen_for_one(name):
    with pytest.raises(ValueError, match=name):
        run("--version", environment={name: "3"})


def test_what_a_command_in_this_process_changes_is_put_back(tmp_path, text):
    import torch

    before = dict(os.environ), Path.cwd(), torch.get_num_threads()
    options = ["--steps", "1", "--hidden-size", "3", "--quiet", "--threads", str(torch.get_num_threads() + 1)]
    assert invoke("train", text, *options, cwd=tmp_path) == Ended(0, "checkpoints/text/model.safetensors\n", "")
    assert (dict(os.environ), Path.cwd(), torch.get_num_threads()) == before
