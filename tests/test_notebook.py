"""The notebook in docs runs, cell by cell; and what a kernel shows and hears: a bar, a stop button."""

import re
import string
from pathlib import Path

import nbformat
import pytest
from kernel import code_cells, execute, read, started_kernel

NOTEBOOK = Path(__file__).parents[1] / "docs" / "first-steps.ipynb"
MINUTES = "minutes=1,"
SENTENCES = "This function returns the number of elements in a list. If the list is empty, it returns None.\n"
WIDGET = "application/vnd.jupyter.widget-view+json"


def shown(cell):
    """What a cell shows: the streams it writes to, and each other output by its richest kind."""
    kinds = []
    for output in cell.outputs:
        kinds.append(output.get("name") or max(output.data, key=len))
    return set(kinds)


@pytest.fixture
def folder(tmp_path):
    """A directory with a corpus that is there already: it is not gathered anew."""
    corpus = tmp_path / "corpora" / "english.txt"
    corpus.parent.mkdir()
    corpus.write_text((SENTENCES * 9 + string.printable[:95] + "\n") * 30)
    return tmp_path


@pytest.fixture
def notebook():
    """The notebook without its output, its long training cut short."""
    notebook = read(NOTEBOOK)
    assert [cell.source.count(MINUTES) for cell in code_cells(notebook)].count(1) == 1
    for cell in code_cells(notebook):
        cell.outputs = []
        cell.source = cell.source.replace(MINUTES, "minutes=0.05,")
    return notebook


@pytest.mark.long
def test_every_cell_of_the_notebook_runs(folder, notebook):
    execute(notebook, folder)
    committed = code_cells(read(NOTEBOOK))
    assert [cell.execution_count for cell in code_cells(notebook)] == [cell.execution_count for cell in committed]
    for cell, before in zip(code_cells(notebook), committed, strict=True):
        assert shown(cell) - {WIDGET} == shown(before), cell.source
        assert "stderr" not in shown(cell), cell.source
        assert (WIDGET in shown(cell)) == ("charrnn.train(" in cell.source)
    said = "".join(output.get("text", "") for cell in code_cells(notebook) for output in cell.outputs)
    assert "stopped at step 41: charrnn.train(resume='stopped') goes on" in said
    assert "note:  going on from step 41" in said
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"english", "stopped"}


def test_the_notebook_is_committed_with_the_output_of_a_real_run():
    assert NOTEBOOK.stat().st_size < 200_000
    cells = code_cells(read(NOTEBOOK))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs) == 2
    nbformat.validate(read(NOTEBOOK))
    assert not re.search(r"Traceback|/(tmp|root|home|work)\b", NOTEBOOK.read_text())


def test_what_the_notebook_shows_as_python_needs_no_line_of_scrolling():
    lines = [line for cell in read(NOTEBOOK).cells for line in cell.source.splitlines()]
    assert max(map(len, lines)) <= 120


STOPPED = """
import pathlib, charrnn

def tell(event):
    if isinstance(event, charrnn.event.Evaluated):
        pathlib.Path("evaluated").touch()

model = charrnn.train("text.txt", steps=10**9, eval_every=20, hidden_size=8, threads=1, on_event=tell)
print(repr(model), charrnn.runs()[0].state)
"""


def test_the_stop_button_of_a_notebook_gives_the_model_so_far(text):
    with started_kernel(text.parent) as kernel:
        _, outputs = kernel.execute(STOPPED, stop_when=(text.parent / "evaluated").exists)
    assert {each.get("name") for each in outputs} == {"stdout", None}  # None: the bar
    said = "".join(each.get("text", "") for each in outputs)
    assert re.search(r"stopped at step \d[\d,]*: charrnn.train\(resume='text'\) goes on\n", said)
    assert said.endswith(
        "LanguageModel(LSTM 1x8, one-hot input, 15 characters, 'checkpoints/text/model.safetensors') stopped\n"
    )
