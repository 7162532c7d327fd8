"""The text that a run has learned from is found again, the learned part alone, or it is said why not."""

import shutil

import numpy as np
import pytest
from command import invoke

from charrnn.errors import InputError
from charrnn.inference.training_text import find_training_text
from charrnn.storage.model_file import read_model
from charrnn.text.source import Source

TEXT = "le café est là, où l'été brûle; " * 40
OTHER = "là, l'été; " * 30
SHORT = ("--steps", 2, "--hidden-size", 4, "--batch-size", 2, "--bptt", 5, "--threads", 1, "--quiet")


def trained(folder, *arguments, stdin=b""):
    ended = invoke("train", *arguments, *SHORT, stdin=stdin, cwd=folder)
    assert ended.code == 0, ended.err
    return folder / "checkpoints"


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("once")
    (folder / "text.txt").write_text(TEXT)
    trained(folder, "text.txt", "--val-fraction", 0.25)
    return folder


@pytest.fixture
def here(once, tmp_path):
    """A text and its run, to be changed; the run says that the text is where it was first."""
    return shutil.copytree(once, tmp_path / "here")


def found(run, **options):
    model = read_model(run)
    return model.vocab, find_training_text(run, vocab=model.vocab, facts=model.facts, **options)


def learned(run, **options):
    vocab, text = found(run, **options)
    return vocab.decode(text.ids) if vocab.level == "char" else np.asarray(text.ids).tobytes().decode()


def refusal(run, **options):
    with pytest.raises(InputError) as refused:
        found(run, **options)
    assert "`training_text`" in str(refused.value)
    return str(refused.value)


def test_the_learned_part_is_found_where_the_text_was(once):
    run = once / "checkpoints" / "text"
    vocab, text = found(run)
    assert vocab.decode(text.ids) == TEXT[: len(TEXT) * 3 // 4]
    assert (text.names, text.notes) == (("text.txt",), ())
    assert 0 < text.seconds < 100
    assert learned(run / "model.safetensors") == learned(run)


@pytest.mark.parametrize("level", ["char", "byte"])
def test_a_text_beside_a_held_out_text_was_learned_as_a_whole(tmp_path, level):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "val.txt").write_text(OTHER + "ç")
    runs = trained(tmp_path, "text.txt", "--val", "val.txt", "--level", level)
    assert learned(runs / "text") == TEXT
    (tmp_path / "val.txt").unlink()
    assert learned(runs / "text") == TEXT


def test_a_text_in_another_encoding_is_read_as_it_was_learned(tmp_path):
    (tmp_path / "text.txt").write_bytes(TEXT.encode("latin-1"))
    run = trained(tmp_path, "text.txt", "--encoding", "latin-1") / "text"
    assert learned(run) == TEXT[: len(TEXT) * 9 // 10]
    moved = (tmp_path / "text.txt").rename(tmp_path / "moved.txt")
    assert learned(run, named=[str(moved)]) == TEXT[: len(TEXT) * 9 // 10]


def test_a_text_too_short_to_hold_any_out_is_learned_whole(tmp_path):
    (tmp_path / "text.txt").write_text("short text")
    assert learned(trained(tmp_path, "text.txt") / "text") == "short text"


def test_a_text_that_is_gone_is_named_with_what_to_do(once, here):
    run = here / "checkpoints" / "text"
    moved = (once / "text.txt").rename(once / "moved.txt")
    try:
        assert str(once / "text.txt") in refusal(run)
        _, text = found(run, named=[str(moved)])
        assert (len(text.ids), text.notes) == (len(TEXT) * 3 // 4, ())
    finally:
        moved.rename(once / "text.txt")


@pytest.mark.parametrize("change", ["X", "l"], ids=["unknown", "known"])
def test_a_text_that_has_changed_is_not_taken_for_the_old_one(once, here, change):
    (once / "text.txt").write_text(TEXT[:-1] + change)
    try:
        assert "has changed" in refusal(here / "checkpoints" / "text")
    finally:
        (once / "text.txt").write_text(TEXT)


def test_another_text_that_is_named_is_taken_whole_and_said_to_be(here):
    (here / "other.txt").write_text(OTHER)
    vocab, text = found(here / "checkpoints" / "text", named=[str(here / "other.txt")])
    assert vocab.decode(text.ids) == OTHER
    assert "other.txt" in text.notes[0]
    assert "not known to be" in text.notes[0]


def test_a_named_text_with_characters_unknown_to_the_model_is_refused(here):
    (here / "other.txt").write_text("là, X")
    with pytest.raises(InputError, match=r"U\+0058"):
        found(here / "checkpoints" / "text", named=[str(here / "other.txt")])


def test_a_model_alone_does_not_know_where_its_text_is(once, tmp_path):
    model = shutil.copy(once / "checkpoints" / "text" / "model.safetensors", tmp_path)
    assert "training.safetensors" in refusal(model)
    _, text = found(model, named=[str(once / "text.txt")])
    assert (len(text.ids), text.seconds, text.notes) == (len(TEXT) * 3 // 4, None, ())


def test_the_training_state_of_another_run_is_not_believed(here, tmp_path):
    (tmp_path / "other.txt").write_text(OTHER)
    other = trained(tmp_path, "other.txt") / "other"
    shutil.copy(other / "training.safetensors", here / "checkpoints" / "text")
    assert "nothing says where" in refusal(here / "checkpoints" / "text")


def test_a_model_that_says_nothing_of_its_text_takes_a_named_one(here):
    model = read_model(here / "checkpoints" / "text")
    for facts in ({}, {"corpus": 5}, {"corpus": {**model.facts["corpus"], "num_symbols": -1}}):
        path = here / "checkpoints" / "text"
        with pytest.raises(InputError, match="nothing says where"):
            find_training_text(path, vocab=model.vocab, facts=facts)
        text = find_training_text(path, vocab=model.vocab, facts=facts, named=[str(here / "text.txt")])
        assert (len(text.ids), len(text.notes)) == (len(TEXT), 1)


def test_standard_input_is_gone_after_the_training(tmp_path, monkeypatch):
    run = trained(tmp_path, "-", "--name", "piped", stdin=TEXT.encode()) / "piped"
    monkeypatch.setattr(Source, "chunks", None)  # nothing is read before it is refused
    assert "standard input" in refusal(run)
