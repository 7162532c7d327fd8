"""A model as an object: what it samples, scores and ranks."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from cells import CELLS
from small_network import random_weights, shape_of

import charrnn
from charrnn.errors import InputError, SettingsError
from charrnn.inference.language_model import LanguageModel
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile, write_model
from charrnn.text.vocab import Vocab
from charrnn.units import Score

VOCAB = Vocab.of_text("\n abcdeé")


def model_of(vocab, **shape):
    """A model whose predictor computes in float64."""
    settings = shape_of(vocab_size=vocab.size, **shape)
    weights = random_weights(settings)
    model = LanguageModel(ModelFile(settings, vocab, weights, {"made": "here"}), num_threads=1)
    model.predictor = NumpyNetwork(settings, weights, dtype=np.float64)
    return model


@pytest.fixture
def model():
    return model_of(VOCAB, cell="lstm")


@pytest.fixture
def byte_model():
    return model_of(Vocab.bytes())


@pytest.mark.parametrize("cell", CELLS)
def test_a_model_file_loads_to_a_model_that_samples_and_scores(tmp_path, cell):
    settings = ModelSettings(vocab_size=VOCAB.size, cell=cell, hidden_size=4)
    file = ModelFile(settings=settings, vocab=VOCAB, weights=random_weights(settings), facts={"made": "here"})
    write_model(tmp_path / "model.safetensors", file)
    for path in (tmp_path, str(tmp_path / "model.safetensors")):
        model = charrnn.load(path, num_threads=1)
        assert model.settings == settings
        assert model.vocab == VOCAB
        assert model.facts == {"made": "here"}
        [text] = model.sample("ab", length=20, seed=1)
        assert len(text) == 20
        assert model.score("ab" + text).num_predictions == 21


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError):
        charrnn.load(tmp_path / "none")


def test_streaming_gives_the_sampled_text_in_pieces(model):
    pieces = list(model.stream("ab", length=50, seed=3, temperature=0.8, top_p=0.9, min_p=0.01, top_k=5))
    assert len(pieces) > 2
    [text] = model.sample("ab", length=50, seed=3, temperature=0.8, top_p=0.9, min_p=0.01, top_k=5)
    assert "".join(pieces) == text


def test_without_a_seed_texts_differ(model):
    assert model.sample(length=80) != model.sample(length=80)


def test_surprisals_add_up_to_the_score(model):
    text = "abc ab\nédc"
    surprisals = model.surprisals(text)
    score = model.score(text)
    assert surprisals.shape == (len(text) - 1,)
    assert math.fsum(surprisals) == pytest.approx(score.nats, rel=1e-14)
    assert score.num_chars == len(text) - 1


def test_a_character_of_several_bytes_has_the_surprisals_of_all_of_them(byte_model):
    text = "aé😀b"
    nats, _ = byte_model.predictor.score(
        *(np.frombuffer(text.encode(), np.uint8)[cut, None] for cut in (slice(None, -1), slice(1, None))),
        byte_model.predictor.zero_state(1),
    )
    want = [nats[0:2].sum(), nats[2:6].sum(), nats[6:7].sum()]
    np.testing.assert_allclose(byte_model.surprisals(text), want, rtol=1e-13)


def test_texts_without_predictions_have_no_surprisals(model, byte_model):
    for text in ("", "a"):
        assert model.surprisals(text).shape == byte_model.surprisals(text).shape == (0,)
        assert model.score(text).num_predictions == 0


def test_any_collection_of_texts_is_ranked_and_nothing_else(model):
    texts = ["bad", "dab", "cab"]
    ranked = model.rank(texts)
    assert model.rank(tuple(texts)) == model.rank(text for text in texts) == ranked
    assert sorted(model.rank(set(texts))) == sorted(texts)
    assert model.rank([]) == []
    for wrong in ("bad", b"bad", {"bad": 1}, 7, None, ["bad", None], ["bad", 7]):
        for call in (model.rank, model.score_lines):
            with pytest.raises(SettingsError, match=r"texts (is of type|holds something of type)"):
                call(wrong)


def test_texts_are_ranked_by_probability_as_lines(model):
    texts = ["abc", "cba", "aaa", "é d"]
    ranked = model.rank(texts)
    nats = [model.score("\n" + text).nats for text in ranked]
    assert sorted(ranked) == sorted(texts)
    assert nats == sorted(nats)


def test_without_a_newline_in_the_vocabulary_a_lines_own_is_left_out():
    model = model_of(Vocab.of_text("helo"))
    for score in model.score_lines(["hello\n", "hello"]):
        assert score.num_predictions == 4
        assert score.nats == pytest.approx(model.score("hello").nats, rel=1e-14)  # float64, other products


def test_unknown_characters_are_refused(model):
    for act in (model.score, model.sample, model.surprisals, lambda text: model.rank([text])):
        with pytest.raises(InputError, match=r"U\+007A"):
            act("az")


def test_values_out_of_range_are_refused(model):
    with pytest.raises(SettingsError, match="temperature"):
        model.sample(temperature=-1)
    with pytest.raises(SettingsError, match="num_samples"):
        model.sample(num_samples=1.5)
    with pytest.raises(SettingsError, match="threads is 0"):
        LanguageModel(ModelFile(model.settings, VOCAB, random_weights(model.settings), {}), num_threads=0)


def test_an_unknown_setting_is_refused_with_the_one_that_was_meant(model):
    for act in (model.sample, model.stream):
        with pytest.raises(SettingsError, match="no setting 'temprature'; did you mean temperature"):
            act(temprature=0.5)


# --- what is printed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vocab", "alphabet", "unit"), [(VOCAB, "8 characters", "char"), (Vocab.bytes(), "256 bytes", "byte")]
)
def test_a_model_is_printed_with_its_shape_text_and_score(tmp_path, vocab, alphabet, unit):
    settings = ModelSettings(vocab_size=vocab.size, cell="gru", hidden_size=4)
    held_out = Score(nats=30.0, nats_squared=50.0, num_predictions=20, num_chars=15, num_bytes=20)
    facts = {"corpus": {"names": ["a.txt", "b\x1b.txt", "c.txt", "d.txt"]}, "held_out": asdict(held_out)}
    write_model(tmp_path / "model.safetensors", ModelFile(settings, vocab, random_weights(settings), facts))
    model = charrnn.load(tmp_path, num_threads=1)
    assert str(model).splitlines() == [
        f"GRU 1x4, one-hot input: {settings.num_parameters:,} weights, {alphabet}",
        rf"learned from 'a.txt', 'b\x1b.txt', 'c.txt' ...; 1.5000 nats/{unit} on held-out text",
        str(tmp_path / "model.safetensors"),
    ]
    assert repr(model) == f"LanguageModel(GRU 1x4, one-hot input, {alphabet}, '{tmp_path / 'model.safetensors'}')"


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"corpus": None, "held_out": 3},
        {"corpus": {"names": "abc"}, "held_out": {"nats": "1", "num_predictions": 2}},
        {"corpus": {"names": []}, "held_out": {"nats": 1.0, "num_predictions": 0}},
        {"held_out": {"nats": 1.0, "nats_squared": 1.0, "num_predictions": True, "num_chars": 1, "num_bytes": 1}},
    ],
    ids=str,
)
def test_a_model_whose_file_tells_nothing_of_use_is_printed_by_its_shape(facts):
    settings = shape_of(vocab_size=VOCAB.size)
    model = LanguageModel(ModelFile(settings, VOCAB, random_weights(settings), facts), num_threads=1)
    assert str(model) == f"{settings.title}: {settings.num_parameters:,} weights, 8 characters"
    assert repr(model) == f"LanguageModel({settings.title}, 8 characters)"


def test_the_score_of_a_text_says_how_many_characters_it_is_of(byte_model):
    assert repr(byte_model.score("aéb")).endswith("; 2 characters)")
    assert repr(byte_model.score("a")) == "Score(nothing predicted)"


def test_the_version_is_that_of_the_installed_package(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", {"charrnn": "1.2.3"}.__getitem__)
    assert charrnn.__version__ == "1.2.3"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = charrnn.nothing
