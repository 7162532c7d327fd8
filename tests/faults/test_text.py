"""Texts that are broken, empty, tiny or odd, through the whole command: a model, or one line that says what to do."""

import pytest
from command import invoke

SIZES = ["--hidden-size", "4", "--steps", "3", "--threads", "1", "--quiet"]


def train(text, tmp_path, *options):
    return invoke("train", text, *SIZES, "--out", tmp_path / "runs", "--name", "run", *options)


@pytest.mark.parametrize("size", range(10))
@pytest.mark.parametrize("level", ["char", "byte"])
def test_a_text_of_any_size_is_learned_or_too_small(tmp_path, size, level):
    text = tmp_path / "text.txt"
    text.write_text("abcabcabcabc"[:size])
    code, out, err = train(text, tmp_path, "--level", level)
    if code == 0:
        assert invoke("sample", tmp_path / "runs" / "run", "--length", "5")[0] == 0
        assert out.strip().endswith("model.safetensors")
    else:
        assert code == 3
        assert len(err.splitlines()) == 1
    assert (code == 0) == (size >= 2), err


@pytest.mark.parametrize("size", [2, 50, 5000])
def test_a_text_of_one_symbol_over_and_over_is_learned(tmp_path, size):
    text = tmp_path / "text.txt"
    text.write_text("a" * size)
    assert train(text, tmp_path)[0] == 0
    assert invoke("sample", tmp_path / "runs" / "run", "--length", "4")[1].strip() == "aaaa"


BROKEN = {  # what each begins with is good; the number is that of the first wrong byte
    "a continuation alone": (b"ab\x80cd", 2),
    "a sequence cut short": (b"abc\xe2\x82", 3),
    "a sequence cut by a letter": (b"ab\xe2\x82cd", 2),
    "an overlong slash": (b"ab\xc0\xafcd", 2),
    "an overlong NUL": (b"ab\xe0\x80\x80cd", 2),
    "half a character": (b"ab\xed\xa0\x80cd", 2),
    "past the last code point": (b"ab\xf4\x90\x80\x80cd", 2),
    "five bytes": (b"ab\xf8\x88\x80\x80\x80cd", 2),
    "no byte of UTF-8": (b"ab\xffcd", 2),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_bytes_that_are_no_utf8_are_placed_and_the_ways_out_named(tmp_path, kind):
    text = tmp_path / "text.txt"
    broken, place = BROKEN[kind]
    text.write_bytes(b"good line\n" * 50 + broken * 3)
    code, _, err = train(text, tmp_path)
    assert code == 3
    assert len(err.splitlines()) == 1
    assert f"byte {broken[place]:02x}" in err
    assert f"at offset {500 + place};" in err
    assert "--level byte" in err
    assert "--encoding" in err
    assert train(text, tmp_path, "--level", "byte")[0] == 0


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_is_understood_and_no_symbol(tmp_path, encoding):
    text = tmp_path / "text.txt"
    text.write_bytes(("to be or not to be\n" * 30).encode(encoding))
    assert train(text, tmp_path)[0] == 0
    out = invoke("inspect", tmp_path / "runs" / "run", "--json")[1]
    assert "ufeff" not in out
    assert '"size": 8' in out


@pytest.mark.parametrize("odd", ["\0", "\r\n", "\r", "\f", "\u2028", "\x1b[2J", "\u202e", "\U0001f600", "\x9b"])
def test_odd_characters_are_symbols_like_any_other(tmp_path, odd):
    text = tmp_path / "text.txt"
    text.write_bytes(f"to be{odd}or not".encode() * 40)
    assert train(text, tmp_path)[0] == 0
    code, out, _ = invoke("sample", tmp_path / "runs" / "run", "--length", "400", "--temperature", "5", "--seed", "1")
    assert code == 0
    assert set(out) <= set(f"to be{odd}or not") | {"\n"}
    assert odd[0] in out
    code, _, err = invoke("perplexity", tmp_path / "runs" / "run", text)
    assert (code, err) == (0, "")


def test_one_line_of_megabytes_is_a_text(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("never a line's end " * 200_000)
    assert train(text, tmp_path)[0] == 0


@pytest.mark.parametrize(
    "name", ["a b.txt", "ü.txt", "-dash.txt", "two\nlines.txt", "\x1b[2J.txt", "x" * 250, "no\udcffutf8.txt"]
)
def test_a_file_of_any_name_is_read_and_its_name_shown_safely(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("to be or not to be " * 30)
    code, _, err = invoke("train", f"./{name}", *SIZES[:-1])
    assert code == 0, err
    assert "\x1b" not in err
    (run,) = (tmp_path / "checkpoints").iterdir()
    assert run.name.isascii()
    assert invoke("verify", run)[0] == 0
    code, out, err = invoke("perplexity", run, f"./{name}", "--json")
    assert (code, err) == (0, "")
    assert "\x1b" not in out


@pytest.mark.parametrize("where", ["missing.txt", "", "x" * 5000, "/proc/self/mem", "nothing/at/all"])
def test_what_is_no_text_is_refused_in_one_line(tmp_path, where):
    code, _, err = train(where, tmp_path)
    assert code == 3
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("out", ["/proc/runs", "/dev/null/runs", "x" * 300])
def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("to be or not to be " * 30)
    code, _, err = invoke("train", "text.txt", *SIZES, "--out", out)
    assert code == 4
    assert "--out" in err
    assert len(err.splitlines()) == 1


def test_a_file_in_the_place_of_the_runs_is_left_alone(tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be " * 30)
    (tmp_path / "runs").write_text("mine")
    code, _, err = train(tmp_path / "text.txt", tmp_path)
    assert code == 4
    assert len(err.splitlines()) == 1
    assert (tmp_path / "runs").read_text() == "mine"


def test_thousands_of_files_are_one_text_and_few_names_are_kept(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number:04}.txt").write_text("to be or not ")
    assert train(folder, tmp_path)[0] == 0
    out = invoke("inspect", tmp_path / "runs" / "run", "--json")[1]
    assert '"num_texts": 2000' in out
    assert "0999.txt" in out
    assert "1000.txt" not in out
