import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn.errors import InputError, SettingsError
from charrnn.text import corpus as corpus_module
from charrnn.text.corpus import encode_text_file, open_corpus, split, vocabulary_of
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


def test_a_directory_gives_its_text_files_sorted_and_says_what_it_left_out(tmp_path):
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
def test_a_large_text_is_mapped_from_the_cache_with_the_ids_of_a_small_one(tmp_path, monkeypatch, level):
    path = file(tmp_path, "aé€😀\n" * 50)
    small = open_corpus([path], level=level)
    monkeypatch.setattr(corpus_module, "IN_MEMORY_BYTES", 10)
    cache = tmp_path / "cache"
    large = open_corpus([path], level=level, cache_dir=cache)
    assert isinstance(large.ids, np.memmap)
    assert np.array_equal(large.ids, small.ids)
    written = {p: p.stat().st_mtime_ns for p in cache.iterdir()}
    again = open_corpus([path], level=level, cache_dir=cache)
    assert np.array_equal(again.ids, small.ids)
    assert {p: p.stat().st_mtime_ns for p in cache.iterdir()} == written
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
    for name, word in (("missing.txt", "No such file"), ("pipe", "no regular file"), ("empty", "holds no text file")):
        with pytest.raises(InputError, match=word):
            open_corpus([tmp_path / name], level="char")
    with pytest.raises(InputError, match="no regular file"):
        open_corpus(["/dev/zero"], level="byte")


@pytest.mark.parametrize("encoding", ["no-such", "base64", "rot13", ""])
def test_an_encoding_that_is_none_is_a_settings_error(tmp_path, encoding):
    with pytest.raises(SettingsError, match="encoding"):
        open_corpus([file(tmp_path, "abc")], level="char", encoding=encoding)


def test_unknown_characters_are_placed_by_file_line_and_column(tmp_path):
    path = file(tmp_path, "abc\nab\nc?b")
    with pytest.raises(UnknownCharacterError, match=r"text\.txt', line 3, column 2.*--unknown skip"):
        open_corpus([path], level="char", vocab=Vocab.of_text("abc\n"))
    with pytest.raises(UnknownCharacterError, match=r"line 3, column 2"):
        encode_text_file(path, Vocab.of_text("abc\n"))


def test_skipped_characters_are_left_out_and_counted(tmp_path):
    (encoded,) = encode_text_file(file(tmp_path, "a?bé?"), Vocab.of_text("ab"), unknown="skip")
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
