"""Runs gone on with: whatever a run read can be named again, and whatever it lost is told."""

import os
import signal
import subprocess
import sys

import pytest
from command import invoke
from processes import CHARRNN, ENVIRONMENT

from charrnn.storage.model_file import read_model
from charrnn.training.checkpoint import read_checkpoint

TEXT = "the quick brown fox jumps over the lazy dog; " * 60
SIZES = ["--hidden-size", "6", "--batch-size", "4", "--bptt", "16", "--threads", "1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "val.txt").write_text(TEXT[::-1])
    return tmp_path


def train(*arguments, stdin=b""):
    return invoke("train", *arguments, *SIZES, stdin=stdin)


def resume(*arguments, stdin=b""):
    return invoke("train", "--resume", *arguments, stdin=stdin)


def test_what_charrnn_writes_is_never_read_as_text(here):
    project = here / "project"
    project.mkdir()
    (project / "text.txt").write_text(TEXT)
    os.chdir(project)
    assert train(".", "--steps", "3")[0] == 0
    assert resume("checkpoints/project")[0] == 0
    code, _, err = train(".", "--steps", "3")
    assert code == 0
    assert "passed over 2 runs of charrnn" in err
    models = [read_model(f"checkpoints/{name}").facts["corpus"] for name in ("project", "project-2")]
    assert models[0] == models[1]
    assert models[0]["names"] == ["text.txt"]


def test_a_run_named_as_text_is_refused_with_the_way_to_go_on(here):
    assert train("text.txt", "--steps", "3")[0] == 0
    code, _, err = train("checkpoints/text", "--steps", "3")
    assert (code, "--resume" in err) == (3, True)


def test_held_out_text_from_a_pipe_or_moved_can_be_named_again(here):
    val = (here / "val.txt").read_bytes()
    assert train("text.txt", "--val", "-", "--steps", "3", stdin=val)[0] == 0
    code, _, err = resume("checkpoints/text")
    assert (code, "--val -" in err) == (3, True)
    assert resume("checkpoints/text", "--val", "-", stdin=val)[0] == 0
    assert train("text.txt", "--val", "val.txt", "--name", "moved", "--steps", "3")[0] == 0
    (here / "val.txt").rename(here / "elsewhere.txt")
    code, _, err = resume("checkpoints/moved")
    assert (code, "val.txt" in err) == (3, True)
    assert resume("checkpoints/moved", "--val", "elsewhere.txt")[0] == 0
    assert resume("checkpoints/moved")[0] == 0  # it knows from now on
    (here / "elsewhere.txt").write_text(TEXT)
    code, _, err = resume("checkpoints/moved")
    assert (code, "changed" in err) == (3, True)


def test_a_text_that_was_moved_or_deleted_is_named_with_the_way_on(here):
    assert train("text.txt", "--steps", "3")[0] == 0
    assert train("text.txt", "val.txt", "--val", "val.txt", "--name", "two", "--steps", "3")[0] == 0
    (here / "text.txt").rename(here / "moved.txt")
    code, out, err = resume("text")
    assert (code, out) == (3, "")
    assert err == (
        f"charrnn: '{here}/text.txt', a text of this run, is not there any more; name it again where it is now: "
        f"charrnn train --resume RUN TEXT\n"
    )
    assert resume("text", "moved.txt")[0] == 0
    code, _, err = resume("two")
    assert (code, "name all 2 texts again, in their order: charrnn train --resume RUN TEXT TEXT\n" in err) == (3, True)
    (here / "val.txt").unlink()
    code, _, err = resume("two", "moved.txt", "val.txt")
    assert (code, "name it again where it is now: charrnn train --resume RUN --val TEXT\n" in err) == (3, True)


@pytest.mark.parametrize(
    "option", [["--level", "byte"], ["--encoding", "latin-1"], ["--val-fraction", "0.2"], ["--out", "elsewhere"],
               ["--steps", "9"], ["--seed", "3"], ["--name", "new"], ["--init-from", "checkpoints/text"]]
)  # fmt: skip
def test_resume_refuses_every_setting_that_the_run_keeps(here, option):
    assert train("text.txt", "--steps", "3")[0] == 0
    code, out, err = resume("checkpoints/text", *option)
    assert (code, out) == (2, "")
    assert option[0] in err


def test_a_model_to_start_from_keeps_its_level(here):
    assert train("text.txt", "--steps", "3")[0] == 0
    code, _, err = train("text.txt", "--init-from", "checkpoints/text", "--level", "byte", "--name", "b")
    assert (code, "level" in err) == (2, True)
    assert not (here / "checkpoints" / "b").exists()


@pytest.mark.parametrize("level", ["char", "byte"])
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_not_both_learned_and_held_out(here, level, name):
    code, _, err = train("-", "--val", name, "--level", level, "--steps", "3", stdin=TEXT.encode())
    assert (code, "standard input" in err) == (2, True)
    assert not (here / "checkpoints").exists()


def test_a_run_that_patience_ended_stays_ended(here):
    recipe = ["--steps", "400", "--eval-every", "10", "--patience", "1", "--learning-rate", "3"]
    assert "no longer fell" in train("text.txt", *recipe)[1]
    run = here / "checkpoints" / "text"
    stored = [(run / name).read_bytes() for name in ("model.safetensors", "training.safetensors")]
    for _ in range(2):
        code, out, _ = resume("checkpoints/text")
        assert (code, "no longer fell" in out) == (0, True)
        assert [(run / name).read_bytes() for name in ("model.safetensors", "training.safetensors")] == stored


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_lost_best_model_is_told_and_replaced(here, damage):
    assert train("text.txt", "--steps", "20", "--eval-every", "5")[0] == 0
    model = here / "checkpoints" / "text" / "model.safetensors"
    if damage == "missing":
        model.unlink()
    else:
        model.write_bytes(model.read_bytes()[:-9])
    code, out, _ = invoke("verify", "checkpoints/text")
    assert (code, f"{'MISSING' if damage == 'missing' else 'NOT WHOLE'}" in out) == (3, True)
    code, out, err = resume("checkpoints/text")
    assert (code, "the best model is lost" in err) == (0, True)
    assert "checkpoints/text/model.safetensors" in out
    assert read_model(model).facts["step"] == 20
    assert invoke("verify", "checkpoints/text")[0] == 0


def test_verify_refuses_what_holds_no_run(here):
    (here / "empty").mkdir()
    (here / "empty" / "metrics.jsonl").touch()
    code, _, err = invoke("verify", "empty")
    assert (code, "holds no run" in err) == (3, True)


KILLED = """
import os, signal, sys
from charrnn.training import learner
update = learner.Learner.update
def killed(self, **more):
    if self.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return update(self, **more)
learner.Learner.update = killed
from charrnn.__main__ import main
main()
"""


def test_a_run_killed_before_its_first_checkpoint_begins_anew_under_its_name(here):
    arguments = ["train", "text.txt", "--name", "mine", "--steps", "6", "--eval-every", "5", *SIZES]
    for name in ("run.toml", "metrics.jsonl"):  # what stands there before the first checkpoint
        (here / "checkpoints" / "mine").mkdir(parents=True, exist_ok=True)
        (here / "checkpoints" / "mine" / name).touch()
    code, _, err = invoke("train", "--resume", "checkpoints/mine")
    assert (code, "no run to resume" in err) == (3, True)
    assert invoke(*arguments)[0] == 0
    assert read_checkpoint(here / "checkpoints" / "mine" / "training.safetensors").step == 6
    code, _, err = invoke(*arguments)
    assert (code, "already holds a run" in err) == (4, True)


def test_a_run_killed_before_its_first_evaluation_goes_on(here):
    arguments = ["train", "text.txt", "--name", "mine", "--steps", "6", "--eval-every", "5", *SIZES]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=ENVIRONMENT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert read_checkpoint(here / "checkpoints" / "mine" / "training.safetensors").step == 0
    assert invoke("train", "--resume", "checkpoints/mine")[0] == 0
    assert read_checkpoint(here / "checkpoints" / "mine" / "training.safetensors").step == 6


def test_three_trainings_of_one_text_take_three_names(here):
    command = [*CHARRNN, "train", "text.txt", *SIZES, "--steps", "30", "--quiet"]
    started = [subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) for _ in range(3)]
    paths = {process.communicate()[0].decode().strip() for process in started}
    assert [process.returncode for process in started] == [0, 0, 0]
    assert paths == {f"checkpoints/text{number}/model.safetensors" for number in ("", "-2", "-3")}


