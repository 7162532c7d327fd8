"""A setting stated once: its checks, its option, its parsing and its JSON all follow from that."""

import ast
import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.cli.train import GROUPS
from charrnn.errors import SettingsError
from charrnn.fields import Setting, Settings, did_you_mean, on_command_line, setting
from charrnn.inference.settings import GenerationSettings, ScoringSettings


@dataclass(frozen=True, kw_only=True)
class Lens(Settings):
    """One setting of each kind."""

    aperture: float = setting(2.8, help="Size of the opening.", above=0, high=64)
    blades: int = setting(7, help="Blades.", low=3, high=1000)
    share: float = setting(0.5, help="Share.", low=0, below=1)
    mount: str = setting("screw", help="Mount.", choices=("screw", "bayonet"))
    is_coated: bool = setting(True, help="Coated.")
    maker: str | None = setting(None, help="Maker.")
    focus: float | None = setting(None, help="Focus.", low=0)
    marks: tuple[str, ...] = setting((), help="Marks.")
    widths: tuple[int, ...] = setting((), help="Widths.", low=1, high=9)
    case: Path | None = setting(None, help="Case.")


KNOWN = Lens.settings()
REQUIREMENTS = {
    "aperture": "a number above 0 and at most 64",
    "blades": "a whole number from 3 to 1,000",
    "share": "a number at least 0 and below 1",
    "mount": "one of screw, bayonet",
    "is_coated": "true or false",
    "maker": "a text",
    "focus": "a number at least 0",
}


def test_what_is_known_of_a_setting_follows_from_its_field():
    assert list(KNOWN) == [field.name for field in dataclasses.fields(Lens)]
    assert (KNOWN["aperture"].kind, KNOWN["aperture"].default) == (float, 2.8)
    assert (KNOWN["maker"].kind, KNOWN["maker"].is_optional, KNOWN["maker"].is_many) == (str, True, False)
    assert (KNOWN["widths"].kind, KNOWN["widths"].is_optional, KNOWN["widths"].is_many) == (int, False, True)
    assert (KNOWN["case"].kind, KNOWN["is_coated"].kind) == (Path, bool)
    assert KNOWN["is_coated"].option == "--is-coated"
    assert Lens.settings() is KNOWN


def test_a_group_that_adds_to_another_has_the_settings_of_both():
    @dataclass(frozen=True, kw_only=True)
    class Zoom(Lens):
        longest: int = setting(200, help="Longest.", low=1)

    assert list(Zoom.settings()) == [*KNOWN, "longest"]
    assert list(Lens.settings()) == list(KNOWN)
    with pytest.raises(SettingsError, match="blades is 2"):
        Zoom(blades=2)


@pytest.mark.parametrize(("name", "words"), REQUIREMENTS.items())
def test_the_requirement_is_said_in_words(name, words):
    assert KNOWN[name].requirement == words


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("aperture", value) for value in (0, -1, 64.1, math.nan, math.inf, 10**400, "1", True, None)),
        *(("blades", value) for value in (2, 1001, 7.0, True, "7", None, 10**400)),
        *(("share", value) for value in (-1e-300, 1, 1.0)),
        *(("mount", value) for value in ("Screw", "", None, 3, ["screw"])),
        *(("is_coated", value) for value in (0, 1, "true", None)),
        *(("maker", value) for value in (3, Path("a"))),
        *(("focus", value) for value in (-1, "near", math.nan)),
        *(("marks", value) for value in ("ab", ["a"], (3,), None)),
        *(("widths", value) for value in ((0,), (1, 10), (True,), [1])),
        *(("case", value) for value in ("box", 3)),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_range(name, value):
    with pytest.raises(SettingsError) as caught:
        Lens(**{name: value})
    said = str(caught.value)
    assert said.startswith(f"{name} is {repr(value)[:60]}")
    assert KNOWN[name].requirement in said
    assert ("each" in said) == KNOWN[name].is_many
    assert len(said) < 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("aperture", value) for value in (1e-300, 64, 1)),
        *(("blades", value) for value in (3, 1000)),
        *(("share", value) for value in (0, 0.999)),
        *(("maker", value) for value in (None, "", "é")),
        *(("widths", value) for value in ((), (1, 9, 9))),
        *(("case", value) for value in (None, Path("a/b"))),
    ],
)
def test_a_value_at_the_edge_of_its_range_is_taken(name, value):
    assert getattr(Lens(**{name: value}), name) == value


