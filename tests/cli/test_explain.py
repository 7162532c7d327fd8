import math
import re

import pytest
from command import invoke, run
from small_model import TEXT, make_model
from terminal import shown_on_a_terminal

import charrnn


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "small.safetensors", hidden_size=8)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def explained(*arguments, **options):
    code, out, err = invoke("explain", *arguments, **options)
    assert code == 0, err
    return out


def refused(*arguments, code, **options):
    ended = invoke("explain", *arguments, **options)
    assert ended.code == code
    assert ended.out == ""
    return ended.err


def test_into_a_pipe_it_tells_all_in_words_and_marks(model, text):
    out = explained(model, text, "--reach", "10")
    score = charrnn.load(model).score(TEXT)
    assert f"nats_per_char  {score.nats_per_char:.4f}" in out
    assert f"perplexity     {score.perplexity:.4f}" in out
    assert "\x1b" not in out
    assert "A digit under a character is its surprisal in bits" in out
    assert "What surprised most" in out
    assert re.search(r"^ *10 +\d\.\de", out, re.MULTILINE)  # ten steps back
    assert "layer 1, hidden: it vanishes" in out
    assert "layer 1, cell: it vanishes" in out
    assert "clipped at 0.25" in out


def test_digits_stand_under_what_surprised(model):
    text = "to be, or not to be"
    out = explained(model, "--text", text, "--reach", "0").splitlines()
    at = out.index(text)
    in_bits = [0.0, *(charrnn.load(model).surprisals(text) / math.log(2))]
    expected = "".join(str(min(round(each), 9)) if each >= 3 else " " for each in in_bits)
    assert out[at + 1] == expected.rstrip()


def test_units_are_told_with_their_correlations(model, text):
    out = explained(model, text, "--reach", "0")
    rows = re.findall(r"^(\w+(?: gate)? \d of layer 1) +(\S.*?) +([+-]\d\.\d\d) +(\d\.\d\d|-)$", out, re.MULTILINE)
    assert len(rows) >= 3
    sizes = [abs(float(correlation)) for _, _, correlation, _ in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert f"figures from the {len(TEXT) // 2:,} characters after it" in out


def test_a_terminal_gets_colours_unless_it_objects(model):
    arguments = ("explain", model, "--text", TEXT[:40], "--reach", "0")  # no more than a terminal holds unread
    coloured = shown_on_a_terminal(*arguments, colour=True)
    assert "\x1b[30;48;5;" in coloured
    assert "very surprising 6+ bits" in re.sub(r"\x1b\[[\d;]*m", "", coloured)
    plain = shown_on_a_terminal(*arguments)
    assert "\x1b" not in plain
    assert "A digit under a character" in plain


@pytest.mark.parametrize("columns", [60, 80])
def test_no_line_is_wider_than_the_terminal(model, columns):
    shown = shown_on_a_terminal("explain", model, "--text", TEXT[:90], "--reach", "1", columns=columns)
    assert max(map(len, shown.splitlines())) <= columns


def test_counts_say_that_they_have_no_units(tmp_path, model, text):
    (tmp_path / "c.txt").write_text(TEXT)
    assert invoke("count", "c.txt", "--name", "c", "--quiet", cwd=tmp_path).code == 0
    out = explained("c", "c.txt", cwd=tmp_path)
    assert "c is counts: it has no hidden units and no gradients" in out
    both = explained(model, "c.txt", "--with", "c", "--reach", "2", cwd=tmp_path)
    assert both.count("\nnats_per_char") == 2
    assert "layer 1, hidden" in both


def test_a_page_is_written_and_its_path_is_the_result(model, text, tmp_path):
    out = tmp_path / "page.html"
    ended = invoke("explain", model, text, "-o", out, "--reach", "4", "--unit", "1.forget.2")
    assert (ended.code, ended.out) == (0, f"{out}\n")
    assert "open it in a browser" in ended.err
    page = out.read_text()
    assert "forget gate 2 of layer 1" in page
    assert "How far gradients reach" in page
    assert invoke("explain", model, text, "-o", out, "--quiet", "--reach", "0").err == ""
    assert "How far gradients reach" not in out.read_text()


@pytest.mark.parametrize("form", ["file", "dash", "pipe", "typed"])
def test_the_text_comes_by_every_way(form, model, text):
    given = {"file": [text], "dash": ["-"], "pipe": [], "typed": ["--text", TEXT]}[form]
    out = explained(model, *given, "--reach", "0", stdin=TEXT.encode())
    assert f"{len(TEXT):,} characters" in out


def test_a_long_text_is_cut_and_that_is_said(model, tmp_path):
    (tmp_path / "long.txt").write_text(TEXT * 10)
    ended = invoke("explain", model, "long.txt", "--reach", "0", cwd=tmp_path)
    assert "note: the first 20,000 characters of long.txt are read" in ended.err
    assert "20,000 characters, of which the first 1,200 are shown" in ended.out
    ended = invoke("explain", model, "long.txt", "--reach", "0", "--length", "450", cwd=tmp_path)
    assert "long.txt: 450 characters\n" in ended.out


def test_bytes_are_explained_by_character(tmp_path):
    model = make_model(tmp_path / "bytes.safetensors", level="byte")
    out = explained(model, "--text", "aé€b", "--reach", "2").splitlines()
    surprisals = [0.0, *(charrnn.load(model).surprisals("aé€b") / math.log(2))]
    at = out.index("aé€b")
    assert out[at + 1] == "".join(str(min(round(each), 9)) if each >= 3 else " " for each in surprisals)
    assert any("\\x" in line for line in out)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--text", "to be é"], 3, "'é' (U+00E9)"),
        (["--text", ""], 3, "is empty"),
        (["--text", "t"], 3, "has one character"),
        (["missing.txt"], 3, "missing.txt"),
        (["text.txt", "--text", "to be"], 2, "leave one of them out"),
        (["text.txt", "--unit", "1.cell.99"], 2, "numbers 0 to 7"),
        (["text.txt", "--unit", "cell"], 2, "parts hidden, cell, input, forget, candidate, output"),
        (["text.txt", "--with", "a", "--with", "a"], 2, "twice"),
        (["text.txt", "--with", "nowhere"], 3, "nowhere"),
        (["text.txt", "-o", "."], 4, "is a directory"),
        (["text.txt", "-o", "no/page.html"], 4, "is no directory"),
        (["text.txt", "--reach", "2000"], 2, "from 0 to 1,000"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_words(model, tmp_path, arguments, code, words):
    (tmp_path / "text.txt").write_text(TEXT)
    assert words in refused(model, *arguments, code=code, cwd=tmp_path)


def test_an_unknown_character_is_told_with_its_place(model, tmp_path):
    (tmp_path / "odd.txt").write_text("to be\nor é\n")
    message = refused(model, "odd.txt", code=3, cwd=tmp_path)
    assert "line 2, column 4; read by small.safetensors" in message
    assert "--unknown" not in message  # which explain lacks


def test_the_model_itself_is_no_other(model, text):
    assert "names the model itself" in refused(model, text, "--with", model, code=2)


def test_a_pipe_that_brings_nothing_is_an_empty_text(model):
    ended = run("explain", model)
    assert ended.code == 3
    assert "'-' is empty" in ended.err
