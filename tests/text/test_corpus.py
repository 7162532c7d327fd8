import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn.errors import InputError, OutputError, SettingsError
from charrnn.text import corpus as corpus_module
from charrnn.text.corpus import encode_source, open_corpus, split, vocabulary_of
from charrnn.text.source import Source
from charrnn.text.vocab import UnknownCharacterError, Vocab

in_any_directory = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def file(tmp_path, content, name="text.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def text_of(corpus):
    return corpus.vocab.decode(corpus.ids)


@in_any_directory
@given(st.text(min_size=2, max_size=60).filter(lambda t: t[0] not in "\ufeff\ufffe"))
def test_a_text_comes_back_exactly_as_it_is(tmp_path, text):
    for level in ("char", "byte"):
        assert text_of(open_corpus([file(tmp_path, text)], level=level)) == text


def test_line_ends_controls_and_separators_are_kept(tmp_path):
    text = "a\r\nb\rc\nd\0e\ff\x1bg\u2028h\u0085"
    assert text_of(open_corpus([file(tmp_path, text)], level="char")) == text


@pytest.mark.parametrize("chunk_bytes", range(1, 9))
def test_a_chunk_boundary_inside_a_character_changes_nothing(tmp_path, chunk_bytes):
    text = "aé€😀z" * 3
    source = Source("text", file(tmp_path, text))
    assert "".join(source.texts("utf-8", chunk_bytes)) == text
    assert "".join(Source("text", file(tmp_path, text.encode("utf-16"))).texts("utf-16", 2 * chunk_bytes)) == text


@pytest.mark.parametrize(
    ("wrong", "offset", "shown"),
    [
        (b"ab\xff", 2, "ff"),  # never a lead byte
        (b"abc\x80", 3, "80"),  # a continuation alone
        (b"\xc3(", 0, "c3"),  # a lead without its continuation
        (b"ab\xc0\xaf", 2, "c0"),  # overlong
        (b"a\xed\xa0\x80", 1, "ed"),  # a surrogate
        (b"a\xf4\x90\x80\x80", 1, "f4"),  # past U+10FFFF
        (b"abcd\xe2\x82", 4, "e2"),  # cut off at the end
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 3, 100])
def test_bytes_that_are_no_utf8_are_named_with_file_offset_and_remedy(tmp_path, wrong, offset, shown, chunk_bytes):
    source = Source("odd.txt", file(tmp_path, wrong))
    with pytest.raises(InputError, match=rf"'odd.txt' is not utf-8: byte {shown}.* at offset {offset};.*latin-1.*byte"):
        list(source.texts("utf-8", chunk_bytes))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding_and_is_no_character(tmp_path, encoding):
    corpus = open_corpus([file(tmp_path, "aé\r\n".encode(encoding))], level="char")
    assert text_of(corpus) == "aé\r\n"


def test_bytes_are_taken_as_they_are(tmp_path):
    corpus = open_corpus([file(tmp_path, b"\xef\xbb\xbf\xff\x00")], level="byte")
    assert corpus.ids.tolist() == [0xEF, 0xBB, 0xBF, 0xFF, 0]


def test_files_follow_each_other_in_the_order_given_with_nothing_between(tmp_path):
    b, a = file(tmp_path, "second", "b.txt"), file(tmp_path, "first", "a.txt")
    corpus = open_corpus([b, a], level="char")
    assert text_of(corpus) == "secondfirst"
    assert corpus.names == ("b.txt", "a.txt")


def test_a_directory_gives_its_text_files_sorted_and_names_the_rest(tmp_path):
    (tmp_path / "sub").mkdir()
    file(tmp_path, "2", "sub/x.txt")
    file(tmp_path, "1", "a.txt")
    file(tmp_path, "no", ".hidden")
    file(tmp_path, b"\0\1\2", "binary")
    file(tmp_path, b"\xff\xfd", "latin")
    corpus = open_corpus([tmp_path], level="char")
    assert text_of(corpus) == "12"
    assert any("passed over 2 files" in note for note in corpus.notes)


def test_a_file_named_twice_is_read_twice_and_said(tmp_path):
    path = file(tmp_path, "ab")
    corpus = open_corpus([path, path], level="char")
    assert text_of(corpus) == "abab"
    assert any("named 2 times" in note for note in corpus.notes)


def test_the_fingerprint_depends_on_bytes_and_level_not_on_names(tmp_path):
    one, same, other = (file(tmp_path, t, n) for t, n in (("abc", "1"), ("abc", "2"), ("abd", "3")))
    prints = {open_corpus([p], level="char").fingerprint for p in (one, same)}
    assert len(prints) == 1
    assert open_corpus([other], level="char").fingerprint not in prints
    assert open_corpus([one], level="byte").fingerprint not in prints


@pytest.mark.parametrize("level", ["char", "byte"])
def test_a_large_text_is_mapped_from_the_cache_with_equal_ids(tmp_path, monkeypatch, level):
    path = file(tmp_path, "aé€😀\n" * 50)
    small = open_corpus([path], level=level)
    monkeypatch.setattr(corpus_module, "IN_MEMORY_BYTES", 10)
    cache = tmp_path / "cache"
    large = open_corpus([path], level=level, cache_dir=cache)
    assert isinstance(large.ids, np.memmap)
    assert np.array_equal(large.ids, small.ids)
    written = {p: p.stat().st_ino for p in cache.iterdir()}
    again = open_corpus([path], level=level, cache_dir=cache)
    assert np.array_equal(again.ids, small.ids)
    assert {p: p.stat().st_ino for p in cache.iterdir()} == written
    del large, again


def test_a_cache_file_that_was_cut_is_made_again(tmp_path, monkeypatch):
    path = file(tmp_path, "abcd" * 20)
    monkeypatch.setattr(corpus_module, "IN_MEMORY_BYTES", 10)
    cache = tmp_path / "cache"
    expected = np.array(open_corpus([path], level="char", cache_dir=cache).ids)
    ids = next(cache.glob("*.ids"))
    ids.write_bytes(ids.read_bytes()[:7])
    assert np.array_equal(open_corpus([path], level="char", cache_dir=cache).ids, expected)


@pytest.mark.parametrize("content", ["", "a"])
def test_a_text_with_nothing_to_predict_is_refused_with_the_least_size(tmp_path, content):
    with pytest.raises(InputError, match="at least 2"):
        open_corpus([file(tmp_path, content)], level="char")


def test_paths_that_are_no_text_are_refused_by_name(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    for name, word in (
        ("missing.txt", "No such file"),
        ("pipe", "not a regular file"),
        ("empty", "holds no text file"),
    ):
        with pytest.raises(InputError, match=word):
            open_corpus([tmp_path / name], level="char")
    with pytest.raises(InputError, match="not a regular file"):
        open_corpus(["/dev/zero"], level="byte")


@pytest.mark.parametrize("encoding", ["no-such", "base64", "rot13", ""])
def test_an_encoding_that_is_none_is_a_settings_error(tmp_path, encoding):
    with pytest.raises(SettingsError, match="encoding"):
        open_corpus([file(tmp_path, "abc")], level="char", encoding=encoding)


def test_unknown_characters_are_placed_by_file_line_and_column(tmp_path):
    path = file(tmp_path, "abc\nab\nc?b")
    with pytest.raises(UnknownCharacterError, match=r"text\.txt', line 3, column 2.*`unknown=skip`"):
        open_corpus([path], level="char", vocab=Vocab.of_text("abc\n"))
    with pytest.raises(UnknownCharacterError, match=r"line 3, column 2"):
        encode_source(Source(str(path), path), Vocab.of_text("abc\n"))


def test_skipped_characters_are_left_out_and_counted(tmp_path):
    source = Source("text", file(tmp_path, "a?bé?"))
    encoded = encode_source(source, Vocab.of_text("ab"), unknown="skip")
    assert encoded.ids.tolist() == [0, 1]
    assert encoded.num_unknown == 3


def test_a_vocabulary_covers_all_texts_named(tmp_path):
    paths = [file(tmp_path, "ab", "1"), file(tmp_path, "bc", "2")]
    assert vocabulary_of(paths).symbols == "abc"


@given(st.integers(2, 400), st.floats(0.001, 0.999))
def test_both_parts_of_a_split_can_be_predicted_and_nothing_is_lost(size, fraction):
    ids = np.arange(size)
    train, held_out, is_same = split(ids, fraction)
    assert min(len(train), len(held_out)) >= 2
    if is_same:
        assert size < 20
    else:
        assert np.array_equal(np.concatenate([train, held_out]), ids)
        assert np.shares_memory(train, ids)


def test_the_split_of_tiny_shakespeares_length_is_the_public_one():
    assert len(split(np.zeros(1_115_394, np.uint8), 0.1).held_out) == 111_540


@pytest.mark.parametrize("damage", ["zeros", "ones", "one bit", "longer", "digest"])
def test_a_cache_file_that_does_not_match_its_digest_is_made_again(tmp_path, monkeypatch, damage):
    path = file(tmp_path, "abcd" * 20)
    monkeypatch.setattr(corpus_module, "IN_MEMORY_BYTES", 10)
    cache = tmp_path / "cache"
    expected = np.array(open_corpus([path], level="char", cache_dir=cache).ids)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    damaged = {
        "zeros": bytes(len(whole)),
        "ones": b"\xff" * len(whole),
        "one bit": bytes([whole[0] ^ 1]) + whole[1:],
        "longer": whole + b"\0",
        "digest": whole[:-1] + bytes([whole[-1] ^ 1]),
    }
    kept.write_bytes(damaged[damage])
    assert np.array_equal(open_corpus([path], level="char", cache_dir=cache).ids, expected)
    assert kept.read_bytes() == whole


def test_without_a_cache_a_large_text_goes_to_a_temporary_file(tmp_path, monkeypatch):
    path = file(tmp_path, "aé€😀\n" * 50)
    expected = np.array(open_corpus([path], level="char").ids)
    monkeypatch.setattr(corpus_module, "IN_MEMORY_BYTES", 10)
    corpus = open_corpus([path], level="char", cache_dir=path / "below-a-file")
    assert isinstance(corpus.ids, np.memmap)
    assert np.array_equal(corpus.ids, expected)
    assert any("cannot be used" in note for note in corpus.notes)


def test_with_no_room_anywhere_both_places_are_named(tmp_path, monkeypatch):
    path = file(tmp_path, "abcd" * 20)
    monkeypatch.setattr(corpus_module, "IN_MEMORY_BYTES", 10)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(corpus_module.tempfile, "TemporaryFile", full)
    monkeypatch.setattr(os, "fsync", full)
    cache = tmp_path / "cache"
    with pytest.raises(OutputError, match=r"cache.*No space left.* nor in .*CHARRNN_CACHE"):
        open_corpus([path], level="char", cache_dir=cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("limit", [10, 1 << 20])
def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch, limit):
    path = file(tmp_path, "abcd" * 20)
    monkeypatch.setattr(corpus_module, "IN_MEMORY_BYTES", limit)
    encoded = corpus_module._encoded

    def grown(*args):
        with path.open("a") as stream:
            stream.write("dcba")
        return encoded(*args)

    monkeypatch.setattr(corpus_module, "_encoded", grown)
    with pytest.raises(InputError, match="changed while it was read"):
        open_corpus([path], level="char", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(("level", "num_symbols"), [("char", 4), ("byte", 10)])
def test_characters_and_bytes_are_counted_at_either_level(tmp_path, level, num_symbols):
    corpus = open_corpus([file(tmp_path, "aé€😀")], level=level)
    assert (len(corpus.ids), corpus.num_chars, corpus.num_bytes) == (num_symbols, 4, 10)


def test_half_a_character_is_refused_before_it_enters_a_vocabulary(tmp_path):
    path = file(tmp_path, rb"abc\ud800")
    with pytest.raises(InputError, match=r"U\+D800, half a character"):
        open_corpus([path], level="char", encoding="unicode_escape")


@in_any_directory
@given(st.text(alphabet="aé€😀\r\n", min_size=2, max_size=40), st.integers(1, 9))
def test_ids_do_not_depend_on_how_the_text_is_cut_into_chunks(tmp_path, text, chunk_bytes):
    source = Source("text", file(tmp_path, text))
    vocab = Vocab.of_text(text)
    parts = [vocab.encode(part) for part in source.texts("utf-8", chunk_bytes)]
    assert np.array_equal(np.concatenate(parts), vocab.encode(text))


def test_the_place_of_an_unknown_character_is_told_past_the_first_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(Source.texts, "__defaults__", (3,))
    path = file(tmp_path, "éa\nbb\nabc?a")
    with pytest.raises(UnknownCharacterError, match="line 3, column 4"):
        open_corpus([path], level="char", vocab=Vocab.of_text("abcé\n"))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
def test_the_memory_to_encode_one_long_line_does_not_grow(tmp_path):
    code = (
        "import sys; from charrnn.text import corpus; corpus.IN_MEMORY_BYTES = 1\n"
        "made = corpus.open_corpus([sys.argv[1]], level='char', cache_dir=sys.argv[2] and corpus.Path(sys.argv[2]))\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(len(made.ids), peak.split()[1])"
    )
    peaks = []
    for megabytes in (8, 72):
        path = tmp_path / f"{megabytes}.txt"
        path.write_bytes(b"abcdefgh" * (megabytes << 17))
        command = [sys.executable, "-c", code, str(path), str(tmp_path / "cache")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        count, peak = map(int, done.stdout.split())
        assert count == megabytes << 20
        peaks.append(peak)
    # 64 MiB more of text: read whole it would cost at least as much; a quarter leaves room for the allocator.
    assert peaks[1] - peaks[0] < 16 << 10
