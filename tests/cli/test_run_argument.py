"""Every command that takes a run takes its name, and says what there is where it is given none or a wrong one."""

import shutil

import pytest
from command import invoke, run
from processes import TINY

from charrnn.training.checkpoint import read_checkpoint

AFTER = {"sample": ["--length", "3", "--seed", "1"], "perplexity": ["text.txt"], "inspect": [], "verify": []}


@pytest.fixture
def here(tmp_path, text, trained, monkeypatch):
    """A directory with a text and two runs; "play" is the older one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARRNN_RUNS", raising=False)
    shutil.copytree(trained, "checkpoints/play")
    assert invoke("train", "text.txt", "--steps", "2", "--quiet", *TINY).code == 0
    return tmp_path


@pytest.mark.parametrize("command", AFTER)
def test_a_name_does_what_the_path_does(here, command):
    by_name = invoke(command, "text", *AFTER[command])
    assert by_name.code == 0
    assert by_name == invoke(command, "checkpoints/text", *AFTER[command])


@pytest.mark.parametrize("command", AFTER)
def test_without_a_run_the_runs_are_listed_the_latest_first(here, command):
    assert invoke(command) == (2, "", "charrnn: name a run or a model file; the runs in checkpoints are text, play\n")
    assert invoke(command, "") == (2, "", "charrnn: '' names no run; the runs in checkpoints are text, play\n")


@pytest.mark.parametrize("command", AFTER)
def test_a_misspelt_run_is_met_with_a_suggestion_and_the_list(here, command):
    code, out, err = invoke(command, "txet", *AFTER[command])
    assert (code, out) == (3, "")
    listed = "the runs in checkpoints are text, play; did you mean text?"
    assert err == f"charrnn: there is no run 'txet', and no such file; {listed}\n"


def test_train_goes_on_begins_and_takes_settings_by_name(here):
    assert invoke("train", "--resume", "text", "--quiet").out == "checkpoints/text/model.safetensors\n"
    tuned = invoke("train", "text.txt", "--init-from", "text", "--name", "tuned", "--steps", "2", "--quiet")
    assert tuned.out == "checkpoints/tuned/model.safetensors\n"
    assert f'init_from = "{here}/checkpoints/text"' in (here / "checkpoints" / "tuned" / "run.toml").read_text()
    for config in ("text", "checkpoints/text", "checkpoints/text/run.toml"):
        assert invoke("train", "--config", config, "--name", "again", "--quiet").code == 0
        states = [read_checkpoint(here / "checkpoints" / n / "training.safetensors") for n in ("text", "again")]
        assert states[0].training == states[1].training
        shutil.rmtree("checkpoints/again")


@pytest.mark.parametrize("option", ["--resume", "--init-from", "--config"])
@pytest.mark.parametrize(("given", "code", "said"), [("", 2, "''"), ("txet", 3, "did you mean text?")])
def test_train_refuses_what_is_no_run(here, option, given, code, said):
    ended = invoke("train", *([] if option == "--resume" else ["text.txt"]), option, given)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (code, "", 1)
    assert said in ended.err


def test_commands_to_go_on_with_name_the_run_where_the_name_leads_there(here):
    out = invoke("train", "--resume", "checkpoints/text").out
    assert "charrnn sample text\n" in out
    shutil.copytree("checkpoints/text", "text")  # now the name means this one
    out = invoke("train", "--resume", "checkpoints/text").out
    assert "charrnn sample checkpoints/text\n" in out


def test_runs_kept_elsewhere_are_found_by_name(here):
    elsewhere = {"CHARRNN_RUNS": str(here / "elsewhere")}
    assert run("train", "text.txt", "--steps", "2", "--quiet", *TINY, environment=elsewhere).out == (
        f"{here}/elsewhere/text/model.safetensors\n"
    )
    assert run("sample", "text", "--length", "3", environment=elsewhere).code == 0
    assert run("sample", "play", environment=elsewhere).code == 3
