"""From options to a task: splits, sizes that fit, weights carried over to a larger vocabulary."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cells import CELLS
from tiny_run import StopAfter, make_run

from charrnn.errors import InputError, SettingsError
from charrnn.models.layer import UNROLLED
from charrnn.models.network import CharRNN
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile
from charrnn.text.vocab import Vocab
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.preparation import prepare, prepare_resume

STEPS = {"steps": 3}


def text_file(tmp_path, text, name="text.txt"):
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def prepared(paths, *, model=None, training=None, init_from=None, **text):
    return prepare(
        {"texts": tuple(paths), **text},
        on_gpu=False,
        model=model or {},
        training=training or STEPS,
        init_from=init_from,
    )


def model_of(symbols, *, facts=None, **shape):
    vocab = Vocab.of_text(symbols)
    settings = ModelSettings(vocab_size=vocab.size, hidden_size=4, embedding_size=3, **shape)
    network = CharRNN(settings, UNROLLED)
    network.initialize(9)
    return ModelFile(settings, vocab, {k: w.detach().numpy().copy() for k, w in network.weights().items()}, facts or {})


def test_the_last_tenth_is_held_out_unless_asked_otherwise(tmp_path):
    path = text_file(tmp_path, "abcdefghij" * 20)
    assert len(prepared([path]).task.held_out_ids) == 20
    assert len(prepared([path], val_fraction=0.25).task.held_out_ids) == 50


def test_a_held_out_text_of_its_own_shares_the_vocabulary(tmp_path):
    task = prepared([text_file(tmp_path, "ab" * 50)], val=(text_file(tmp_path, "bcb", "val"),)).task
    assert task.vocab.symbols == "abc"
    assert task.vocab.decode(task.train_ids) == "ab" * 50
    assert task.vocab.decode(task.held_out_ids) == "bcb"


def test_a_tiny_text_shrinks_the_sizes_and_says_so(tmp_path):
    found = prepared([text_file(tmp_path, "hello")])
    assert (found.task.training.batch_size, found.task.training.bptt) == (1, 4)
    assert any("short" in note and "batch size" in note for note in found.notes)
    assert any("too short to hold any out" in note for note in found.notes)


def test_what_the_user_fixed_is_kept_and_the_rest_follows_it(tmp_path):
    path = text_file(tmp_path, "abcdefghij" * 5000)
    fixed = prepared([path], model={"hidden_size": 64, "cell": "lstm"}, training={"minutes": 2.0, "batch_size": 5}).task
    assert (fixed.model.hidden_size, fixed.model.cell) == (64, "lstm")
    assert (fixed.training.minutes, fixed.training.batch_size) == (2.0, 5)
    assert fixed.model.vocab_size == 10


@pytest.mark.parametrize("kind", ["one-hot", "embedding"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_larger_vocabulary_keeps_old_rows_and_gets_fresh_ones(tmp_path, kind, cell):
    source = model_of("ac", input=kind, cell=cell)
    found = prepared([text_file(tmp_path, "abc" * 50)], init_from=source)
    assert found.task.vocab.symbols == "abc"
    assert any("2 symbols kept, 1 added with fresh weights: b" in note for note in found.notes)
    old, new = source.weights, found.weights
    kept = [0, 2]
    np.testing.assert_array_equal(new["output.weight"][kept], old["output.weight"])
    np.testing.assert_array_equal(new["layers.0.weight_hh"], old["layers.0.weight_hh"])
    name = "embedding.weight" if kind == "embedding" else "layers.0.weight_ih"
    entered = new[name][kept] if kind == "embedding" else new[name][:, kept]
    np.testing.assert_array_equal(entered, old[name])
    assert torch.isfinite(new["output.weight"]).all()
    assert new["output.weight"][1].abs().sum() > 0


def test_a_shape_that_contradicts_the_model_to_start_from_is_refused(tmp_path):
    path = text_file(tmp_path, "ac" * 50)
    with pytest.raises(SettingsError, match="`hidden_size` is 5, but the model to start from has 4"):
        prepared([path], init_from=model_of("ac"), model={"hidden_size": 5})
    with pytest.raises(SettingsError, match="`level` is 'byte', but the model to start from has 'char'"):
        prepared([path], init_from=model_of("ac"), level="byte")
    loose = prepared([path], init_from=model_of("ac"), training={**STEPS, "dropout": 0.5}).task
    assert loose.training.dropout == 0.5


def test_a_model_to_start_from_brings_its_dropout_unless_another_is_given(tmp_path):
    path = text_file(tmp_path, "ac" * 50)
    source = model_of("ac", facts={"training": {"dropout": 0.25, "weight_dropout": 0.125, "learning_rate": 3.0}})
    kept = prepared([path], init_from=source).task.training
    assert (kept.dropout, kept.weight_dropout) == (0.25, 0.125)
    assert kept.learning_rate < 3.0  # that of the recipe, halved
    other = prepared([path], init_from=source, training={**STEPS, "dropout": 0.5}).task.training
    assert (other.dropout, other.weight_dropout) == (0.5, 0.125)


def test_starting_from_a_model_halves_a_rate_that_is_chosen(tmp_path):
    path = text_file(tmp_path, "ac" * 50)
    shape = {"hidden_size": 4, "input": "one-hot"}
    fresh = prepared([path], model=shape).task.training.learning_rate
    assert prepared([path], init_from=model_of("ac")).task.training.learning_rate == fresh / 2
    given = prepared([path], init_from=model_of("ac"), training={**STEPS, "learning_rate": 0.5})
    assert given.task.training.learning_rate == 0.5


def test_what_is_known_of_the_text_names_no_place(tmp_path):
    task = prepared([text_file(tmp_path, "abcdefghij" * 20)]).task
    assert task.text.names == ("text.txt",)
    assert (task.text.num_texts, task.text.num_symbols, task.text.num_held_out) == (1, 200, 20)
    assert str(tmp_path) not in str(task.text.to_json())
    assert task.source.texts == (str(tmp_path / "text.txt"),)


def stopped(tmp_path, **text):
    """A task, and the checkpoint of its run after one update."""
    task = prepared([text_file(tmp_path, "abcdefghij" * 20)], model={"hidden_size": 4}, **text).task
    list(make_run(task, tmp_path / "run").events(StopAfter(1)))
    return task, read_checkpoint(tmp_path / "run" / "training.safetensors")


def test_a_resumed_run_refuses_a_text_that_has_changed(tmp_path):
    task, checkpoint = stopped(tmp_path)
    again = prepare_resume(checkpoint).task
    np.testing.assert_array_equal(again.train_ids, task.train_ids)
    moved = text_file(tmp_path, "abcdefghij" * 20, "moved.txt")
    found = prepare_resume(checkpoint, {"texts": (moved,)}).task
    assert len(found.train_ids) == len(task.train_ids)
    assert found.source.texts == (moved,)
    text_file(tmp_path, "abcdefghij" * 19 + "jihgfedcba")
    with pytest.raises(InputError, match="has changed since this run began"):
        prepare_resume(checkpoint)


def test_a_resumed_run_may_name_its_held_out_text_again(tmp_path):
    held_out = text_file(tmp_path, "jihg" * 9, "val.txt")
    task, checkpoint = stopped(tmp_path, val=(held_out,))
    moved = text_file(tmp_path, "jihg" * 9, "moved.txt")
    (tmp_path / "val.txt").unlink()
    with pytest.raises(InputError, match=r"val\.txt"):
        prepare_resume(checkpoint)
    found = prepare_resume(checkpoint, {"val": (moved,)}).task
    np.testing.assert_array_equal(found.held_out_ids, task.held_out_ids)
    np.testing.assert_array_equal(found.train_ids, task.train_ids)
    assert (found.source.texts, found.source.val) == (task.source.texts, (moved,))
    text_file(tmp_path, "jihg" * 8 + "jihf", "moved.txt")
    with pytest.raises(InputError, match="a separate held-out text with `val`"):
        prepare_resume(checkpoint, {"val": (moved,)})


@pytest.mark.parametrize(("name", "said"), [("texts", "RUN -"), ("val", "RUN --val -")])
def test_a_resumed_run_asks_for_standard_input_again(tmp_path, name, said):
    task, checkpoint = stopped(tmp_path, val=(text_file(tmp_path, "jihg" * 9, "val.txt"),))
    piped = replace(checkpoint, source=replace(checkpoint.source, **{name: ("-",)}))
    with pytest.raises(InputError, match=said):
        prepare_resume(piped)
    named = getattr(task.source, name)
    assert prepare_resume(piped, {name: named}).task.source == task.source


def test_a_resumed_run_is_as_it_began_whatever_the_recipe_is_now(tmp_path):
    task, checkpoint = stopped(tmp_path)
    found = prepare_resume(checkpoint).task
    assert (found.model, found.training, found.vocab, found.text) == (task.model, task.training, task.vocab, task.text)


@pytest.mark.parametrize(
    ("model", "training", "word"),
    [
        ({"hidden_size": 0}, {}, "hidden_size is 0; it must be a whole number from 1"),
        ({}, {**STEPS, "dropout": 1.0}, "dropout is 1.0; it must be a number at least 0 and below 1"),
        ({"cell": "transformer"}, {}, "cell is 'transformer'; it must be one of"),
        ({"input": "one-hot", "embedding_size": 3}, {}, "`embedding_size` goes with `input=embedding`"),
        ({}, {**STEPS, "learning_rate": float("nan")}, "learning_rate is nan; it must be a number above 0 and at most"),
        ({}, {"minutes": 1.0, "steps": 2}, "exactly one of `minutes`, `epochs` and `steps`"),
        ({}, {"epochs": -1.0}, "epochs is -1.0"),
    ],
)
def test_values_out_of_range_are_named_with_their_range(tmp_path, model, training, word):
    with pytest.raises(SettingsError, match=word):
        prepared([text_file(tmp_path, "abcdefghij" * 20)], model=model, training=training or STEPS)


def test_a_held_out_share_of_none_or_all_is_refused(tmp_path):
    path = text_file(tmp_path, "abcdefghij" * 20)
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(SettingsError, match="val_fraction"):
            prepared([path], val_fraction=share)
    with pytest.raises(SettingsError, match="`val_fraction` has no effect"):
        prepared([path], val_fraction=0.1, val=(path,))
