"""Files of settings: what is written is read again, and what is wrong in one is named."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lens import Film, Lens

from charrnn.cli.train import GROUPS
from charrnn.errors import InputError, SettingsError
from charrnn.storage.config import read_config, write_config


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
