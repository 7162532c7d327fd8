import re
import sys
import time

import pexpect
import pytest
from command import ENVIRONMENT, invoke
from small_model import TEXT, make_model

import charrnn
from charrnn.cli.interactive import MAIN_PROMPT, Conversation
from charrnn.inference.generation import generate
from charrnn.inference.settings import GenerationSettings

SECONDS = 60
READY = r"\x1b\[\?25h"  # the cursor is shown: a line can be typed


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return charrnn.load(make_model(tmp_path_factory.mktemp("model") / "model.safetensors"))


def converse(model, *lines, beginning="", was_stopped=lambda: False, **settings):
    """What a conversation ends as, after a user has typed some lines."""
    waiting = list(lines)
    asked = []

    def ask(message):
        asked.append(message)
        if not waiting:
            raise EOFError
        line = waiting.pop(0)
        if isinstance(line, type):
            raise line
        return line

    chosen = GenerationSettings(**{"length": 30, "seed": 5, **settings})
    conversation = Conversation(model.predictor, model.vocab, chosen, name="model", ask=ask, was_stopped=was_stopped)
    conversation.run(beginning)
    assert not waiting or conversation._is_over
    conversation.asked = asked
    return conversation


def text_of(conversation):
    return conversation._text.whole


def test_a_beginning_goes_on_as_the_command_would_write_it(model):
    assert text_of(converse(model, "to be")) == "to be" + model.sample("to be", length=30, seed=5)[0]


def test_enter_alone_goes_on_and_each_writing_has_a_seed_of_its_own(model, capsys):
    first = "to be" + model.sample("to be", length=30, seed=5)[0]
    assert text_of(converse(model, "to be", "")) == first + model.sample(first, length=30, seed=6)[0]
    assert re.findall(r"seed \d", capsys.readouterr().out) == ["seed 5", "seed 6"]


def test_again_writes_another_continuation_of_the_same_text(model):
    assert text_of(converse(model, "to be", "/again")) == "to be" + model.sample("to be", length=30, seed=6)[0]


def test_undo_takes_one_step_back_and_at_last_says_that_there_is_none(model, capsys):
    first = "to be" + model.sample("to be", length=30, seed=5)[0]
    assert text_of(converse(model, "to be", "/again", "/undo")) == first
    assert text_of(converse(model, "to be", "", "/undo", "/undo")) == ""
    converse(model, "/undo")
    assert "nothing to take back" in capsys.readouterr().err


def test_add_puts_a_text_at_the_end_and_goes_on(model):
    first = "to be" + model.sample("to be", length=30, seed=5)[0]
    expected = first + " or" + model.sample(first + " or", length=30, seed=6)[0]
    assert text_of(converse(model, "to be", "/add  or")) == expected


def test_settings_change_on_the_way(model, capsys):
    ended = converse(model, "/temperature 0.5", "/top-k 3", "/length 12", "/seed 9", "to")
    expected = model.sample("to", length=12, seed=9, temperature=0.5, top_k=3)[0]
    assert text_of(ended) == "to" + expected
    assert "[top-k 3]" in capsys.readouterr().out


def test_a_stop_text_ends_the_writing_until_it_is_taken_off(model):
    stopped = text_of(converse(model, "/length 900", "/stop e", "to"))
    assert stopped[2:].index("e") == len(stopped) - 3
    assert len(text_of(converse(model, "/stop e", "/stop off", "to"))) == 32


def test_what_is_wrong_is_said_and_ends_nothing(model, capsys):
    ended = converse(model, "/temperature hot", "/tempo 3", "/t 1", "ZZZ", "/quit now", "to")
    assert len(text_of(ended)) == 32
    said = capsys.readouterr().err
    assert "/temperature hot: must be a number from 0 to 100" in said
    assert "there is no command /tempo" in said
    assert "/text, /temperature" in said
    assert "unknown character 'Z'" in said
    assert "/quit takes nothing after it" in said


