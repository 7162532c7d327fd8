"""What a run keeps to go on from: all of it comes back, and nothing that is not as it was written."""

from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from cells import CELLS
from tiny_run import StopAfter, make_run, make_task

from charrnn.errors import InputError
from charrnn.storage.run_files import TRAINING_NAME
from charrnn.storage.training_file import TrainingFile, read_training, write_training
from charrnn.training.checkpoint import read_checkpoint, write_checkpoint
from charrnn.units import Score


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    list(make_run(make_task(training={"steps": 12, "eval_every": 2}), directory).events(StopAfter(3)))
    return read_checkpoint(directory / TRAINING_NAME)


def written(tmp_path, checkpoint, change):
    """The path of a checkpoint whose facts or tensors ``change`` has changed."""
    path = tmp_path / TRAINING_NAME
    write_checkpoint(path, checkpoint)
    file = read_training(path)
    tensors = {name: tensor.copy() for name, tensor in file.tensors.items()}
    change(file.facts, tensors)
    write_training(path, TrainingFile(tensors, file.facts))
    return path


@pytest.mark.parametrize("cell", CELLS)
def test_what_was_written_is_read_again(tmp_path, cell):
    task = make_task(model={"cell": cell, "dropout": 0.2}, training={"steps": 12, "eval_every": 2})
    list(make_run(task, tmp_path).events(StopAfter(3)))
    first = read_checkpoint(tmp_path / TRAINING_NAME)
    assert (first.model, first.training, first.vocab) == (task.model, task.training, task.vocab)
    assert (first.text, first.source) == (task.text, task.source)
    assert (first.step, first.num_steps, first.eval_every, first.best_step) == (3, 12, 2, 2)
    assert first.best.num_predictions == len(task.held_out_ids) - 1
    write_checkpoint(tmp_path / "again", first)
    again = read_checkpoint(tmp_path / "again")
    for field in fields(first):
        if field.name != "tensors":
            assert getattr(again, field.name) == getattr(first, field.name)
    assert again.tensors.keys() == first.tensors.keys() == first.expected().keys()
    assert all(np.array_equal(again.tensors[name], tensor) for name, tensor in first.tensors.items())
    assert (tmp_path / "again").read_bytes() == (tmp_path / TRAINING_NAME).read_bytes()


def test_a_run_that_is_not_planned_or_evaluated_yet_comes_back(tmp_path, checkpoint):
    early = replace(checkpoint, num_steps=None, eval_every=0, best=None, best_step=0)
    write_checkpoint(tmp_path / TRAINING_NAME, early)
    found = read_checkpoint(tmp_path / TRAINING_NAME)
    assert (found.num_steps, found.eval_every, found.best) == (None, 0, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda facts, tensors: facts.pop("step"), "'step'"),
        (lambda facts, tensors: facts.update(step=-1), "step is -1"),
        (lambda facts, tensors: facts.update(step=True), "step is True"),
        (lambda facts, tensors: facts.update(eval_every=0), "eval_every is 0 in a run that is planned"),
        (lambda facts, tensors: facts.update(num_steps="12"), "num_steps is '12'"),
        (lambda facts, tensors: facts["model"].update(cell="transformer"), "cell is 'transformer'; it must be one of"),
        (lambda facts, tensors: facts["training"].pop("dropout"), "missing dropout"),
        (lambda facts, tensors: facts["training"].update(colour=1), "unknown 'colour'"),
        (lambda facts, tensors: facts["source"].update(texts=[]), "no text is named"),
        (lambda facts, tensors: facts["source"].update(level="word"), "level is 'word'"),
        (lambda facts, tensors: facts["text"].update(num_texts=-1), "num_texts is -1"),
        (lambda facts, tensors: facts["best"].update(nats=-1.0), "nats is -1.0"),
        (lambda facts, tensors: facts["best"].update(num_chars=1.5), "num_chars is 1.5"),
        (lambda facts, tensors: facts["best"].update(more=1), "more"),
        (lambda facts, tensors: facts.update(computed_by=[]), r"computed_by is \[\]"),
        (lambda facts, tensors: facts.update(vocab=3), "do not fit together"),
        (lambda facts, tensors: tensors.pop("interval"), "interval is missing"),
        (lambda facts, tensors: tensors.update(more=np.zeros(3)), "more"),
        (lambda facts, tensors: tensors.update({"state/hidden": np.zeros((1, 3, 5), np.float32)}), "state/hidden is"),
        (lambda facts, tensors: tensors["interval"].fill(np.nan), r"not finite \(interval\)"),
        (lambda facts, tensors: tensors["mean/output.weight"].fill(np.inf), r"not finite \(mean/output.weight\)"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, checkpoint, change, said):
    path = written(tmp_path, checkpoint, change)
    with pytest.raises(InputError, match=said) as caught:
        read_checkpoint(path)
    assert TRAINING_NAME in str(caught.value)


def test_what_a_file_says_wrongly_is_quoted_in_part(tmp_path, checkpoint):
    path = written(tmp_path, checkpoint, lambda facts, tensors: facts["model"].update(cell="x" * 10_000))
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert len(str(caught.value)) < 600


def test_the_best_score_comes_back_to_the_last_bit(tmp_path, checkpoint):
    best = Score(nats=0.1 + 0.2, nats_squared=1 / 3, num_predictions=7, num_chars=6, num_bytes=9)
    write_checkpoint(tmp_path / TRAINING_NAME, replace(checkpoint, best=best))
    assert asdict(read_checkpoint(tmp_path / TRAINING_NAME).best) == asdict(best)
