"""The reference page is what the command line says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from charrnn.cli.app import COMMANDS, app
from charrnn.cli.options import settings_of
from charrnn.cli.reference import reference_page

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
SECTIONS = dict(re.findall(r"^## charrnn (\w+)\n(.*?)(?=^## |\Z)", reference_page(), re.MULTILINE | re.DOTALL))


def test_the_stored_page_is_not_stale():
    assert PAGE.read_text() == reference_page(), "run make docs"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_option_has_one_row(command):
    section = SECTIONS[command.__name__]
    options = [each for each in get_command(app).commands[command.__name__].params if each.param_type_name == "option"]
    for option in options:
        for name in [*option.opts, *option.secondary_opts]:
            rows = [line for line in section.splitlines() if re.match(rf"\| `[^`]*(?<![\w-]){name}(?![\w-])", line)]
            assert len(rows) == 1, name


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_a_setting_shows_its_range_and_its_help(command):
    rows = [line for line in SECTIONS[command.__name__].splitlines() if line.startswith("| `")]
    for known in settings_of(command).values():
        written = re.escape(f"[{known.option}]..." if known.is_argument else known.option)
        row = next(row for row in rows if re.match(rf"\| `{written}(?![\w-])", row))
        assert known.help in row
        assert known.kind not in (int, float) or known.requirement in row


def test_resume_is_shown_to_take_what_it_takes():
    def on_resume(option):
        row = re.search(rf"^\| `{option}[^|]*\|([^|]*)\|([^|]*)\|([^|]*)\|", SECTIONS["train"], re.MULTILINE)
        return row[3].strip()

    assert (on_resume("--threads"), on_resume("--learning-rate")) == ("yes", "no")


def test_the_page_is_made_without_torch():
    program = (
        "import sys; from charrnn.cli.reference import reference_page; reference_page(); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
