"""What a newcomer types and reads in a terminal: commands to copy, mistakes, Ctrl-C."""

import shlex

import pytest
from command import invoke
from processes import TINY
from small_model import TEXT


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def test_commands_to_go_on_with_can_be_typed_as_they_are_shown(here):
    code, out, _ = invoke("train", "text.txt", "--out", "my runs", "--name", "r", "--steps", "2", *TINY)
    assert code == 0
    shown = [shlex.split(line[line.index("charrnn") :]) for line in out.splitlines() if " charrnn " in line]
    assert [words[2] for words in shown] == ["my runs/r"] * 2
    _, _, err = invoke("train", "text.txt", "--out", "my runs", "--name", "r", "--steps", "2", *TINY)
    assert "go on with --resume 'my runs/r'," in err