def test_an_unknown_character_leaves_the_text_as_it_was(model):
    assert text_of(converse(model, "to", "ZZZ")) == text_of(converse(model, "to"))


def test_a_command_may_be_cut_short(model):
    assert converse(model, "/temp 0.25").settings.temperature == 0.25


def test_a_text_may_begin_as_a_command_does(tmp_path):
    slashes = charrnn.load(make_model(tmp_path / "m.safetensors", text="/* quit */ // /quit\n" * 20))
    assert text_of(converse(slashes, "/* q")).startswith("/* q")
    assert text_of(converse(slashes, "// q")).startswith("// q")
    assert text_of(converse(slashes, "/text /quit")).startswith("/quit")


def test_a_character_is_picked_by_its_number(model, capsys):
    ended = converse(model, "to", "/pick", "2", "1", "", "/settings")
    shown = capsys.readouterr().out
    assert [message == MAIN_PROMPT for message in ended.asked] == [True, True, False, False, False, True, True]
    choices = re.findall(r"^ +(\d+)  (\w+|\S) +([\d.]+) %", shown, re.MULTILINE)
    assert [int(number) for number, _, _ in choices] == [*range(1, 11)] * 3
    chances = [float(chance) for _, _, chance in choices[:10]]
    assert chances == sorted(chances, reverse=True)
    names = {"space": " ", "newline": "\n"}
    picked = [names.get(choices[index][1], choices[index][1]) for index in (1, 10)]
    assert text_of(ended) == text_of(converse(model, "to")) + "".join(picked)


def test_picking_takes_numbers_of_the_list_alone_and_ctrl_c_ends_it(model, capsys):
    ended = converse(model, "to", "/pick", "11", "e", KeyboardInterrupt, "/undo")
    assert capsys.readouterr().err.count("1 to 10") == 2
    assert text_of(ended) == ""


def test_again_after_a_pick_goes_on_from_it(model):
    picked = text_of(converse(model, "to", "/pick", "1", ""))
    assert text_of(converse(model, "to", "/pick", "1", "", "/again")).startswith(picked)


def test_stopping_keeps_what_was_written_and_says_so(model, capsys):
    asked = iter([False, False, False, True])
    ended = converse(model, "to be", was_stopped=lambda: next(asked), length=10_000)
    pieces = generate(model.predictor, model.vocab, GenerationSettings(length=10_000, seed=5), prompt="to be")
    assert text_of(ended) == "to be" + "".join(next(pieces).text for _ in range(3))
    assert ", stopped]" in capsys.readouterr().out


