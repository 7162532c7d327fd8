"""From options to a task: splits, sizes that fit, weights carried over to a larger vocabulary."""

import numpy as np
import pytest
import torch
from charrnn.models.char_rnn import CharRNN
from charrnn.models.recurrence import UNROLLED

from charrnn.errors import InputError, SettingsError
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile
from charrnn.text.vocab import Vocab
from charrnn.training.preparation import TextChoice, prepare

STEPS = {"steps": 3}


def text_file(tmp_path, text, name="text.txt"):
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def prepared(paths, *, model=None, training=None, init_from=None, **text):
    return prepare(
        TextChoice(tuple(paths), **text),
        on_gpu=False,
        model=model or {},
        training=training or STEPS,
        init_from=init_from,
    )


def model_of(symbols, **shape):
    vocab = Vocab.of_text(symbols)
    settings = ModelSettings(vocab_size=vocab.size, hidden_size=4, embedding_size=3, **shape)
    network = CharRNN(settings, UNROLLED)
    network.initialize(9)
    return ModelFile(settings, vocab, {k: w.detach().numpy().copy() for k, w in network.weights().items()}, {})


def test_the_last_tenth_is_held_out_unless_asked_otherwise(tmp_path):
    path = text_file(tmp_path, "abcdefghij" * 20)
    assert len(prepared([path]).task.held_out_ids) == 20
    assert len(prepared([path], val_fraction=0.25).task.held_out_ids) == 50


def test_a_held_out_text_of_its_own_shares_the_vocabulary(tmp_path):
    task = prepared([text_file(tmp_path, "ab" * 50)], val_paths=(text_file(tmp_path, "bcb", "val"),)).task
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
def test_a_larger_vocabulary_keeps_old_rows_and_gets_fresh_ones(tmp_path, kind):
    source = model_of("ac", input=kind)
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
    with pytest.raises(SettingsError, match="hidden_size is 5, but the model to start from has 4"):
        prepared([path], init_from=model_of("ac"), model={"hidden_size": 5})
    assert prepared([path], init_from=model_of("ac"), model={"dropout": 0.5}).task.model.dropout == 0.5


def test_a_resumed_run_refuses_a_text_that_has_changed(tmp_path):
    from tiny_run import StopAfter, make_trainer

    from charrnn.training.checkpoint import read_checkpoint
    from charrnn.training.preparation import prepare_resume

    path = text_file(tmp_path, "abcdefghij" * 20)
    task = prepared([path], model={"hidden_size": 4}).task
    list(make_trainer(task, tmp_path / "run").run(StopAfter(1)))
    checkpoint = read_checkpoint(tmp_path / "run" / "training.safetensors")
    again = prepare_resume(checkpoint).task
    np.testing.assert_array_equal(again.train_ids, task.train_ids)
    moved = text_file(tmp_path, "abcdefghij" * 20, "moved.txt")
    assert len(prepare_resume(checkpoint, [moved]).task.train_ids) == len(task.train_ids)
    text_file(tmp_path, "abcdefghij" * 19 + "jihgfedcba")
    with pytest.raises(InputError, match="has changed since this run began"):
        prepare_resume(checkpoint)


@pytest.mark.parametrize(
    ("model", "training", "word"),
    [
        ({"hidden_size": 0}, {}, "hidden_size is 0; it must be a whole number from 1"),
        ({"dropout": 1.0}, {}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"reset": "before", "cell": "lstm"}, {}, "reset 'before'"),
        ({}, {"learning_rate": float("nan")}, "learning_rate is nan; it must be a number above 0 to 10"),
        ({}, {"minutes": 1.0, "steps": 2}, "exactly one of minutes, epochs and steps"),
        ({}, {"epochs": -1.0}, "epochs is -1.0"),
    ],
)
def test_values_out_of_range_are_named_with_their_range(tmp_path, model, training, word):
    with pytest.raises(SettingsError, match=word):
        prepared([text_file(tmp_path, "abcdefghij" * 20)], model=model, training=training or STEPS)


def test_a_held_out_share_of_none_or_all_is_refused():
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(SettingsError, match="val_fraction"):
            TextChoice(("x",), val_fraction=share)
