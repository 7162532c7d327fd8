"""The pictures in docs: they can be shown anywhere, and what the terminal in one shows can be typed."""

import re
import shlex
import sys
from html import unescape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.main import get_command

from charrnn.cli.app import app

ROOT = Path(__file__).parents[1]
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
PHOTOGRAPHS = sorted((ROOT / "docs" / "pictures").glob("*.png"))
TERMINAL = ROOT / "docs" / "pictures" / "terminal.svg"


@pytest.fixture(scope="module")
def picture():
    """The program that draws the terminal."""
    sys.path.append(str(ROOT / "tests" / "benchmarks"))
    try:
        import terminal_picture
    finally:
        sys.path.pop()
    return terminal_picture


def shown(svg):
    """The lines of text in a picture, from top to bottom."""
    lines = re.findall(r'<text [^>]*?y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
    return [unescape(text).replace("\xa0", " ") for _, text in lines]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_whole_small_and_needs_nothing_from_elsewhere(path):
    ET.parse(path)
    svg = path.read_text()
    assert len(svg) < 60_000
    assert not re.search(r"<script|@import|@font-face|href=\"(?!#)|url\((?!#)", svg)


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.name)
def test_a_picture_of_a_page_is_whole_and_small(path):
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    assert len(data) < 200_000


def test_every_picture_is_shown_on_a_page_and_made_by_make():
    pages = "".join(page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    made = (ROOT / "Makefile").read_text()
    for path in (*PICTURES, *PHOTOGRAPHS):
        assert f"pictures/{path.name})" in pages
        assert f"docs/pictures/{path.name}\n" in made


def test_the_prompt_shows_what_was_typed_and_that_it_was_saved():
    text = "\n".join(shown((ROOT / "docs" / "pictures" / "interactive.svg").read_text()))
    assert "> /again" in text
    assert "1-10, or Enter to end> 2" in text
    assert "saved in romeo.txt]" in text


def test_the_terminal_shows_commands_that_can_be_typed(picture):
    text = " ".join(shown(TERMINAL.read_text()))
    commands = get_command(app).commands
    for typed in (picture.TRAIN.format(text="english.txt"), picture.SAMPLE.format(name="english")):
        assert typed in text
        _, name, *arguments = shlex.split(typed)
        commands[name].make_context(name, arguments)


def test_the_terminal_is_shown_in_training_and_at_its_end():
    text = " ".join(shown(TERMINAL.read_text()))
    assert re.search(r"\d\d%\|.*█.*\| loss \d\.\d+, held-out \d\.\d+ nats/char .*\d:\d\d left", text)
    assert re.search(r"held-out loss +\d\.\d{4} nats/char ± ", text)


def test_a_screen_shows_the_last_word_on_each_cell_in_its_colour(picture):
    written = "abc\rx\x1b[1;32my\x1b[0m\r\n\x1b[2mfar\x1b[0m\r\n" + "=" * 85 + "\r\x1b[K\r\n"
    first, second, third = picture.screen(written)
    assert (first.plain, second.plain, third.plain) == ("xyc", "far", "=" * 80)
    assert [(span.start, span.end, str(span.style)) for span in first.spans if str(span.style) != "none"] == [
        (1, 2, "bold green")
    ]
    assert [str(span.style) for span in second.spans] == ["dim"]
    with pytest.raises(ValueError, match="not known here"):
        picture.screen("\x1b[2J")
