"""Files written by older versions, kept here byte for byte: what a user stored stays readable."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import invoke

import charrnn
from charrnn.inference.scoring import score_ids
from charrnn.storage.model_file import read_model
from charrnn.storage.upgrade import VERSION
from charrnn.text.corpus import encode_source
from charrnn.text.source import Source
from charrnn.training.checkpoint import read_checkpoint

GOLDEN = Path(__file__).parent / "golden"
SCORES = json.loads((GOLDEN / "scores.json").read_text())
TRAINING = sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.glob("*/training.safetensors"))

DREW_OTHERWISE = [f"form-{form}-stopped-dropout/training.safetensors" for form in (5, 6)]


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("format-*.safetensors")))
def test_a_model_of_every_released_format_is_still_read(name):
    model = read_model(GOLDEN / name)
    assert (model.settings.cell, model.settings.hidden_size) == ("gru", 3)
    assert model.vocab.symbols == "\nabc"
    # Weights were written as multiples of a sixteenth, in order, from -1 up.
    found = np.concatenate([weight.ravel() for weight in model.weights.values()])
    np.testing.assert_array_equal(found, np.arange(len(found)) % 33 / 16 - 1)
    assert model.facts == {"held_out": {"nats_per_char": 1.25}, "step": 7}
    assert len(charrnn.load(GOLDEN / name).sample("ab", length=4, seed=1)[0]) == 4


def test_there_is_one_for_each_format():
    assert len(list(GOLDEN.glob("format-*.safetensors"))) == VERSION


@pytest.mark.parametrize("name", SCORES)
def test_a_model_of_every_form_still_gives_its_score(name):
    model = charrnn.load(GOLDEN / name)
    text = encode_source(Source("text", GOLDEN / SCORES[name]["text"]), model.vocab)
    score = score_ids(model.predictor, text.ids, vocab=model.vocab)
    # float32 sums in another order, as another processor forms them, differ by about 1e-8 of the score.
    assert score.nats == pytest.approx(SCORES[name]["nats"], rel=1e-6)


@pytest.mark.parametrize("name", TRAINING)
def test_a_training_state_of_every_form_is_upgraded(name):
    checkpoint = read_checkpoint(GOLDEN / name)
    updates = [int(tensor.item()) for key, tensor in checkpoint.tensors.items() if key.startswith("updates/")]
    assert len(updates) == len(checkpoint.model.parameter_shapes())
    assert set(updates) == {checkpoint.step}


@pytest.mark.parametrize("name", [name for name in TRAINING if name not in DREW_OTHERWISE])
def test_a_run_of_every_form_resumes_to_the_end_it_always_had(name, tmp_path):
    stopped, ended = GOLDEN / name, GOLDEN / name.replace("stopped", "ended")
    run = tmp_path / "run"
    shutil.copytree(stopped.parent, run)
    code, _, err = invoke("train", "--resume", run, GOLDEN / "text.txt", "--threads", "1", "--device", "cpu")
    assert code == 0, err
    found, expected = read_model(run), read_model(ended.with_name("model.safetensors"))
    for key, weight in expected.weights.items():
        # The same sums of float32 in another order, as another processor forms them, over a dozen updates; and matrices
        # are now kept with 11 bits.
        np.testing.assert_allclose(found.weights[key], weight, rtol=2**-11 if weight.ndim > 1 else 0, atol=1e-5)
    assert found.facts["step"] == expected.facts["step"]


@pytest.mark.parametrize("name", DREW_OTHERWISE)
def test_a_resumed_run_says_that_its_dropout_draws_otherwise_now(name, tmp_path):
    run = tmp_path / "run"
    shutil.copytree((GOLDEN / name).parent, run)
    code, _, err = invoke("train", "--resume", run, GOLDEN / "text.txt", "--threads", "1", "--device", "cpu")
    assert code == 0, err
    assert "not bit for bit as if it had never stopped" in err


def test_every_model_and_every_form_is_listed():
    stored = {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*.safetensors")}
    formats = {name for name in stored if name.startswith("format-")}
    assert stored - formats - set(TRAINING) == set(SCORES)
    readme = (GOLDEN / "README.md").read_text()
    assert [name for name in SCORES if f"| {name} |" not in readme] == []
    assert {name.split("/")[0].replace("stopped", "ended") for name in TRAINING} == {
        name.split("/")[0] for name in SCORES if "-ended" in name
    }