def test_what_values_must_be_together_is_asked_after_each_alone():
    @dataclass(frozen=True, kw_only=True)
    class Pair(Settings):
        low: int = setting(1, help="Low.", low=0)
        high: int = setting(2, help="High.", low=0)

        def check_together(self):
            if self.low > self.high:
                raise SettingsError("low is above high")

    assert Pair(low=2).low == 2
    with pytest.raises(SettingsError, match="low is above high"):
        Pair(low=3)
    with pytest.raises(SettingsError, match="low is 'x'"):
        Pair(low="x")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("aperture", "1e1", 10.0),
        ("aperture", "2", 2.0),
        ("blades", "1000", 1000),
        ("mount", "bayonet", "bayonet"),
        ("maker", "", ""),
        ("case", "a/b", Path("a/b")),
        ("widths", "3", 3),
    ],
)
def test_the_text_of_an_option_becomes_its_value(name, text, value):
    found = KNOWN[name].parse(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("aperture", "nan"),
        ("aperture", "1e999"),
        ("aperture", ""),
        ("blades", "7.0"),
        ("blades", "9" * 5000),
        ("mount", "screws"),
        ("widths", "0"),
    ],
)
def test_a_text_that_writes_no_value_is_refused_by_its_option(name, text):
    with pytest.raises(SettingsError) as caught:
        KNOWN[name].parse(text)
    said = str(caught.value)
    assert said.startswith((f"{KNOWN[name].option} {text}: must be", f"{KNOWN[name].option} {repr(text)[:60]}"))
    assert KNOWN[name].requirement in said
    assert len(said) < 200


def test_a_hint_names_what_was_probably_meant():
    with pytest.raises(SettingsError, match="did you mean bayonet"):
        KNOWN["mount"].parse("bayonnet")
    assert did_you_mean("lstn", ["rnn", "lstm"]) == "; did you mean lstm?"
    assert did_you_mean("transformer", ["rnn", "lstm"]) == did_you_mean(3, ["rnn"]) == ""


values = st.builds(
    Lens,
    aperture=st.floats(0, 64, exclude_min=True),
    blades=st.integers(3, 1000),
    share=st.floats(0, 1, exclude_max=True),
    mount=st.sampled_from(["screw", "bayonet"]),
    is_coated=st.booleans(),
    maker=st.none() | st.text(),
    focus=st.none() | st.floats(0, 1e300),
    marks=st.lists(st.text()).map(tuple),
    widths=st.lists(st.integers(1, 9)).map(tuple),
    case=st.none() | st.sampled_from([Path("a"), Path("/b/c")]),
)


@given(values)
def test_settings_come_back_from_their_json(lens):
    plain = lens.to_json()
    assert Lens.from_json(plain) == lens
    assert all(type(value) in (float, int, str, bool, list, type(None)) for value in plain.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plain: plain.pop("blades"), "missing blades"),
        (lambda plain: plain.update({"colour": 1}), "unknown 'colour'"),
        (lambda plain: plain.update({"x" * 500: 1}), "unknown 'xxx"),
        (lambda plain: plain.update(blades=2), "blades is 2"),
        (lambda plain: plain.update(widths=[1, [2]]), "widths is"),
    ],
)
def test_json_that_is_not_of_the_group_is_refused(change, said):
    plain = Lens().to_json()
    change(plain)
    with pytest.raises(SettingsError, match=said) as caught:
        Lens.from_json(plain)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("values", [None, 3, "a", [1], [["blades", 3]]], ids=str)
def test_what_is_no_table_is_refused(values):
    with pytest.raises(SettingsError, match="no table of settings"):
        Lens.from_json(values)


def test_the_part_of_a_group_is_what_belongs_to_it():
    assert Lens.part_of({"blades": 9, "colour": "red", "maker": None}) == {"blades": 9, "maker": None}


ALL = [(group, each) for group in (*GROUPS, GenerationSettings, ScoringSettings) for each in group.settings().values()]


@pytest.mark.parametrize(("group", "known"), ALL, ids=lambda each: getattr(each, "name", getattr(each, "__name__", "")))
def test_every_setting_has_a_help_and_a_default_in_its_range(group: type[Settings], known: Setting):
    assert known.help.endswith(".")
    if known.default is not dataclasses.MISSING:
        known.check(known.default)


def test_no_name_stands_in_two_groups_of_one_command():
    names = [name for group in GROUPS for name in group.settings()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("`seed` is 3", "--seed is 3"),
        ("leave `by_line` out, or `level=byte`", "leave --by-line out, or --level byte"),
        ("go on with `resume='my runs/r'`", "go on with --resume 'my runs/r'"),
        ("no name here: `` ` `Seed` `a b`", "no name here: `` ` `Seed` `a b`"),
    ],
)
def test_a_message_names_options_on_the_command_line(message, said):
    assert on_command_line(message) == said


def test_messages_outside_the_command_name_settings_and_not_options():
    package = Path(charrnn.__file__).parent
    for path in package.rglob("*.py"):
        if path.is_relative_to(package / "cli"):
            continue
        raised = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Raise)]
        strings = [part.value for node in raised for part in ast.walk(node) if isinstance(part, ast.Constant)]
        for text in filter(lambda value: isinstance(value, str), strings):
            commands_left_out = re.sub(r"(charrnn train|iconv|nproc-per-node).*", "", text)
            assert not re.search(r"(?<!\w)--[a-z]", commands_left_out), (path, text)
