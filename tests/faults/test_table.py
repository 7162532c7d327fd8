"""The table in this folder's README against the suite."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent
ROWS = re.findall(r"^\| (F\d+) \| (.+?) \| (.*?) \| (.+?) \|$", (HERE / "README.md").read_text(), re.MULTILINE)


def names_in(path):
    """Names of a file's tests: functions, and classes of unittest that are given a test's name."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def test_no_row_is_missing():
    assert [row[0] for row in ROWS] == [f"F{number}" for number in range(1, 57)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_test_named_exists(row):
    _, _, tests, result = row
    assert result in ("held", "held, soak")
    named = [name.strip() for name in tests.split(",")]
    for name in named:
        file, test = name.split("::")
        assert test.startswith("test_")
        assert test in names_in(TESTS / file), name
