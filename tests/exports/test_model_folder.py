"""Folders as model hubs keep them: complete, true, and usable as they are."""

import json
import re

import pytest
import yaml
from command import invoke
from safetensors.numpy import load_file
from small_model import TEXT, make_model
from small_network import random_weights, shape_of

import charrnn
from charrnn.errors import InputError, OutputError
from charrnn.exports.model_card import SAMPLE_LENGTH, SAMPLE_TEMPERATURE
from charrnn.exports.model_folder import write_folder
from charrnn.models.settings import ModelSettings
from charrnn.models.shape import MixtureSettings
from charrnn.storage.model_file import ModelFile, read_model
from charrnn.text.vocab import Vocab

FILES = {"README.md", "config.json", "model.safetensors", "run.toml", "vocab.json"}
SHORT = ("--steps", "4", "--batch-size", "2", "--bptt", "5", "--hidden-size", "8", "--threads", "1", "--seed", "3")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A directory with a run of a text that lies elsewhere, and the folder made of it."""
    here = tmp_path_factory.mktemp("hub")
    (here / "private").mkdir()
    (here / "private" / "be.txt").write_text(TEXT)
    ended = invoke("train", "private/be.txt", *SHORT, "--quiet", cwd=here)
    assert ended.code == 0, ended.err
    run = here / "checkpoints" / "be"
    write_folder(read_model(run), here / "be-lstm", run=run, version="1.2")
    return here


@pytest.fixture(scope="module")
def card(here):
    """The front matter as values, and the rest of the card."""
    _, front, rest = (here / "be-lstm" / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), rest


def test_the_folder_is_complete_and_is_a_model(here):
    folder = here / "be-lstm"
    assert {path.name for path in folder.iterdir()} == FILES
    made, original = charrnn.load(folder), charrnn.load(here / "checkpoints" / "be")
    assert made.sample("to be", seed=1) == original.sample("to be", seed=1)
    stored = load_file(folder / "model.safetensors")
    assert {name: weight.shape for name, weight in stored.items()} == original.settings.parameter_shapes()


def test_config_and_vocabulary_tell_what_the_model_is(here):
    folder = here / "be-lstm"
    original = read_model(folder)
    config = json.loads((folder / "config.json").read_text())
    shape = {name: value for name, value in config.items() if name in ModelSettings.settings()}
    assert ModelSettings.from_json(shape) == original.settings
    assert (config["model_type"], config["level"], config["start_text"]) == ("charrnn", "char", "\n")
    assert config["charrnn_version"] == "1.2"
    vocab = json.loads((folder / "vocab.json").read_text())
    assert "".join(sorted(vocab, key=vocab.get)) == original.vocab.symbols
    assert sorted(vocab.values()) == list(range(original.vocab.size))


def test_the_front_matter_has_the_scores_of_the_run(here, card):
    front, _ = card
    assert front["library_name"] == "charrnn"
    assert front["pipeline_tag"] == "text-generation"
    assert {"charrnn", "lstm", "character-level"} <= set(front["tags"])
    (run,) = [run for run in charrnn.runs(here / "checkpoints") if run.name == "be"]
    (result,) = front["model-index"][0]["results"]
    told = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert told["perplexity"] == pytest.approx(run.score.perplexity, abs=1e-4)
    assert told["bits-per-character"] == pytest.approx(run.score.bits_per_char, abs=1e-4)
    assert result["dataset"]["name"] == "held-out part of be.txt"


def test_the_card_has_text_scores_sample_command_and_limits(here, card):
    _, rest = card
    headings = re.findall(r"^## (.+)$", rest, re.MULTILINE)
    assert headings == ["Use", "What it writes", "The text", "Scores", "Training", "Limits", "Files"]
    (run,) = [run for run in charrnn.runs(here / "checkpoints") if run.name == "be"]
    assert f"| {run.score.nats_per_char:.4f} |" in rest
    assert run.fingerprint in rest
    assert "2,520 characters, of which 252 were held out" in rest
    options = {"length": SAMPLE_LENGTH, "temperature": SAMPLE_TEMPERATURE}
    assert charrnn.load(here / "be-lstm").sample(seed=0, **options)[0].strip("\n") in rest
    assert "word for word" in rest
    assert "No licence is stated" in rest


def test_the_command_in_the_card_repeats_the_model(here, card, tmp_path):
    _, rest = card
    assert "charrnn train --config run.toml\n" in rest
    for name in ("run.toml",):
        (tmp_path / name).write_bytes((here / "be-lstm" / name).read_bytes())
    (tmp_path / "be.txt").write_text(TEXT)
    ended = invoke("train", "--config", "run.toml", "--threads", "1", "--quiet", cwd=tmp_path)
    assert ended.code == 0, ended.err
    again, first = (read_model(path / "be") for path in (tmp_path / "checkpoints", here / "checkpoints"))
    assert all((again.weights[name] == weight).all() for name, weight in first.weights.items())


def test_nothing_tells_where_the_text_lay(here):
    for path in (here / "be-lstm").iterdir():
        assert b"private" not in path.read_bytes()
        assert str(here).encode() not in path.read_bytes()


def test_a_model_without_its_run_says_what_is_not_known(tmp_path):
    model = read_model(make_model(tmp_path / "m.safetensors", level="byte", cell="gru"))
    write_folder(model, tmp_path / "deep" / "gru", run=None, version="1")
    folder = tmp_path / "deep" / "gru"
    assert {path.name for path in folder.iterdir()} == FILES - {"run.toml"}
    card = (folder / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert "byte-level" in front["tags"]
    assert "model-index" not in front
    for said in ("does not tell what the model learned from", "states none", "the command that\nmade it is not known"):
        assert said in card
    vocab = json.loads((folder / "vocab.json").read_text())
    assert (vocab["<0x00>"], vocab["<0xFF>"], len(vocab)) == (0, 255, 256)


def test_a_name_or_a_sample_cannot_break_the_card(tmp_path):
    facts = {"corpus": {"names": ['a"b\n---\n# `x`.txt'], "num_symbols": 9, "num_held_out": 1}}
    facts["held_out"] = {"nats": 9.0, "nats_squared": 9.0, "num_predictions": 9, "num_chars": 9, "num_bytes": 9}
    path = make_model(tmp_path / "m.safetensors", text="`\n" * 9, facts=facts)
    write_folder(read_model(path), tmp_path / "odd name", run=None, version="1")
    _, front, rest = (tmp_path / "odd name" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["model-index"][0]["name"] == "odd name"
    assert re.findall(r"^#+ (.+)$", rest, re.MULTILINE)[0] == "odd name"
    assert "\n# `x`" not in rest
    assert rest.count("charrnn sample ./FOLDER") == 2
    fence = re.search(r"^(`{4,})text$", rest, re.MULTILINE)[1]
    assert fence not in charrnn.load(tmp_path / "odd name").sample(length=400, temperature=0.7, seed=0)[0]


def test_what_is_no_network_is_refused_and_nothing_is_written(tmp_path):
    settings = shape_of()
    mixture = ModelFile(MixtureSettings((settings, settings)), Vocab.of_text("\nabcdef"), {}, {})
    with pytest.raises(InputError, match="a model folder needs a network"):
        write_folder(mixture, tmp_path / "folder", run=None, version="1")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    model = ModelFile(shape_of(), Vocab.of_text("\nabcdef"), random_weights(shape_of()), {})
    with pytest.raises(OutputError, match="cannot make the directory"):
        write_folder(model, tmp_path / "file" / "folder", run=None, version="1")
