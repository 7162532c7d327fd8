"""Options made from settings, and files of settings: one statement of each, whichever way a value comes."""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from cells import CELLS
from command import invoke
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import NAMES
from typer.testing import CliRunner

from charrnn.cli.options import read_config, shown_default, with_settings, write_config
from charrnn.cli.parser import Command
from charrnn.cli.train import GROUPS
from charrnn.errors import InputError, SettingsError
from charrnn.fields import Settings, setting

SIZES = ["--hidden-size", "6", "--batch-size", "2", "--bptt", "5", "--threads", "1", "--precision", "float32"]


@dataclass(frozen=True, kw_only=True)
class Lens(Settings):
    """One setting of each kind."""

    texts: tuple[str, ...] = setting((), help="Texts.", metavar="TEXT", is_argument=True)
    aperture: float = setting(2.8, help="Size of the opening.", above=0, high=64, short="-a")
    blades: int = setting(help="Blades.", low=3, high=9, shown_default="chosen to suit")
    mount: str = setting("screw", help="Mount.", choices=("screw", "bayonet"))
    is_coated: bool = setting(True, help="Coated.")
    is_heavy: bool = setting(False, help="Heavy.")
    marks: tuple[str, ...] = setting((), help="Marks; may be repeated.")
    case: Path | None = setting(None, help="Case.", metavar="BOX")
    serial: int = setting(1, help="Number.", low=0, is_internal=True)


@dataclass(frozen=True, kw_only=True)
class Film(Settings):
    """Another group."""

    speed: int | None = setting(None, help="Speed.", low=1)


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


# --- files of settings ------------------------------------------------------------------------------------------------


def config(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


def test_a_file_gives_settings_by_name_with_dashes_or_without(tmp_path):
    path = config(tmp_path, 'blades = 5\nis-coated = false\nmarks = ["a", "b"]\ncase = "a/b"\nspeed = 3\n')
    assert read_config(path, Lens, Film) == {
        "blades": 5,
        "is_coated": False,
        "marks": ("a", "b"),
        "case": Path("a/b"),
        "speed": 3,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blade = 5", "there is no setting 'blade'; did you mean blades?"),
        ("colour = 'red'", "there is no setting 'colour'"),
        ("serial = 3", "there is no setting 'serial'"),  # internal: not the user's to set
        ("blades = 2", "blades is 2; it must be a whole number from 3 to 9"),
        ("blades = '5'", "blades is '5'; it must be a whole number from 3 to 9"),
        ("is_coated = 1", "is_coated is 1; it must be true or false"),
        ("marks = 'a'", "marks is 'a'; it must be a list"),
        ("marks = [1]", r"marks is \(1,\); it must be a list"),
        ("aperture = nan", "aperture is nan"),
        ("speed = 2024-01-01", "speed is datetime"),
        ("[blades]\nlow = 3", "blades is {'low': 3}"),
        ("is-coated = true\nis_coated = true", "is_coated is given twice"),
    ],
)
def test_an_unknown_name_or_wrong_value_in_a_file_is_refused(tmp_path, text, said):
    with pytest.raises(SettingsError, match=said) as caught:
        read_config(config(tmp_path, text), Lens, Film)
    assert "settings.toml" in str(caught.value)


@pytest.mark.parametrize("data", [b"blades 5", b"\xff\xfe", b"blades = [", b"a = " + b"[" * 5000])
def test_what_is_no_toml_is_an_input_error(tmp_path, data):
    path = tmp_path / "settings.toml"
    path.write_bytes(data)
    with pytest.raises(InputError, match="is not a TOML file of settings"):
        read_config(path, Lens)


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InputError, match="cannot read"):
            read_config(path, Lens)


texts = st.text(st.characters(exclude_categories=["Cs"]))
lenses = st.fixed_dictionaries(
    {"blades": st.integers(3, 9)},
    optional={
        "texts": st.lists(texts, max_size=3).map(tuple),
        "aperture": st.floats(1e-300, 64),
        "mount": st.sampled_from(["screw", "bayonet"]),
        "is_coated": st.booleans(),
        "marks": st.lists(texts, max_size=3).map(tuple),
        "case": st.sampled_from([None, Path("a"), Path("/b c/\u00e9")]),
    },
)


@given(lenses)
def test_settings_written_to_a_file_are_read_again(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("config") / "settings.toml"
    path.write_bytes(write_config(values))
    assert read_config(path, Lens) == {name: value for name, value in values.items() if value is not None}


def test_every_setting_of_train_can_be_written_to_a_file(tmp_path):
    known = {name: each for group in GROUPS for name, each in group.settings().items() if not each.is_internal}
    defaults = {name: each.default for name, each in known.items() if each.default is not dataclasses.MISSING}
    path = tmp_path / "settings.toml"
    path.write_bytes(write_config(defaults))
    assert read_config(path, *GROUPS) == {name: value for name, value in defaults.items() if value is not None}
    assert len(known) - len(defaults) == 3  # batch size, bptt and learning rate have no default of their own


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
        ("resume = 'a run'\nhidden_size = 3", 2, "--resume keeps the run's settings: leave out --hidden-size"),
        ("steps", 3, "is not a TOML file of settings"),
    ],
)
def test_a_mistake_in_a_file_ends_with_one_line_and_no_run(tmp_path, play, text, code, said):
    runs = tmp_path / "runs"
    found, out, err = invoke("train", play, "--config", config(tmp_path, text), "--out", runs)
    assert (found, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
    assert not runs.exists()
