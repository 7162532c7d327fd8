"""The train command on a tiny text."""

import json
import re

import pytest
from command import invoke, run

TINY = ["--hidden-size", "6", "--batch-size", "2", "--bptt", "5", "--threads", "1", "--steps", "8"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "play.txt"
    path.write_text("to be or not to be, that is the question\n" * 10)
    return path


def test_train_sample_and_score_work_one_after_the_other(tmp_path, text):
    """As a person does it: each command is a process that starts from nothing, where the runs are."""
    code, out, err = run("train", text, *TINY, cwd=tmp_path, fresh=True)
    assert code == 0, err
    assert "held-out loss" in out
    assert "charrnn sample play" in out
    assert "plan: 8 steps" in err
    assert "\x1b" not in out + err
    code, out, _ = run("sample", "play", "--length", 30, "--seed", 1, cwd=tmp_path, fresh=True)
    assert (code, len(out.rstrip("\n")) > 20) == (0, True)
    code, out, _ = run("perplexity", "checkpoints/play", text, "--json", cwd=tmp_path, fresh=True)
    assert (code, json.loads(out)["total"]["num_chars"]) == (0, 409)


def test_json_is_one_object_alone_on_stdout(tmp_path, text):
    result = json.loads(invoke("train", text, *TINY, "--json", cwd=tmp_path).out)
    assert result["step"] == 8
    assert result["model"].endswith("model.safetensors")
    assert invoke("perplexity", result["run"], text, "--json", cwd=tmp_path).code == 0


def test_quiet_prints_the_models_path_and_nothing_else(tmp_path, text):
    ended = invoke("train", text, *TINY, "--quiet", cwd=tmp_path)
    assert ended == (0, "checkpoints/play/model.safetensors\n", "")


def test_a_second_run_of_a_text_gets_a_name_of_its_own(tmp_path, text):
    for name in ("play", "play-2"):
        out = invoke("train", text, *TINY, "--quiet", cwd=tmp_path).out
        assert out.strip() == f"checkpoints/{name}/model.safetensors"


def test_a_name_that_is_taken_is_refused_and_nothing_is_touched(tmp_path, text):
    invoke("train", text, *TINY, "--name", "one", cwd=tmp_path)
    before = (tmp_path / "checkpoints/one/model.safetensors").read_bytes()
    code, _, err = invoke("train", text, *TINY, "--name", "one", cwd=tmp_path)
    assert code == 4
    assert "--resume one," in err
    assert (tmp_path / "checkpoints/one/model.safetensors").read_bytes() == before


def test_standard_input_is_a_text(tmp_path, text):
    ended = run("train", "-", *TINY, "--quiet", cwd=tmp_path, stdin=text.read_bytes())
    assert ended.out == "checkpoints/stdin/model.safetensors\n", ended.err


def test_hello_just_works(tmp_path):
    (tmp_path / "hello.txt").write_text("hello")
    options = ["--steps", 300, "--threads", 1, "--hidden-size", 16]
    code, _, err = invoke("train", "hello.txt", *options, cwd=tmp_path)
    assert code == 0, err
    assert "short" in err
    options = ["--prompt", "h", "--length", 4, "--temperature", 0, "--stop", "o"]
    assert invoke("sample", "checkpoints/hello", *options, cwd=tmp_path).out.strip() == "hello"


def test_fine_tuning_says_what_was_kept_and_added(tmp_path, text):
    invoke("train", text, *TINY, "--name", "base", cwd=tmp_path)
    (tmp_path / "new.txt").write_text("zebra? zoo! " * 20)
    options = ["--init-from", "checkpoints/base", "--steps", 4, "--threads", 1]
    code, _, err = invoke("train", "new.txt", *options, cwd=tmp_path)
    assert code == 0, err
    assert "added with fresh weights: ! ? z" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "name at least one TEXT"),
        (["missing.txt"], 3, "No such file"),
        (["play.txt", "--hidden-size", "0"], 2, "--hidden-size 0: must be a whole number from 1 to 65,536"),
        (["play.txt", "--dropout", "nan"], 2, "--dropout nan: must be a number at least 0 and below 1"),
        (
            ["play.txt", "--minutes", "1", "--steps", "5"],
            2,
            "exactly one of --minutes, --epochs and --steps; found --minutes and --steps",
        ),
        (["play.txt", "--cell", "transformer"], 2, "--cell transformer: must be one of rnn, lstm, gru"),
        (["play.txt", "--name", "../up"], 2, "name is '../up'"),
        (["play.txt", "--device", "cuda"], 6, "--device cpu"),
        (["--resume", "nowhere"], 3, "no run 'nowhere'"),
        (["--resume", "nowhere", "--hidden-size", "5"], 2, "--hidden-size"),
        (["play.txt", "--init-from", "play.txt"], 3, "not a safetensors file"),
        (["play.txt", "--encoding", "klingon"], 2, "encoding is 'klingon'"),
    ],
    ids=str,
)
def test_a_mistake_ends_with_one_line_that_says_what_to_do(tmp_path, text, arguments, code, words):
    import torch

    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    ended = invoke("train", *arguments, cwd=tmp_path)
    assert ended.code == code, ended.err
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert not list(tmp_path.glob("checkpoints/*/model.safetensors"))


def test_verbose_tells_rate_and_gradient(tmp_path, text):
    ended = invoke("train", text, *TINY, "-v", "--name", "more", cwd=tmp_path)
    assert ended.code == 0
    assert re.search(r"^step .* rate \S+  gradient \S+  ", ended.err, re.MULTILINE)
    assert "gradient" not in invoke("train", text, *TINY, "--name", "less", cwd=tmp_path).err
    code, out, err = invoke("train", text, *TINY, "-q", "-v", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert "--quiet" in err


def test_what_the_command_line_says_of_quiet_and_verbose_replaces_the_file(tmp_path, text):
    (tmp_path / "more.toml").write_text("verbose = true\n")
    assert invoke("train", text, *TINY, "--config", "more.toml", "-q", cwd=tmp_path).code == 0
