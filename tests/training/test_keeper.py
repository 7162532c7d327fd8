"""The best model of a run: which it is, and what its file holds."""

import numpy as np
import pytest
from small_network import random_weights, shape_of

from charrnn.errors import OutputError
from charrnn.storage.model_file import ModelFile, read_model
from charrnn.text.vocab import Vocab
from charrnn.training import event, keeper
from charrnn.training.keeper import Keeper, with_score
from charrnn.training.saving import Saver
from charrnn.units import Score

SHAPE = shape_of(cell="gru")


def model(number):
    return ModelFile(SHAPE, Vocab.of_text("abcdefg"), random_weights(SHAPE, seed=number), {"step": number})


def score(nats_per_char):
    return Score(nats=10 * nats_per_char, nats_squared=1.0, num_predictions=10, num_chars=10, num_bytes=10)


@pytest.fixture
def kept(tmp_path):
    return Keeper(tmp_path, Saver(writes=True))


@pytest.fixture
def full_disk(monkeypatch):
    """Whether the disk is full: ``full_disk[0]`` says so."""
    full = [True]
    write = keeper.write_model

    def write_model(path, model):
        if full[0]:
            raise OutputError("no room")
        write(path, model)

    monkeypatch.setattr(keeper, "write_model", write_model)
    return full


def test_only_a_better_model_takes_the_place_of_the_best(kept):
    found = []
    for step, nats in enumerate((2.0, 1.5, 1.5, 1.6, 1.4), 1):
        found.append((kept.take(model(step), score(nats), step=step), kept.num_without_better))
        list(kept.store(step=step))
        assert read_model(kept.path).facts["step"] == kept.best_step
    assert found == [(True, 0), (True, 0), (False, 1), (False, 2), (True, 0)]
    assert (kept.best, kept.best_step) == kept.stored == (score(1.4), 5)


def test_nothing_is_written_where_the_file_holds_the_best(kept):
    kept.take(model(1), score(2.0), step=1)
    list(kept.store(step=1))
    kept.path.unlink()
    kept.take(model(2), score(3.0), step=2)
    assert list(kept.store(step=2)) == []
    assert not kept.path.exists()


def test_a_model_that_could_not_be_written_is_tried_again(kept, full_disk):
    assert not kept.is_stored
    kept.take(model(1), score(2.0), step=1)
    (warned,) = kept.store(step=1)
    assert isinstance(warned, event.Warned)
    assert not kept.is_stored
    assert (kept.best, kept.stored) == (score(2.0), (None, 0))
    full_disk[0] = False
    kept.take(model(2), score(2.5), step=2)
    assert list(kept.store(step=2)) == []
    assert kept.is_stored
    assert kept.stored == (score(2.0), 1)
    np.testing.assert_array_equal(read_model(kept.path).weights["output.bias"], model(1).weights["output.bias"])


def test_the_third_failure_in_a_row_ends_the_run(kept, full_disk):
    kept.take(model(1), score(2.0), step=1)
    for step in (1, 2):
        assert len(list(kept.store(step=step))) == 1
    with pytest.raises(OutputError, match="no room"):
        list(kept.store(step=3))


def test_a_run_that_goes_on_knows_what_was_best(kept):
    kept.restore(best=score(1.5), best_step=40, num_without_better=2)
    assert (kept.best, kept.best_step, kept.stored, kept.is_stored) == (score(1.5), 40, (score(1.5), 40), True)
    assert not kept.take(model(50), score(1.5), step=50)
    assert kept.num_without_better == 3
    assert kept.take(model(60), score(1.4), step=60)
    assert kept.num_without_better == 0


def test_another_score_of_the_best_model_is_written_into_its_file(kept):
    kept.take(model(3), score(2.0), step=3)
    list(kept.store(step=3))
    list(kept.rescore(read_model(kept.path), score(1.75), step=9))
    facts = read_model(kept.path).facts
    assert (facts["step"], facts["held_out"]["nats_per_char"], facts["held_out"]["nats"]) == (3, 1.75, 17.5)
    assert (kept.best, kept.best_step) == (score(1.75), 3)


def test_a_score_among_the_facts_leaves_the_model_it_was_given():
    before = model(1)
    after = with_score(before, score(1.25))
    assert before.facts == {"step": 1}
    assert after.facts["held_out"]["nats_per_char"] == 1.25
    assert after.facts["held_out"]["num_predictions"] == 10
    assert after.weights is before.weights
