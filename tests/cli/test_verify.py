import numpy as np
import pytest
from command import invoke

from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile, write_model
from charrnn.storage.run_files import MODEL_NAME
from charrnn.text.vocab import Vocab


def test_a_whole_run_is_verified_file_by_file(run_of):
    code, out, err = invoke("verify", run_of)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert [row[1] for row in rows] == ["whole"] * 3
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
    }


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
