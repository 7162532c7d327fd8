import shutil
from dataclasses import replace

import numpy as np
import pytest
from command import invoke
from processes import TINY
from tiny_run import StopAfter, make_run, make_task

from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile, read_model, write_model
from charrnn.storage.run_files import MODEL_NAME, TRAINING_NAME
from charrnn.text.vocab import Vocab
from charrnn.training.checkpoint import read_checkpoint


def test_a_whole_run_is_verified_file_by_file(run_of):
    code, out, err = invoke("verify", run_of)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert [row[1] for row in rows] == ["whole"] * 4
    assert "step 12 of 12" in out


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
def test_a_file_with_a_flipped_bit_is_named_and_the_rest_checked(run_of, name):
    data = bytearray((run_of / name).read_bytes())
    data[-5] ^= 4
    (run_of / name).write_bytes(data)
    code, out, _ = invoke("verify", run_of)
    assert code == 3
    assert {line.split()[0].rsplit("/")[-1]: "NOT WHOLE" in line for line in out.splitlines()} == {
        "model.safetensors": name == "model.safetensors",
        "training.safetensors": name == "training.safetensors",
        "metrics.jsonl": False,
        "run.toml": False,
    }


@pytest.mark.parametrize("name", ["metrics.jsonl", "run.toml"])
@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_a_run_whose_history_or_settings_are_missing_or_empty_is_not_whole(run_of, name, content):
    if content is None:
        (run_of / name).unlink()
    else:
        (run_of / name).write_bytes(content)
    code, out, _ = invoke("verify", run_of)
    assert code == 3
    verdicts = {line.split()[0].rsplit("/")[-1]: line.split(None, 1)[1] for line in out.splitlines()}
    assert verdicts.pop(name).startswith("MISSING" if content is None else "NOT WHOLE")
    assert all(verdict.startswith("whole") for verdict in verdicts.values())


def test_a_run_that_was_not_evaluated_yet_may_have_no_history(tmp_path):
    list(make_run(make_task(training={"steps": 9, "eval_every": 9}), tmp_path / "run").events(StopAfter(2)))
    (tmp_path / "run" / "run.toml").write_text("steps = 9\n")
    for content in (b"", None):
        (tmp_path / "run" / "metrics.jsonl").write_bytes(b"")
        if content is None:
            (tmp_path / "run" / "metrics.jsonl").unlink()
        assert invoke("verify", tmp_path / "run").code == 0


def test_the_model_of_another_run_of_the_same_shape_and_symbols_is_noticed(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 40)
    for name, more in (("run", []), ("seed", ["--seed", "1"]), ("text", [])):
        if name == "text":
            text.write_text("that is the question, to be or not to be\n" * 40)
        options = ["--steps", "4", "--eval-every", "2", "--name", name, "--quiet", *TINY, *more]
        assert invoke("train", text, *options, cwd=tmp_path).code == 0
    text.write_text("to be or not to be, that is the question\n" * 40)
    run = tmp_path / "checkpoints" / "run"
    for other in ("seed", "text"):
        shutil.copy(run.with_name(other) / MODEL_NAME, run)
        code, out, _ = invoke("verify", run)
        assert (code, "belongs to another run" in out) == (3, True)
        code, _, err = invoke("train", "--resume", run, cwd=tmp_path)
        assert (code, "belongs to another run" in err) == (3, True)
        assert "belongs to another run" in invoke("runs", run).err
    (run / MODEL_NAME).unlink()
    assert invoke("train", "--resume", run, cwd=tmp_path).code == 0
    assert invoke("verify", run).code == 0


def test_a_model_older_than_its_run_knows_is_noticed_and_a_later_one_taken(run_of):
    model, checkpoint = read_model(run_of), read_checkpoint(run_of / TRAINING_NAME)
    for step, is_right in ((checkpoint.best_step - 1, False), (checkpoint.step + 5, True)):
        write_model(run_of / MODEL_NAME, replace(model, facts={**model.facts, "step": step}))
        assert (invoke("verify", run_of).code == 0) is is_right


def test_a_model_file_alone_is_verified(run_of):
    code, out, _ = invoke("verify", run_of / MODEL_NAME)
    assert code == 0
    assert "held-out" in out


@pytest.mark.parametrize("level", ["char", "byte"])
def test_the_claimed_loss_is_per_symbol(tmp_path, level):
    vocab = Vocab.of_text("ab") if level == "char" else Vocab.bytes()
    shape = ModelSettings(vocab_size=vocab.size, cell="rnn", hidden_size=1)
    weights = {name: np.zeros(size, np.float32) for name, size in shape.parameter_shapes().items()}
    held_out = {"nats": 8.0, "nats_per_char": 4.0, "num_bytes": 5, "num_chars": 2}
    for claims, shown in ((held_out, "4.0000 nats/char" if level == "char" else "1.6000 nats/byte"), ({}, None)):
        write_model(tmp_path / MODEL_NAME, ModelFile(shape, vocab, weights, {"held_out": claims}))
        out = invoke("verify", tmp_path / MODEL_NAME).out
        assert ("nats/" in out) == (shown is not None)
        assert shown is None or f"held-out loss of {shown}" in out


def test_what_is_no_run_is_refused(tmp_path):
    assert invoke("verify", tmp_path)[0] == 3
    assert invoke("verify", tmp_path / "missing")[0] == 3


def test_quiet_tells_by_the_exit_code_alone(run_of):
    assert invoke("verify", run_of, "--quiet") == (0, "", "")
    (run_of / MODEL_NAME).unlink()
    assert invoke("verify", run_of, "-q") == (3, "", "")
