"""The beginning of a run in a few lines."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from tiny_run import ON_ONE_THREAD, StopAfter, make_run, make_task

from charrnn.reports import opening
from charrnn.reports.opening import opening_lines
from charrnn.text.vocab import Vocab
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.device import place
from charrnn.training.preparation import Prepared

TASK = make_task(model={"cell": "gru", "dropout": 0.2}, training={"steps": 4, "seed": 3})
PLACEMENT = replace(place(TASK.model, ON_ONE_THREAD), note="")


def lines(tmp_path, task=TASK, placement=PLACEMENT, checkpoint=None, *, notes=(), num_processes=1):
    prepared = Prepared(task, tuple(notes), "sized for a test")
    return opening_lines(prepared, placement, tmp_path, checkpoint, num_processes=num_processes)


def test_the_lines_tell_text_model_recipe_machine_and_place(tmp_path):
    text, model, train, run = lines(tmp_path)
    num_learned, num_held_out = len(TASK.train_ids), len(TASK.held_out_ids)
    assert text.endswith(
        f"text: {num_learned:,} characters to learn from, {num_held_out:,} held out, {TASK.vocab.size} different"
    )
    assert model == f"model: {TASK.model.title}: {TASK.model.num_parameters:,} weights; sized for a test"
    assert "batch size 2, bptt 7, learning rate 0.01, dropout 0.2 (recurrent weights 0), seed 3" in train
    assert train.endswith("on cpu, float32, 1 thread")
    assert run == f"run:   {tmp_path}"


def test_of_many_texts_three_are_named(tmp_path):
    names = tuple("abcde")
    text = lines(tmp_path, replace(TASK, text=replace(TASK.text, names=names)))[0]
    assert text.startswith("text:  a, b, c ...: ")


def test_symbols_of_a_model_of_bytes_are_called_bytes(tmp_path):
    text = lines(tmp_path, replace(TASK, vocab=Vocab.bytes()))[0]
    assert " bytes to learn from, " in text
    assert text.endswith("256 different")


@pytest.mark.parametrize(
    ("num_held_out", "told"),
    [
        (100, None),
        (101, "of the first 100 held-out characters while training, of all at the end"),
        (300, "of the first 100 held-out characters while training, of all at the end"),
        (301, "of the first 100 held-out characters while training, of the first 300 at the end"),
    ],
)
def test_what_scores_are_of_is_told_where_it_is_a_part(tmp_path, monkeypatch, num_held_out, told):
    monkeypatch.setattr(opening, "MAX_EVALUATED", 100)
    monkeypatch.setattr(opening, "MAX_FINAL", 300)
    found = lines(tmp_path, replace(TASK, held_out_ids=np.zeros(num_held_out, np.uint8)))
    assert found[4:] == ([] if told is None else [f"score: {told}"])


def test_notes_on_text_and_machine_follow(tmp_path):
    found = lines(tmp_path, placement=replace(PLACEMENT, note="no kernels"), notes=["short", "odd"], num_processes=2)
    assert found[4:] == ["note:  short", "note:  odd", "note:  no kernels"]
    assert found[2].endswith("1 thread, shared by 2 processes")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"num_threads": 7}, "num_threads differs from"),
        ({"num_threads": 7, "torch": "0.1"}, "num_threads, torch differ from"),
    ],
    ids=str,
)
def test_what_a_resumed_run_is_not_computed_by_any_more_is_named(tmp_path, changes, told):
    list(make_run(TASK, tmp_path).events(StopAfter(2)))
    checkpoint = read_checkpoint(tmp_path / "training.safetensors")
    checkpoint = replace(checkpoint, computed_by=checkpoint.computed_by | changes)
    found = lines(tmp_path, checkpoint=checkpoint)[4:]
    assert found[0] == "note:  going on from step 2"
    assert len(found) == (1 if told is None else 2)
    assert told is None or told in found[1]
    assert all("not bit for bit as if it had never stopped" in line for line in found[1:])


def test_a_run_that_could_not_have_its_texts_name_says_who_has_it(tmp_path, trained):
    task = replace(TASK, source=replace(TASK.source, texts=(str(tmp_path / "play.txt"),)))
    assert not any("taken" in line for line in lines(tmp_path / "play-2", task))
    (tmp_path / "play").mkdir()
    (tmp_path / "play" / "notes").touch()
    taken = "note:  the name play is taken by"
    assert lines(tmp_path / "play-2", task)[-1] == f"{taken} other files: this run is play-2"
    shutil.copytree(trained, tmp_path / "play", dirs_exist_ok=True)
    found = lines(tmp_path / "play-2", task)[-1]
    assert found.startswith(f"{taken} a run (finished, LSTM 1x5, ")
    assert found.endswith(" bits/char held out): this run is play-2")
    for other in ("play", "chosen", "play-two"):
        assert not any("taken" in line for line in lines(tmp_path / other, task))
