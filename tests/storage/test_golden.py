"""Files written by older versions, kept here byte for byte: what a user stored stays readable."""

import json
from pathlib import Path

import numpy as np
import pytest

import charrnn
from charrnn.errors import InputError
from charrnn.inference.scoring import score_ids
from charrnn.storage.container import VERSION
from charrnn.storage.model_file import read_model
from charrnn.storage.training_file import read_training
from charrnn.text.corpus import encode_text_file

GOLDEN = Path(__file__).parent / "golden"
SCORES = json.loads((GOLDEN / "scores.json").read_text())
TRAINING = sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.glob("*/training.safetensors"))
OLD = ("form-1-", "form-2-", "form-3-", "form-4-")  # their settings have no weight_dropout

needs_an_upgrade = pytest.mark.xfail(strict=True, raises=InputError, reason="no step upgrades this form yet")


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


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_an_upgrade if name.startswith(OLD) else ()) for name in SCORES]
)
def test_a_model_of_every_form_still_gives_its_score(name):
    model = charrnn.load(GOLDEN / name)
    (text,) = encode_text_file(GOLDEN / SCORES[name]["text"], model.vocab)
    score = score_ids(model.engine, text.ids, vocab=model.vocab)
    # float32 sums in another order, as another processor forms them, differ by about 1e-8 of the score.
    assert score.nats == pytest.approx(SCORES[name]["nats"], rel=1e-6)


@pytest.mark.parametrize("name", TRAINING)
def test_a_training_state_of_every_form_is_whole(name):
    stored = read_training(GOLDEN / name)
    shape = (1,) if name.startswith("form-1-") else ()
    updates = {key: tensor for key, tensor in stored.tensors.items() if key.startswith("updates/")}
    assert len(updates) == len([key for key in stored.tensors if key.startswith("weight/")]) > 0
    assert {tensor.shape for tensor in updates.values()} == {shape}
    assert {int(tensor.item()) for tensor in updates.values()} == {stored.facts["step"]}


def test_every_model_and_every_form_is_listed():
    stored = {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*.safetensors")}
    formats = {name for name in stored if name.startswith("format-")}
    assert stored - formats - set(TRAINING) == set(SCORES)
    readme = (GOLDEN / "README.md").read_text()
    assert [name for name in SCORES if f"| {name} |" not in readme] == []
    assert {name.split("/")[0].replace("stopped", "ended") for name in TRAINING} == {
        name.split("/")[0] for name in SCORES if "-ended" in name
    }
