"""A line that cannot be parsed: said in charrnn's own words, in one line, harmless on a terminal."""

import pytest
from command import invoke


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["tran"], "there is no command 'tran'; did you mean train?"),
        (["zzz"], "there is no command 'zzz'; charrnn --help lists them"),
        (["--vresion"], "there is no option --vresion; did you mean --version?"),
        (["sample", "m", "--lenght", "5"], "there is no option --lenght; did you mean --length?"),
        (["sample", "m", "-l", "5"], "there is no option -l; charrnn sample --help lists them"),
        (["sample", "m", "--length"], "--length needs a value: --length <whole number>"),
        (["train", "t", "--cell"], "--cell needs a value: --cell rnn|lstm|gru|gru-before"),
        (["corpus", "-o"], "-o needs a value: -o <directory>"),
        (["inspect", "m", "--json=5"], "--json takes no value"),
        (["verify", "a", "b c"], "'b c' is one argument too many; put a text of several words between quotes"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_one_line_of_plain_words(line, said):
    code, out, err = invoke(*line)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"charrnn: {said}")


@pytest.mark.parametrize("active", ["\u202e", "\u2066", "\x1b[2J", "\x9b", "\x07", "\r"], ids=ascii)
@pytest.mark.parametrize(
    "line", [["{}"], ["sample", "m", "--{}"], ["verify", "a", "b{}"], ["train", "t", "--cell", "{}"], ["-{}"]], ids=str
)
def test_no_active_character_of_a_mistake_reaches_the_terminal(line, active):
    code, out, err = invoke(*(word.format(active) for word in line))
    assert (code, out) == (2, "")
    assert active not in err
    assert "\\" in err


def test_the_command_alone_shows_its_help_as_a_mistake():
    code, out, err = invoke()
    assert (code, out) == (2, "")
    assert err == invoke("--help").out


def test_both_options_for_the_version_print_it():
    assert invoke("-V") == invoke("--version")
    assert invoke("-V").out.startswith("charrnn ")
