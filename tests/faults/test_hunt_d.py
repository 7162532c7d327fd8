"""What a newcomer types and reads in a terminal: commands to copy, mistakes, Ctrl-C."""

import os
import pty
import re
import shlex
import signal
import subprocess
import termios
from contextlib import suppress

import pytest
from command import invoke
from processes import CHARRNN, ENVIRONMENT, TINY
from small_model import TEXT, make_model

from charrnn.reports import progress


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def test_commands_to_go_on_with_can_be_typed_as_they_are_shown(here):
    code, out, _ = invoke("train", "text.txt", "--out", "my runs", "--name", "r", "--steps", "2", *TINY)
    assert code == 0
    shown = [shlex.split(line[line.index("charrnn") :]) for line in out.splitlines() if " charrnn " in line]
    assert [words[2] for words in shown if words[1] != "count"] == ["my runs/r"] * 2
    _, _, err = invoke("train", "text.txt", "--out", "my runs", "--name", "r", "--steps", "2", *TINY)
    assert "go on with --resume 'my runs/r'," in err


@pytest.mark.parametrize("command", ["train", "sample"])
def test_that_a_command_stops_stands_on_a_line_of_its_own(here, command):
    make_model(here / "m")
    lasting = {
        "train": ["text.txt", "--steps", "1000000", "--eval-every", "100000", *TINY],
        "sample": ["m", "--length", "100000000"],
    }
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [*CHARRNN, command, *lasting[command]], env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = ""
    while len(shown) < 100 or (command == "train" and "plan:" not in shown):
        shown += os.read(ours, 4096).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # the far end is closed and all is read
        while piece := os.read(ours, 4096):
            shown += piece.decode(errors="replace")
    os.close(ours)
    assert process.wait(timeout=60) == 130
    assert re.search("\nstopping(: the run is saved[^\r\n]*)?\r\n", shown)


def test_each_file_of_a_run_is_verified_by_itself(here):
    assert invoke("train", "text.txt", "--name", "r", "--steps", "2", *TINY).code == 0
    _, whole, _ = invoke("verify", "checkpoints/r")
    names = sorted(path.name for path in (here / "checkpoints" / "r").iterdir() if not path.name.startswith("."))
    assert names == ["metrics.jsonl", "model.safetensors", "run.toml", "training.safetensors"]
    for name in names:
        code, out, _ = invoke("verify", f"checkpoints/r/{name}")
        assert code == 0
        assert out.split() in [line.split() for line in whole.splitlines()]
        (here / "checkpoints" / "r" / name).unlink()
        code, out, _ = invoke("verify", f"checkpoints/r/{name}")
        assert (code, "MISSING" in out) == (3, True)


def test_the_empty_name_of_an_unset_variable_is_refused(here):
    code, _, err = invoke("train", "text.txt", "--name", "", "--steps", "2", *TINY)
    assert (code, not (here / "checkpoints").exists()) == (2, True)
    assert "name is ''" in err


def test_a_run_in_the_place_of_a_text_to_score_is_named_as_such(here):
    make_model(here / "m")
    assert invoke("train", "text.txt", "--name", "r", "--steps", "2", *TINY).code == 0
    code, _, err = invoke("perplexity", "m", "checkpoints/r")
    assert (code, "not a text; name a text" in err) == (3, True)


@pytest.mark.parametrize("given", [["--steps", "1,000"], ["--minutes", "1,5"]])
def test_a_number_with_a_comma_is_refused_with_the_way_to_write_it(here, given):
    code, _, err = invoke("train", "text.txt", *given)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "without a comma" in err
    assert "e+" not in err


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_sample_beside_the_bar_fits_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = "x\ty" * 100 + "\n\n" + "z" * 500
    lines = progress._indented(text).splitlines()
    assert all(line.startswith("    | ") and len(line) < columns for line in lines)
    assert "".join(line[6:] for line in lines) == text.expandtabs(8).replace("\n", "")
