"""An entry in the table of cells is a cell everywhere: by its equations alone it trains, is stored, writes and scores.

And a name that is not in the table is an error everywhere.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cells import CELLS
from command import invoke
from minimal_cell import MINIMAL, NAME
from small_network import plain_nats
from tiny_run import NAMES, TEXT, StopAfter, files_of, make_run, make_task, never

from charrnn.errors import InputError, SettingsError
from charrnn.inference.language_model import load
from charrnn.inference.scoring import score_ids
from charrnn.models import cells
from charrnn.models.dynamic import DynamicNetwork
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.open import open_network
from charrnn.models.settings import DynamicSettings, ModelSettings
from charrnn.storage.model_file import read_model
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.recipe import recommend


@pytest.fixture
def registered(monkeypatch):
    """The cell in the table; the setting's choices, made of the table when its module is loaded, follow it."""
    monkeypatch.setitem(cells.CELLS, NAME, MINIMAL)
    known = ModelSettings.settings()
    monkeypatch.setitem(known, "cell", replace(known["cell"], choices=(*known["cell"].choices, NAME)))


@pytest.fixture
def run(registered, tmp_path):
    """The directory of a finished run."""
    training = {"steps": 80, "eval_every": 40, "learning_rate": 0.05, "dropout": 0.1}
    task = make_task(model={"cell": NAME, "num_layers": 2, "hidden_size": 8}, training=training)
    list(make_run(task, tmp_path / "run").events(never))
    return tmp_path / "run"


def test_it_learns_its_text(run):
    checkpoint = read_checkpoint(run / NAMES[1])
    uniform = np.log(checkpoint.vocab.size)
    assert checkpoint.best.nats_per_char < 0.8 * uniform
    assert checkpoint.model.cell == NAME
    assert checkpoint.model.title == "minimal GRU 2x8, one-hot input"


def test_it_goes_on_to_the_very_files_of_a_run_that_never_stopped(registered, tmp_path):
    task = make_task(model={"cell": NAME, "weight_dropout": 0.2}, training={"steps": 12, "eval_every": 4})
    list(make_run(task, tmp_path / "straight").events(never))
    list(make_run(task, tmp_path / "stopped").events(StopAfter(5)))
    checkpoint = read_checkpoint(tmp_path / "stopped" / NAMES[1])
    list(make_run(task, tmp_path / "stopped", checkpoint=checkpoint).events(never))
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "straight")


def test_it_is_stored_writes_and_scores_by_its_equations(run):
    model = load(run)
    assert isinstance(model.predictor, NumpyNetwork)
    file = read_model(run)
    assert (file.settings.cell, file.settings.parameter_shapes()["layers.0.weight_hh"]) == (NAME, (16, 8))
    text = TEXT[:200]
    expected = plain_nats(file.settings, file.weights, file.vocab.encode(text).tolist()).sum()
    assert model.score(text).nats == pytest.approx(expected, rel=1e-6)  # float32 against float64
    assert model.score(text).nats_per_char < 0.8 * np.log(file.vocab.size)
    (first, second) = model.sample("the ", length=40, seed=3, num_samples=2)
    assert [len(first), len(second)] == [40, 40]
    assert model.rank(["the quick", "zzzzzzzzz"]) == ["the quick", "zzzzzzzzz"]


def test_it_goes_on_learning_while_it_is_scored(run):
    file = read_model(run)
    ids = file.vocab.encode(TEXT[::-1][:400])
    learning = DynamicNetwork(file.settings, file.weights, DynamicSettings(learning_rate=0.3))
    plain = score_ids(open_network(file.settings, file.weights), ids, vocab=file.vocab)
    assert score_ids(learning, ids, vocab=file.vocab).nats < plain.nats


def test_a_recipe_is_chosen_for_it(registered):
    found = recommend(num_symbols=10**6, vocab_size=65, on_gpu=False, model={"cell": NAME}, training={})
    assert found.model.cell == NAME


COMMANDS = """
import json, sys
from charrnn.models import cells
from minimal_cell import MINIMAL, NAME
cells.CELLS[NAME] = MINIMAL
from command import invoke
text, runs = sys.argv[1:]
run = f"{runs}/run"
sizes = ["--hidden-size", "6", "--batch-size", "2", "--bptt", "5", "--threads", "1", "--steps", "8"]
print(json.dumps([
    invoke("train", text, "--cell", NAME, *sizes, "--out", runs, "--name", "run", "--quiet"),
    invoke("train", "--resume", run, "--quiet"),
    invoke("train", "--config", f"{run}/run.toml", "--out", runs, "--name", "again", "--quiet"),
    invoke("sample", run, "--length", "20", "--seed", "1"),
    invoke("perplexity", run, text, "--json", "--dynamic"),
    invoke("inspect", run, "--all"),
    invoke("verify", run),
    invoke("train", "--help"),
]))
"""


def test_every_command_takes_it_once_it_is_in_the_table(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 10)
    support = Path(__file__).parent / "support"
    paths = [str(support), *(path for path in sys.path if path)]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(text), str(tmp_path / "runs")],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    assert [code for code, _, _ in ended] == [0] * 8, ended
    _, _, _, sampled, scored, inspected, verified, shown = (out for _, out, _ in ended)
    assert len(sampled.rstrip("\n")) > 10
    score = json.loads(scored)
    assert score["total"]["num_predictions"] == score["dynamic"]["total"]["num_predictions"] == 409
    assert NAME in inspected
    assert "NOT WHOLE" not in verified
    assert f"gru-before|{NAME}" in shown
    run, again = tmp_path / "runs" / "run", tmp_path / "runs" / "again"
    assert files_of(run) == files_of(again)


# --- a name that is not in the table ----------------------------------------------------------------------------------


@pytest.fixture
def orphan(run, tmp_path, monkeypatch):
    """A run whose cell is gone from the table."""
    monkeypatch.undo()
    assert NAME not in cells.CELLS
    return run


def test_a_stored_model_whose_cell_is_unknown_is_refused(orphan):
    with pytest.raises(InputError, match=f"cell is '{NAME}'; it must be one of {', '.join(CELLS)}"):
        read_model(orphan)
    with pytest.raises(InputError, match=f"cell is '{NAME}'"):
        read_checkpoint(orphan / NAMES[1])
    for command in (["sample"], ["inspect"], ["verify"], ["train", "--resume"], ["train", "text", "--init-from"]):
        code, out, err = invoke(*command, orphan)
        assert code == 3, err
        assert f"cell is '{NAME}'" in out + err


@pytest.mark.parametrize("name", ["transformer", "GRU", "gru-after"])
def test_a_name_that_is_not_in_the_table_is_an_error_everywhere(tmp_path, name):
    def refused(kind):
        return pytest.raises(kind, match=f"cell is '{name}'; it must be one of {', '.join(CELLS)}")

    with refused(SettingsError):
        ModelSettings(vocab_size=3, cell=name)
    plain = ModelSettings(vocab_size=3).to_json()
    with refused(SettingsError):
        ModelSettings.from_json({**plain, "cell": name})
    with refused(SettingsError):
        recommend(num_symbols=1000, vocab_size=3, on_gpu=False, model={"cell": name}, training={})
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "run.toml").write_text(f"cell = '{name}'")
    for options in (["--cell", name], ["--config", tmp_path / "run.toml"]):
        code, out, err = invoke("train", tmp_path / "text.txt", *options, "--out", tmp_path / "runs")
        assert (code, out) == (2, "")
        assert f"must be one of {', '.join(CELLS)}" in err
    assert not (tmp_path / "runs").exists()
