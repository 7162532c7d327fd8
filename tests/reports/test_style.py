"""How text looks on a terminal: colours where they are wanted, lines that fit."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.reports.style import fitted, message_on_terminal, num_columns, painted, shows_colour


class Stream(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.mark.parametrize(
    ("is_terminal", "variables", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"TERM": "xterm-256color"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "unknown"}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": "0"}, False),
        (True, {"NO_COLOR": ""}, True),
        (False, {"FORCE_COLOR": "1"}, False),
        (True, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (True, {"FORCE_COLOR": "1", "TERM": "dumb"}, False),
        (True, {"CLICOLOR": "0"}, False),
        (True, {"CLICOLOR": "1"}, True),
        (False, {"CLICOLOR": "1"}, False),
        (False, {"CLICOLOR_FORCE": "1"}, False),
        (True, {"CLICOLOR": "0", "CLICOLOR_FORCE": "1"}, True),
        (True, {"CLICOLOR": "0", "CLICOLOR_FORCE": "0"}, False),
        (True, {"CLICOLOR": "0", "FORCE_COLOR": "1"}, True),
    ],
    ids=str,
)
def test_colours_are_for_terminals_unless_the_user_says_otherwise(is_terminal, variables, expected):
    assert shows_colour(Stream(is_terminal), variables) == expected


def test_the_width_is_what_columns_says_else_eighty(monkeypatch):
    for told, expected in (("60", 60), ("0", 80), ("-5", 80), ("wide", 80), ("", 80)):
        monkeypatch.setenv("COLUMNS", told)
        assert num_columns(Stream(True)) == expected
    monkeypatch.delenv("COLUMNS")
    assert num_columns(io.StringIO()) == 80


@given(st.text(st.sampled_from("ab -\t\n"), max_size=200), st.integers(1, 40), st.integers(0, 9))
def test_lines_fit_and_lose_no_word(text, width, indent):
    shown = fitted(text, width, indent=indent)
    assert shown.split() == text.split()
    first, *others = shown.split("\n")
    assert all(line.startswith(" " * indent) for line in others)
    # A line is longer only where it holds one word, which is never cut.
    for line in (first, *(line[indent:] for line in others)):
        assert len(line) <= max(width - indent, 1) or len(line.split()) == 1


def test_a_message_is_cut_under_its_label():
    shown = message_on_terminal("note:  one two three four", 16, colour=False)
    assert shown == "note:  one two\n       three\n       four"
    assert message_on_terminal("one two three", 8, colour=False) == "one two\nthree"
    assert message_on_terminal("note: one two three", 0, colour=False) == "note: one two three"


def test_a_command_at_the_end_of_a_message_is_never_cut():
    message = "note: it stopped; go on with: charrnn train --resume 'my run'"
    assert message_on_terminal(message, 80, colour=False) == message
    shown = message_on_terminal(message, 20, colour=False)
    assert shown == "note: it stopped; go\n      on with:\n      charrnn train --resume 'my run'"


def test_a_label_is_coloured_and_nothing_else():
    assert message_on_terminal("charrnn: no", 80, colour=True) == painted("charrnn:", "error") + " no"
    assert message_on_terminal("warning: no", 80, colour=True) == painted("warning:", "warning") + " no"
    for message in ("step 5/10  train 0.7", "stopping: the run is saved", "a: b"):
        assert message_on_terminal(message, 80, colour=True) == message


def test_nothing_has_no_style():
    assert painted("", "good") == ""
