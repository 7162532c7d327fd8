"""The train command as a person runs it: in a process of its own, on a tiny text."""

import json
import os
import subprocess
import sys

import pytest

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "COLUMNS": "100",
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "error",
}
TINY = ["--hidden-size", "6", "--batch-size", "2", "--bptt", "5", "--threads", "1", "--steps", "8"]


def charrnn(*arguments, cwd, stdin=b""):
    return subprocess.run(
        [sys.executable, "-m", "charrnn", *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
        timeout=120,
    )


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "play.txt"
    path.write_text("to be or not to be, that is the question\n" * 10)
    return path


def test_train_sample_and_score_work_one_after_the_other(tmp_path, text):
    trained = charrnn("train", text, *TINY, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    out, err = trained.stdout.decode(), trained.stderr.decode()
    assert "held-out loss" in out
    assert "charrnn sample checkpoints/play" in out
    assert "plan: 8 steps" in err
    assert "\x1b" not in out + err
    sampled = charrnn("sample", "checkpoints/play", "--length", 30, "--seed", 1, cwd=tmp_path)
    assert (sampled.returncode, len(sampled.stdout.decode().rstrip("\n")) > 20) == (0, True)
    scored = charrnn("perplexity", "checkpoints/play", text, "--json", cwd=tmp_path)
    assert json.loads(scored.stdout)["total"]["num_chars"] == 409


def test_json_is_one_object_alone_on_stdout(tmp_path, text):
    done = charrnn("train", text, *TINY, "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert result["step"] == 8
    assert result["model"].endswith("model.safetensors")
    scored = charrnn("perplexity", result["run"], text, "--json", cwd=tmp_path)
    assert scored.returncode == 0


def test_quiet_prints_the_models_path_and_nothing_else(tmp_path, text):
    done = charrnn("train", text, *TINY, "--quiet", cwd=tmp_path)
    assert (done.stdout, done.stderr) == (b"checkpoints/play/model.safetensors\n", b"")


def test_a_second_run_of_the_same_text_gets_a_name_of_its_own(tmp_path, text):
    for name in ("play", "play-2"):
        done = charrnn("train", text, *TINY, "--quiet", cwd=tmp_path)
        assert done.stdout.decode().strip() == f"checkpoints/{name}/model.safetensors"


def test_a_name_that_is_taken_is_refused_and_nothing_is_touched(tmp_path, text):
    charrnn("train", text, *TINY, "--name", "one", cwd=tmp_path)
    before = (tmp_path / "checkpoints/one/model.safetensors").read_bytes()
    done = charrnn("train", text, *TINY, "--name", "one", cwd=tmp_path)
    assert done.returncode == 4
    assert b"--resume checkpoints/one" in done.stderr
    assert (tmp_path / "checkpoints/one/model.safetensors").read_bytes() == before


def test_standard_input_is_a_text(tmp_path, text):
    done = charrnn("train", "-", *TINY, "--quiet", cwd=tmp_path, stdin=text.read_bytes())
    assert done.stdout == b"checkpoints/stdin/model.safetensors\n", done.stderr


def test_hello_just_works(tmp_path):
    (tmp_path / "hello.txt").write_text("hello")
    done = charrnn("train", "hello.txt", "--steps", 300, "--threads", 1, "--hidden-size", 16, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"short" in done.stderr
    sampled = charrnn(
        "sample", "checkpoints/hello", "--prompt", "h", "--length", 4, "--temperature", 0, "--stop", "o", cwd=tmp_path
    )
    assert sampled.stdout.decode().strip() == "hello"


def test_fine_tuning_says_what_was_kept_and_added(tmp_path, text):
    charrnn("train", text, *TINY, "--name", "base", cwd=tmp_path)
    (tmp_path / "new.txt").write_text("zebra? zoo! " * 20)
    done = charrnn("train", "new.txt", "--init-from", "checkpoints/base", "--steps", 4, "--threads", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"added with fresh weights: ! ? z" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, b"name at least one text"),
        (["missing.txt"], 3, b"No such file"),
        (["play.txt", "--hidden-size", "0"], 2, b"hidden_size is 0; it must be a whole number from 1 to 65,536"),
        (["play.txt", "--dropout", "nan"], 2, b"dropout is nan"),
        (["play.txt", "--minutes", "1", "--steps", "5"], 2, b"exactly one of minutes, epochs and steps"),
        (["play.txt", "--cell", "transformer"], 2, b"'rnn', 'lstm', 'gru'"),
        (["play.txt", "--name", "../up"], 2, b"name is '../up'"),
        (["play.txt", "--device", "cuda"], 6, b"--device cpu"),
        (["--resume", "nowhere"], 3, b"no run 'nowhere'"),
        (["--resume", "nowhere", "--hidden-size", "5"], 2, b"--hidden-size"),
        (["play.txt", "--init-from", "play.txt"], 3, b"no safetensors file"),
        (["play.txt", "--encoding", "klingon"], 2, b"encoding is 'klingon'"),
    ],
    ids=str,
)
def test_a_mistake_ends_with_one_line_that_says_what_to_do(tmp_path, text, arguments, code, words):
    import torch

    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = charrnn("train", *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""
    assert not list(tmp_path.glob("checkpoints/*/model.safetensors"))


def test_help_imports_neither_torch_nor_numpy():
    code = (
        "import sys; sys.argv = ['charrnn', '--help']\n"
        "try:\n import charrnn.cli.app as a; a.app()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=ENVIRONMENT, check=False, timeout=60)
    assert done.stderr.strip() == b"[]"


@pytest.mark.parametrize("command", ["train", "sample", "perplexity", "corpus"])
def test_every_commands_help_has_examples(tmp_path, command):
    done = charrnn(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"charrnn {command} ".encode() in done.stdout.split(b"Options:")[0].replace(b"Usage: charrnn ", b"")
