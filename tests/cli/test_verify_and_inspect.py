import json
import math

import numpy as np
import pytest
from command import invoke
from tiny_run import make_task, make_trainer, never

from charrnn.storage.model_file import MODEL_NAME, ModelFile, read_model, write_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    for _ in make_trainer(make_task(), directory).run(never):
        pass
    return directory


@pytest.fixture
def run_of(trained, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    for path in trained.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    return directory


def test_a_whole_run_is_verified_file_by_file(run_of):
    code, out, err = invoke("verify", run_of)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert [row[1] for row in rows] == ["whole"] * 3
    assert "step 12 of 12" in out


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
def test_a_file_with_one_bit_flipped_is_named_and_the_others_are_still_checked(run_of, name):
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


def test_what_is_no_run_is_refused(tmp_path):
    assert invoke("verify", tmp_path)[0] == 3
    assert invoke("verify", tmp_path / "missing")[0] == 3


def test_a_model_is_described_in_words_and_as_json(run_of):
    code, out, _ = invoke("inspect", run_of)
    assert code == 0
    model = read_model(run_of)
    found = json.loads(invoke("inspect", run_of, "--json")[1])
    assert found["model"] == model.settings.to_json()
    assert found["num_parameters"] == sum(math.prod(facts["shape"]) for facts in found["weights"].values())
    assert found["held_out"]["nats_per_char"] == model.facts["held_out"]["nats_per_char"]
    assert found["vocab"]["symbols"] == model.vocab.symbols
    mean = float(model.weights["output.weight"].mean(dtype=np.float64))
    assert found["weights"]["output.weight"]["mean"] == mean
    assert f"{found['held_out']['nats_per_char']:.6g}" in out
    assert f"mean {mean:.4f}" in out


def test_a_model_that_went_wrong_is_shown_but_not_verified(run_of):
    model = read_model(run_of)
    weights = {name: weight.copy() for name, weight in model.weights.items()}
    weights["output.bias"][:2] = np.nan, np.inf
    write_model(run_of / MODEL_NAME, ModelFile(model.settings, model.vocab, weights, model.facts))
    found = json.loads(invoke("inspect", run_of, "--json")[1])
    assert found["num_nonfinite"] == 2
    assert found["weights"]["output.bias"]["mean"] is None
    assert "2 not finite" in invoke("inspect", run_of)[1]
    assert invoke("verify", run_of)[0] == 3
    assert invoke("sample", run_of)[0] == 3
