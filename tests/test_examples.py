"""The examples in docstrings are true."""

import contextlib
import doctest
import importlib
import pkgutil
import shutil

import pytest

import charrnn

MODULES = [m.name for m in pkgutil.walk_packages(charrnn.__path__, "charrnn.") if not m.name.endswith("__main__")]


@pytest.fixture(scope="session")
def learned(tmp_path_factory):
    """A directory that holds text.txt and the run checkpoints/text, as a reader of the examples would have."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "text.txt").write_text("to be or not to be, that is the question\n" * 40)
    with contextlib.chdir(folder):
        charrnn.train("text.txt", steps=300, hidden_size=32, threads=1, progress=False)
    return folder


@pytest.fixture
def reader(learned, tmp_path, monkeypatch):
    """Someone who tries the examples in a directory of their own."""
    shutil.copytree(learned, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARRNN_RUNS", raising=False)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) > 10
