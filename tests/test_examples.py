"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import charrnn

MODULES = [m.name for m in pkgutil.walk_packages(charrnn.__path__, "charrnn.") if not m.name.endswith("__main__")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) > 10