@pytest.mark.parametrize("content", [None, b"", b"\xfd\xff\x81" * 40], ids=["missing", "empty", "binary"])
def test_a_start_that_fails_leaves_nothing_behind(here, content):
    if content is not None:
        (here / "odd.txt").write_bytes(content)
    before = sorted(here.rglob("*"))
    code, _, _ = train("odd.txt", "--steps", "3")
    assert code == 3
    assert sorted(here.rglob("*")) == before
    (here / "odd.txt").write_text(TEXT)
    assert train("odd.txt", "--steps", "3")[0] == 0
    assert (here / "checkpoints" / "odd" / "model.safetensors").exists()  # not odd-2


def test_a_start_without_enough_memory_leaves_nothing_behind(here):
    before = sorted(here.rglob("*"))
    code, _, err = invoke("train", "text.txt", "--hidden-size", "65536", "--num-layers", "64", "--steps", "3")
    assert (code, "of memory" in err) == (6, True)
    assert sorted(here.rglob("*")) == before


def test_a_name_that_is_taken_by_no_run_is_not_said_to_hold_one(here):
    kept = here / "checkpoints" / "mine"
    kept.mkdir(parents=True)
    (kept / "model.safetensors").write_bytes(b"somebody's model")
    code, _, err = train("text.txt", "--name", "mine")
    assert (code, "no run to go on with" in err, "--resume" in err) == (4, True, False)
    assert (kept / "model.safetensors").read_bytes() == b"somebody's model"


IMPATIENT = """
import os, signal
from charrnn.training import run
def evaluate(*arguments):
    os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit("not reached: the second signal ends it")
run.evaluate = evaluate
update = run.Learner.update
def stopped(self, **more):
    if self.step == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return update(self, **more)
run.Learner.update = stopped
from charrnn.__main__ import main
main()
"""


def test_a_second_ctrl_c_while_a_stopped_run_is_evaluated_loses_no_step(here):
    arguments = ["train", "text.txt", "--name", "mine", "--steps", "6", "--eval-every", "6", *SIZES]
    ended = subprocess.run([sys.executable, "-c", IMPATIENT, *arguments], env=ENVIRONMENT, capture_output=True)
    assert (ended.returncode, b"stopping" in ended.stderr) == (130, True)
    assert read_checkpoint(here / "checkpoints" / "mine" / "training.safetensors").step == 4
    assert resume("checkpoints/mine")[0] == 0
