"""What reaches standard output and standard error: exact into a pipe, harmless on a terminal."""

import io
import os
import pty
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.reports.terminal import inert, say, write_note, write_table

ESCAPES = [
    "\x1b]52;c;cm0=\x07",
    "\x1b[2J",
    "\x9b2J",
    "\x00\x08\r\x0b\x0c\x7f",
    "\u202egnp.exe",
    "\u2066\u200f",
]


def run(code: str, *, stdout=subprocess.PIPE, env=None):
    """Runs Python in a process of its own; the package is found whatever the working directory."""
    return subprocess.run(
        [sys.executable, "-c", code],
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(env or {})},
    )


def on_a_terminal(code: str, *, columns: int = 100, colour: bool = False) -> str:
    """What a terminal receives, its own \\r\\n turned back to \\n."""
    ours, theirs = pty.openpty()
    run(code, stdout=theirs, env={"COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "" if colour else "1"})
    os.close(theirs)
    received = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # the far end is closed and all is read
            break
        if not part:
            break
        received += part
    os.close(ours)
    return received.decode("utf-8").replace("\r\n", "\n")


@pytest.mark.parametrize("text", ESCAPES, ids=ascii)
def test_what_a_terminal_acts_on_is_shown_as_an_escape(text):
    shown = inert(f"a{text}b")
    assert shown.startswith("a\\")
    assert not any(unicodedata.category(character) in ("Cc", "Cf") for character in shown)


def test_newline_tab_and_all_printable_text_stay():
    text = "a\tb\nñ € 😀 \\x1b e\u0301"
    assert inert(text) == text


def test_lone_surrogates_are_shown():
    assert inert("\ud83d") == "\\ud83d"


@given(st.text(alphabet=st.characters()))
def test_nothing_active_ever_gets_through(text):
    shown = inert(text)
    shown.encode("utf-8")
    assert all(character in "\n\t" or not 0 <= ord(character) < 0x20 for character in shown)
    assert not any(0x7F <= ord(character) < 0xA0 for character in shown)


def test_a_pipe_gets_the_text_exactly_and_in_utf_8_whatever_the_locale():
    code = "from charrnn.reports.terminal import write_result; write_result('\\x1b[2J\\xf1\\r\\n\\U0001f600')"
    for locale in ({"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}):
        assert run(code, env=locale).stdout == "\x1b[2Jñ\r\n😀".encode()


def test_a_terminal_gets_the_text_inert_unless_asked_raw():
    code = "from charrnn.reports.terminal import write_result; write_result('a\\x1b[2Jb\\n'{})"
    assert on_a_terminal(code.format("")) == "a\\x1b[2Jb\n"
    assert on_a_terminal(code.format(", raw=True")) == "a\x1b[2Jb\n"


def test_text_written_by_others_comes_first():
    code = "from charrnn.reports.terminal import write_result; print('first'); write_result('second')"
    assert run(code).stdout == b"first\nsecond"


def test_a_reader_that_went_away_ends_the_process_quietly():
    read, write = os.pipe()
    os.close(read)
    ended = run(
        "from charrnn.reports.terminal import write_result\nwhile True: write_result('x' * 1000)",
        stdout=write,
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_full_disk_is_an_error_that_says_so_and_is_said_once():
    code = (
        "from charrnn.errors import OutputError\n"
        "from charrnn.reports.terminal import write_result\n"
        "import sys\n"
        "try: write_result('x')\n"
        "except OutputError as error: sys.stderr.write(f'{error}'); sys.exit(error.exit_code)\n"
    )
    with Path("/dev/full").open("wb") as full:
        ended = run(code, stdout=full)
    assert ended.returncode == 4
    assert ended.stderr == b"cannot write to standard output: No space left on device"


def test_a_closed_output_is_an_error():
    code = (
        "import sys\nsys.stdout = None\nfrom charrnn.reports.terminal import prepare_standard_streams, write_result\n"
        "prepare_standard_streams()\nwrite_result('x')\n"
    )
    assert b"OutputError: standard output is closed" in run(code).stderr


def test_a_table_off_a_terminal_is_plain_columns(capsysbinary):
    write_table(["text", "num_chars", "nats"], [["é.txt", "12", "1.5"], ["a\x1b\nb", "3", "10.25"]], align="lrr")
    assert capsysbinary.readouterr().out.decode() == (
        "text      num_chars   nats\né.txt            12    1.5\na\\x1b\\nb          3  10.25\n"
    )


TABLE = (
    "from charrnn.reports.terminal import write_table\n"
    "rows = [['[red]a\\x1b[31m.txt', 'whole', '1.2345'], ['b/' * 25, 'cut', '2.5']]\n"
    "write_table(['text', 'state', 'nats_per_char'], rows, align='llr', styles={'whole': 'good', 'cut': 'bad'})\n"
)


@pytest.mark.parametrize("columns", [10, 35, 40, 100])
def test_a_table_on_a_terminal_is_ruled_and_holds_the_same_numbers_however_narrow(columns):
    shown = on_a_terminal(TABLE, columns=columns)
    assert "1.2345" in shown
    assert "2.5" in shown
    assert "\x1b" not in shown
    assert ("─" in shown) == (columns > 34)  # twelve characters for each text, six for the numbers: else a list
    assert columns < 100 or "[red]a\\x1b[31m.txt" in shown
    if columns > 34:
        assert all(len(line) <= columns for line in shown.splitlines())
    else:
        assert [line.split()[0] for line in shown.splitlines() if line] == ["text", "state", "nats_per_char"] * 2
        assert f"text           {'b/' * 25}\n" in shown  # a path is never cut


def test_a_table_in_colour_marks_headings_and_what_is_good_or_bad():
    shown = on_a_terminal(TABLE, colour=True)
    assert "\x1b[32mwhole" in shown
    assert "\x1b[31mcut" in shown
    assert "\x1b[1mtext" in shown
    assert "a\\x1b[31m.txt" in shown  # what a cell holds is shown, never sent
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert [line.rstrip() for line in plain.splitlines()] == on_a_terminal(TABLE).splitlines()


FACTS = (
    "from charrnn.reports.terminal import write_facts\n"
    "command = 'charrnn sample a-run --prompt ' + 'x ' * 20\n"
    "write_facts([('model', 'a word ' * 9), ('', 'b\\x1b[2J'), ('next', command)])\n"
)


def test_facts_off_a_terminal_are_a_line_each():
    command = "charrnn sample a-run --prompt " + "x " * 20
    expected = f"model  {'a word ' * 9}".rstrip() + "\n       b\\x1b[2J\n" + f"next   {command}".rstrip() + "\n"
    assert run(FACTS).stdout.decode() == expected


def test_facts_on_a_terminal_fit_it_but_for_commands_to_copy():
    lines = on_a_terminal(FACTS, columns=30).splitlines()
    assert [line.startswith(("model  a", "       a", "       w")) for line in lines[:3]] == [True] * 3
    assert all(len(line) <= 30 for line in lines[:-1])
    assert lines[-2:] == ["       b\\x1b[2J", f"next   charrnn sample a-run --prompt {'x ' * 20}".rstrip()]
    assert on_a_terminal(FACTS, colour=True).startswith("\x1b[1;36mmodel\x1b[0m  a word")


def test_a_reader_of_standard_error_that_went_away_ends_nothing(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Closed())
    say("nobody reads this")


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["none", "closed"])
def test_without_a_standard_error_nothing_is_said(monkeypatch, stream):
    if stream is not None:
        stream.close()
    monkeypatch.setattr("sys.stderr", stream)
    say("nobody hears this")
    write_note("nor this")


def test_what_is_said_is_one_harmless_line(capsys):
    say("the disk is \x1b[2J full")
    write_note("silent off a terminal")
    assert capsys.readouterr() == ("", "the disk is \\x1b[2J full\n")


def test_once_standard_error_is_lost_the_process_still_ends_well():
    code = "from charrnn.reports.terminal import say\nfor _ in range(9): say('x' * 1000)\nprint('done')"
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    assert (ended.returncode, ended.stdout) == (0, b"done\n")


def test_closed_standard_streams_are_occupied_so_that_no_file_gets_their_number(tmp_path):
    code = (
        "import os\n"
        "from charrnn.reports.terminal import prepare_standard_streams\n"
        "os.close(0); os.close(2)\n"
        "prepare_standard_streams()\n"
        f"print(os.open({str(tmp_path / 'file')!r}, os.O_WRONLY | os.O_CREAT) > 2)\n"
    )
    assert run(code).stdout == b"True\n"
