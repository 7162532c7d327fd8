import io
import os
import re
import subprocess
import sys

import pytest

from charrnn.errors import InputError
from charrnn.text import source as source_module
from charrnn.text.corpus import open_corpus, vocabulary_of
from charrnn.text.source import find_sources


def text_of(corpus):
    return corpus.vocab.decode(corpus.ids)


@pytest.fixture
def piped(monkeypatch):
    """Puts bytes on standard input; those given last stand there."""

    def pipe(content):
        stream = io.TextIOWrapper(io.BytesIO(content), encoding="ascii")
        monkeypatch.setattr(sys, "stdin", stream)
        return stream

    return pipe


def test_standard_input_can_be_read_again_by_a_later_call(piped):
    piped("aé\r\nb".encode())
    vocab = vocabulary_of(["-"])
    assert text_of(open_corpus(["-"], level="char", vocab=vocab)) == "aé\r\nb"
    assert text_of(open_corpus(["/dev/stdin"], level="char")) == "aé\r\nb"


def test_another_standard_input_is_another_text(piped):
    piped(b"first")
    assert text_of(open_corpus(["-"], level="char")) == "first"
    piped(b"second")
    assert text_of(open_corpus(["-"], level="char")) == "second"


def test_standard_input_named_twice_is_refused(piped):
    piped(b"text")
    with pytest.raises(InputError, match="only once"):
        find_sources(["-", "-"], level="char", encoding="utf-8")


def test_a_terminal_gets_a_hint_and_no_wait(piped, monkeypatch):
    stream = piped(b"never read")
    monkeypatch.setattr(stream, "isatty", lambda: True)
    with pytest.raises(InputError, match="is a terminal; pipe a text into it"):
        open_corpus(["-"], level="char")
    assert stream.buffer.read() == b"never read"


def test_a_closed_standard_input_is_said(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed"):
        open_corpus(["-"], level="char")


def test_piped_text_that_cannot_be_kept_is_said_with_what_to_do(piped, monkeypatch):
    piped(b"text")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(source_module.tempfile, "TemporaryFile", full)
    with pytest.raises(InputError, match=r"No space left on device.*TMPDIR"):
        open_corpus(["-"], level="char")


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="the system names no open files")  # noqa: PTH112
def test_process_substitution_can_be_read_again_by_a_later_call():
    code = (
        "import sys; from charrnn.text.corpus import open_corpus, vocabulary_of; vocab = vocabulary_of(sys.argv[1:]);"
        "corpus = open_corpus(sys.argv[1:], level='char', vocab=vocab); print(vocab.decode(corpus.ids))"
    )
    reader, writer = os.pipe()
    os.write(writer, b"hello")
    os.close(writer)
    done = subprocess.run(
        [sys.executable, "-c", code, f"/dev/fd/{reader}"],
        pass_fds=[reader],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    os.close(reader)
    assert done.stdout == "hello\n"


def test_an_encoding_without_byte_order_marks_keeps_bytes_that_look_like_one(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"\xff\xfeabcd")
    assert text_of(open_corpus([path], level="char", encoding="latin-1")) == "ÿþabcd"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_an_encoding_told_by_a_mark_alone_is_noted(tmp_path, encoding):
    path = tmp_path / "wide.txt"
    path.write_bytes("abc".encode(encoding))
    assert any(f"wide.txt' is read as {encoding}" in note for note in open_corpus([path], level="char").notes)
    path.write_text("abc")
    assert open_corpus([path], level="char").notes == ()


def test_a_name_that_the_system_refuses_is_a_users_mistake():
    with pytest.raises(InputError, match=r"cannot read 'aaa.*'"):
        open_corpus(["a" * 300], level="char")


def test_a_name_that_could_command_a_terminal_is_shown_inert(tmp_path):
    path = tmp_path / "\x1b[2J.txt"
    with pytest.raises(InputError) as error:
        open_corpus([path], level="char")
    assert "\x1b" not in str(error.value)
    path.write_bytes(b"\xff")
    with pytest.raises(InputError) as error:
        open_corpus([path], level="char")
    assert "\x1b" not in str(error.value)


def test_only_files_found_in_a_directory_are_passed_over_and_named(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.bin").write_bytes(b"\0")
    (tmp_path / "text").write_text("ab")
    (note,) = open_corpus([tmp_path], level="char").notes
    assert "passed over 5 files that are not text: '0.bin', '1.bin', '2.bin', ..." in note
    assert text_of(open_corpus([tmp_path / "text", tmp_path / "0.bin"], level="char")) == "ab\0"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("shakespear.txt", "did you mean shakespeare.txt?"),
        ("shakespeare", "did you mean shakespeare.txt?"),
        ("corpora/c.txt", "charrnn corpus c makes corpora/c.txt"),
        ("python.txt", "charrnn corpus python makes corpora/python.txt"),
        ("zzz", "charrnn corpus lists texts to begin with"),
        ("nowhere/zzz", "charrnn corpus lists texts to begin with"),
    ],
)
def test_a_missing_file_is_answered_with_one_that_may_be_meant(tmp_path, monkeypatch, name, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shakespeare.txt").write_text("to be")
    with pytest.raises(InputError, match=re.escape(f"cannot read {name!r}: No such file or directory; {hint}")):
        find_sources([name], level="char", encoding="utf-8")
