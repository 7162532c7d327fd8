"""The help of every command: complete, true, and there at once."""

import re
import resource
import shlex

import pytest
import typer
from command import invoke, libraries_of
from terminal import shown_on_a_terminal
from tiny_run import files_of

from charrnn.cli.app import app

GROUP = typer.main.get_command(app)
NAMES = sorted(GROUP.commands)


def options_in(text):
    """What help says of each option, in one line each, by the option's long name."""
    found, last = {}, None
    for line in text.splitlines():
        if match := re.match(r"  (?:-\w, |    )(--[\w-]+)", line):
            last = match[1]
            found[last] = line.strip()
        elif last and line.startswith("   "):
            found[last] += " " + line.strip()
        else:
            last = None
    return found


def defaults_in(text):
    """Options with the defaults that help shows as plain values: as arguments."""
    for name, said in options_in(text).items():
        if match := re.search(r"\[default: ([^\s,\]]+)\]", said):
            yield [f"--{match[1]}"] if f"--no-{name[2:]}" in said else [name, match[1]]


def examples_in(text):
    """Commands that help shows, as words; what is piped into them is left out."""
    lines = text.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    return [shlex.split(line.rpartition("|")[2]) for line in lines]


@pytest.mark.parametrize("command", [(), *((name,) for name in NAMES)], ids=lambda command: " ".join(command) or "none")
def test_help_loads_no_large_library_and_costs_well_under_a_second(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert libraries_of(*command, "--help") == set()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor's time, a quarter of a second on a usual machine: others may be at work.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_help_lists_every_command_with_what_it_does():
    code, out, err = invoke("--help")
    assert (code, err) == (0, "")
    commands = out.partition("\nCommands:\n")[2].partition("\n\n")[0]
    listed = dict(re.findall(r"^  (\w+) +(.+(?:\n    .+)*)", commands, re.MULTILINE))
    assert sorted(listed) == NAMES
    assert all(line.rstrip(".") for line in listed.values())


@pytest.mark.parametrize("name", NAMES)
def test_help_lists_every_option_with_its_default(name):
    said = options_in(invoke(name, "--help").out)
    options = [option for option in GROUP.commands[name].params if option.param_type_name == "option"]
    assert len(said) >= len(options)
    for option in options:
        line = next(said[spelling] for spelling in option.opts if spelling in said)
        assert all(spelling in line for spelling in (*option.opts, *option.secondary_opts))
        takes_value = not option.is_flag
        if takes_value and option.default not in (None, "", [], ()):
            assert f"[default: {option.default}]" in line


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_command_can_be_typed(name):
    examples = examples_in(invoke(name, "--help").out)
    assert examples
    for example in examples:
        assert example[:2] == ["charrnn", name]
        GROUP.commands[name].make_context(name, example[2:])  # raises a usage error


def test_the_first_examples_are_a_way_through_the_commands():
    examples = examples_in(invoke("--help").out)
    assert [example[:2] for example in examples] == [
        ["charrnn", name] for name in ("corpus", "train", "sample", "perplexity")
    ]
    for _, name, *arguments in examples:
        GROUP.commands[name].make_context(name, arguments)


def with_defaults(name):
    defaults = list(defaults_in(invoke(name, "--help").out))
    assert defaults
    return [part for option in defaults for part in option]


def test_a_run_by_the_defaults_shown_is_one_without_options(tmp_path, text):
    shown = with_defaults("train")
    assert len(shown) > 30
    found = []
    for options in ([], shown):
        directory = tmp_path / str(len(options))
        directory.mkdir()
        code, _, err = invoke(
            "train", text, *options, "--steps", "4", "--hidden-size", "4", "--threads", "1", cwd=directory
        )
        assert code == 0, err
        found.append(files_of(directory / "checkpoints" / "text"))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["sample", "perplexity"])
def test_a_model_used_by_the_defaults_shown_is_used_as_without_options(trained, tmp_path, name):
    (tmp_path / "text.txt").write_text("the lazy dog; the fox")
    given = ["--seed", "1"] if name == "sample" else [tmp_path / "text.txt"]
    plain = invoke(name, trained, *given)
    assert plain.code == 0
    assert invoke(name, trained, *given, *with_defaults(name)) == plain


# --- on a terminal ----------------------------------------------------------------------------------------------------


def plain(shown):
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_help_on_a_terminal_stands_in_panels_that_fit_it(name, columns):
    shown = shown_on_a_terminal(name, "--help", columns=columns)
    lines = shown.splitlines()
    assert all(len(line) <= min(columns, 100) for line in lines)
    panels = re.findall(r"^╭─ (.+?) ─*╮$", shown, re.MULTILINE)
    assert len(panels) == len(set(panels)) == shown.count("╰")
    assert panels[-1] == "Options"
    assert all(re.fullmatch(r"│ .* │", line) for line in lines if line.startswith("│"))
    words = " ".join(line.strip("│ ") for line in lines if line.startswith("│"))
    told = [" ".join(parts) for parts in options_in(invoke(name, "--help").out).items()]
    assert told
    for line in told:
        assert set(line.split()) <= {*words.split(), *line.split()[:1]}


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_narrow_terminal_can_be_copied(name):
    narrow = shown_on_a_terminal(name, "--help", columns=60).replace("\\\n", "")
    assert examples_in(narrow) == examples_in(invoke(name, "--help").out)


def test_help_is_coloured_only_where_colour_is_wanted():
    coloured = shown_on_a_terminal("sample", "--help", colour=True)
    assert "\x1b[1;36m-n, --length\x1b[0m \x1b[33m<whole number>\x1b[0m" in coloured
    assert plain(coloured) == shown_on_a_terminal("sample", "--help")
    assert "\x1b" not in invoke("sample", "--help").out


def test_values_are_named_in_words():
    for name in NAMES:
        shown = invoke(name, "--help").out
        assert set(re.findall(r"<([^>]+)>", shown)) <= {
            *("whole number", "number", "text", "file", "directory", "run", "run or file", "name", "seconds"),
        }
