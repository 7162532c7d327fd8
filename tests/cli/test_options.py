"""Options made from settings: one statement of each, whichever way a value comes; and the file that a run leaves."""

import tomllib
from pathlib import Path

import pytest
import typer
from cells import CELLS
from command import invoke
from lens import Film, Lens
from tiny_run import NAMES
from typer.testing import CliRunner

from charrnn.cli.options import shown_default, with_settings
from charrnn.cli.parser import Command
from charrnn.errors import SettingsError

SIZES = ["--hidden-size", "6", "--batch-size", "2", "--bptt", "5", "--threads", "1", "--precision", "float32"]


GIVEN = []
APP = typer.Typer(rich_markup_mode=None, add_completion=False)


@APP.command(cls=Command)
@with_settings(Lens, Film)
def take(colour: str = "red", **given):
    """Takes a picture."""
    GIVEN.append({"colour": colour, **given})


def called(*arguments):
    GIVEN.clear()
    result = CliRunner().invoke(APP, [str(each) for each in arguments], catch_exceptions=True)
    if isinstance(result.exception, SettingsError):
        raise result.exception
    assert result.exit_code == 0, result.output
    (found,) = GIVEN
    return found


def test_only_what_was_given_reaches_the_command():
    assert called() == {"colour": "red"}
    assert called("--colour", "blue", "--speed", 3) == {"colour": "blue", "speed": 3}


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["one", "two"], {"texts": ("one", "two")}),
        (["--aperture", "1.5"], {"aperture": 1.5}),
        (["-a", "4"], {"aperture": 4.0}),
        (["--blades", "3"], {"blades": 3}),
        (["--mount", "bayonet"], {"mount": "bayonet"}),
        (["--mount", "screw"], {"mount": "screw"}),  # the default, but given
        (["--no-is-coated"], {"is_coated": False}),
        (["--is-coated"], {"is_coated": True}),
        (["--is-heavy"], {"is_heavy": True}),
        (["--marks", "a", "--marks", "b"], {"marks": ("a", "b")}),
        (["--case", "a/b"], {"case": Path("a/b")}),
    ],
    ids=str,
)
def test_an_option_gives_its_settings_value(arguments, given):
    found = called(*arguments)
    assert found == {"colour": "red", **given}
    Lens(**{"blades": 3, **given})  # and the group takes it


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--aperture", "0"], "--aperture 0: must be a number above 0 and at most 64"),
        (["--blades", "3.5"], "--blades 3.5: must be a whole number from 3 to 9"),
        (["--mount", "bayonnet"], "--mount bayonnet: must be one of screw, bayonet; did you mean bayonet?"),
        (["--speed", "0"], "--speed 0: must be a whole number at least 1"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_the_options_name(arguments, said):
    with pytest.raises(SettingsError) as caught:
        called(*arguments)
    assert str(caught.value) == said


def test_an_internal_setting_has_no_option():
    with pytest.raises(SettingsError, match="there is no option --serial"):
        called("--serial", "7")


def test_the_help_shows_each_settings_help_and_default():
    shown = " ".join(
        CliRunner().invoke(APP, ["--help"], env={"COLUMNS": "300", "TERMINAL_WIDTH": "300"}).output.split()
    )
    for name, known in [*Lens.settings().items(), *Film.settings().items()]:
        assert (known.help in shown) == (name != "serial")
    for words in (
        "-a, --aperture <number>",
        "[default: 2.8]",
        "--blades <whole number>",
        "--mount screw|bayonet",
        "--marks <text>",
        "--case <box>",
        "[default: chosen to suit]",
        "--is-coated / --no-is-coated",
    ):
        assert words in shown


def test_the_default_shown_is_the_fields_own_unless_said_otherwise():
    known = Lens.settings()
    assert {name: shown_default(each) for name, each in known.items()} == {
        "texts": "",
        "aperture": "2.8",
        "blades": "chosen to suit",
        "mount": "screw",
        "is_coated": "is-coated",
        "is_heavy": "",
        "marks": "",
        "case": "",
        "serial": "1",
    }


# --- the file that a run leaves ---------------------------------------------------------------------------------------


@pytest.fixture
def play(tmp_path):
    path = tmp_path / "play.txt"
    path.write_text("to be or not to be, that is the question\n" * 20)
    return path


def train(tmp_path, *arguments):
    code, out, err = invoke("train", *arguments, "--out", tmp_path / "runs", "--quiet")
    assert code == 0, err
    return Path(out.strip()).parent


@pytest.mark.parametrize("cell", CELLS)
def test_the_file_of_a_run_repeats_it_bit_for_bit(tmp_path, play, cell):
    options = ["--cell", cell, "--steps", "6", "--dropout", "0.2", "--seed", "5", "--num-layers", "2"]
    first = train(tmp_path, play, *SIZES, *options, "--name", "first")
    again = train(tmp_path, "--config", first / "run.toml", "--name", "again")
    for name in (*NAMES, "run.toml"):
        assert (again / name).read_bytes() == (first / name).read_bytes()


def test_what_the_recipe_chose_is_in_the_file_too(tmp_path, play):
    run = train(tmp_path, play, "--threads", "1", "--hidden-size", "6", "--steps", "3", "--val-fraction", "0.2")
    stored = tomllib.loads((run / "run.toml").read_text())
    assert stored["texts"] == [str(play)]
    assert (stored["hidden_size"], stored["steps"], stored["val_fraction"], stored["threads"]) == (6, 3, 0.2, 1)
    for name in ("batch_size", "bptt", "learning_rate", "dropout", "weight_dropout", "seed", "cell", "bias"):
        assert name in stored
    for name in ("minutes", "embedding_size", "vocab_size", "name", "out", "quiet", "resume"):
        assert name not in stored


def test_an_option_comes_before_the_file(tmp_path, play):
    first = train(tmp_path, play, *SIZES, "--steps", "4", "--seed", "1")
    other = train(tmp_path, "--config", first / "run.toml", "--seed", "2", "--hidden-size", "7")
    before, after = (tomllib.loads((run / "run.toml").read_text()) for run in (first, other))
    assert {name for name in before if before[name] != after[name]} == {"seed", "hidden_size"}
    assert (after["seed"], after["hidden_size"]) == (2, 7)
    moved = play.rename(tmp_path / "moved.txt")
    third = train(tmp_path, moved, "--config", first / "run.toml")
    assert (third / NAMES[0]).read_bytes() != (other / NAMES[0]).read_bytes()
    assert tomllib.loads((third / "run.toml").read_text())["texts"] == [str(moved)]


def test_a_length_given_as_an_option_replaces_the_files(tmp_path, play):
    first = train(tmp_path, play, *SIZES, "--epochs", "0.1")
    other = train(tmp_path, "--config", first / "run.toml", "--steps", "3")
    stored = tomllib.loads((other / "run.toml").read_text())
    assert stored["steps"] == 3
    assert "epochs" not in stored


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("hiden-size = 4", 2, "there is no setting 'hiden-size'; did you mean hidden_size?"),
        ("hidden-size = 0", 2, "hidden_size is 0; it must be a whole number from 1 to 65,536"),
        ("cell = 'transformer'", 2, "cell is 'transformer'; it must be one of"),
        ("vocab-size = 3", 2, "there is no setting 'vocab-size'"),
        ("steps = 3\nminutes = 1", 2, "exactly one of --minutes, --epochs and --steps; found --minutes and --steps"),
        (
            "resume = 'a run'\nhidden_size = 3\nquiet = true",
            2,
            "settings.toml' has others (hidden_size): leave them out",
        ),
        ("steps", 3, "is not a TOML file of settings"),
    ],
)
def test_a_mistake_in_a_file_ends_with_one_line_and_no_run(tmp_path, play, text, code, said):
    runs, settings = tmp_path / "runs", tmp_path / "settings.toml"
    settings.write_text(text)
    found, out, err = invoke("train", play, "--config", settings, "--out", runs)
    assert (found, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
    assert not runs.exists()