def test_saving_chooses_a_free_name_and_never_replaces_a_file_unasked(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ended = converse(model, "/save", "to be", "/save", "/save", "/save kept.txt")
    whole = text_of(ended)
    names = ["model-1.txt", "model-2.txt", "kept.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert {(tmp_path / name).read_text() for name in names} == {whole}
    assert "nothing to save yet" in capsys.readouterr().err
    for answer in ("n", "", EOFError, KeyboardInterrupt):
        converse(model, "or", "/save kept.txt", answer)
        assert (tmp_path / "kept.txt").read_text() == whole
    converse(model, "or", "/save kept.txt", "y")
    assert (tmp_path / "kept.txt").read_text() != whole
    converse(model, "or", f"/save {tmp_path}", "/save nowhere/file.txt")
    said = capsys.readouterr().err
    assert "is a directory" in said
    assert "cannot write 'nowhere/file.txt'" in said


def test_help_names_every_command_and_every_setting(model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    converse(model, "/help")
    shown = capsys.readouterr().out
    for name in ("again", "add", "pick", "undo", "show", "save", "text", "settings", "help", "quit"):
        assert f"\n/{name} " in shown
    for name in ("temperature", "top-k", "top-p", "min-p", "length", "seed", "stop"):
        assert f"\n/{name} " in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 60


def test_quit_leaves_and_ctrl_c_at_the_prompt_does_not(model, capsys):
    ended = converse(model, KeyboardInterrupt, "to", "/quit", "never read")
    assert len(ended.asked) == 3
    assert "Ctrl-D or /quit leaves" in capsys.readouterr().err


def test_control_characters_are_shown_and_not_sent(tmp_path, capsys, monkeypatch):
    hostile = charrnn.load(make_model(tmp_path / "m.safetensors", text="\x1b[2J\n" * 50))
    monkeypatch.setattr("charrnn.reports.terminal.is_terminal", lambda: True)
    ended = converse(hostile, "[2J", "/pick", "")
    assert "\x1b" in text_of(ended)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--json"], ["--num-samples", "2"], ["--copying"], ["--prompt", "-"]])
def test_off_a_terminal_it_is_an_error_that_names_the_option(tmp_path, more):
    code, out, err = invoke("sample", make_model(tmp_path / "m.safetensors"), "--interactive", *more)
    assert (code, out) == (2, "")
    assert "--interactive" in err


class Typist:
    """Someone at a terminal."""

    def __init__(self, *arguments, cwd, columns=80):
        environment = {**ENVIRONMENT, "TERM": "xterm", "PATH": "/usr/bin:/bin", "PROMPT_TOOLKIT_NO_CPR": "1"}
        del environment["COLUMNS"]
        self.process = pexpect.spawn(
            sys.executable,
            ["-m", "charrnn", *map(str, arguments)],
            cwd=str(cwd),
            env=environment,
            dimensions=(24, columns),
            timeout=SECONDS,
            encoding="utf-8",
        )

    def see(self, pattern):
        self.process.expect(pattern)
        return self.process.match

    def type(self, text):
        self.process.send(text)

    def end(self):
        self.process.expect(pexpect.EOF)
        self.process.close()
        return self.process.exitstatus


@pytest.fixture
def typist(tmp_path):
    make_model(tmp_path / "m.safetensors", text=TEXT)
    typist = Typist("sample", "m.safetensors", "-i", "--length", 20, "--seed", 3, cwd=tmp_path)
    typist.see(READY)
    yield typist
    typist.process.close(force=True)


def test_on_a_terminal_a_line_is_edited_recalled_and_gone_on_with(typist, tmp_path):
    typist.type("tobe\x1b[D\x1b[D \r")  # two to the left, then the blank
    typist.see(r"to be[\s\S]*\[20 characters, seed 3\]")
    typist.see(READY)
    typist.type("\x1b[A\r")  # the line before
    typist.see(r"\[20 characters, seed 4\]")
    typist.see(READY)
    typist.type("/sav\t kept.txt\r")  # the Tab key completes it
    typist.see(r"\[25 characters saved in kept.txt\]")
    assert (tmp_path / "kept.txt").read_text().startswith("to be")
    typist.see(READY)
    typist.type("\x04")
    assert typist.end() == 0


def test_ctrl_c_stops_the_writing_and_stays(typist):
    typist.type("/length 1000000000\rto be\r")
    typist.see(r"length 1,000,000,000\]")
    time.sleep(0.5)  # it writes
    typist.process.sendintr()
    assert int(typist.see(r"\[([\d,]+) characters, seed 3, stopped\]")[1].replace(",", "")) > 100
    typist.see(READY)
    typist.type("/quit\r")
    assert typist.end() == 0


def test_a_text_may_have_several_lines(typist):
    typist.type("to\x1b\rbe\r")
    typist.see(r"seed 3\]")
    typist.see(READY)
    typist.type("/show\r")
    typist.see(r"to\r\nbe[\s\S]*\[25 characters\]")
    typist.type("\x04")
    assert typist.end() == 0


def test_sigterm_at_the_prompt_ends_it_and_gives_the_terminal_back(typist):
    typist.process.kill(15)
    assert typist.end() == 143
