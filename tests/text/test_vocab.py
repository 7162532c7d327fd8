import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import InputError
from charrnn.text.vocab import UnknownCharacterError, Vocab

texts = st.text(min_size=1, max_size=40)


@given(texts)
def test_decoding_gives_back_what_was_encoded(text):
    for vocab in (Vocab.of_text(text), Vocab.bytes()):
        assert vocab.decode(vocab.encode(text)) == text


@given(texts)
def test_symbols_are_the_distinct_characters_in_order(text):
    assert Vocab.of_text(text).symbols == "".join(sorted(set(text)))


@given(texts)
def test_json_gives_back_the_same_vocabulary(text):
    for vocab in (Vocab.of_text(text), Vocab.bytes()):
        assert Vocab.from_json(vocab.to_json()) == vocab


@given(texts)
def test_characters_and_bytes_are_counted_alike_at_both_levels(text):
    expected = (len(text), len(text.encode()))
    for vocab in (Vocab.of_text(text), Vocab.bytes()):
        assert vocab.measure(vocab.encode(text)) == expected


def test_unknown_characters_are_named_in_order_with_their_numbers():
    vocab = Vocab.of_text("abc")
    with pytest.raises(UnknownCharacterError, match=r"'é' \(U\+00E9\), 'x' \(U\+0078\).*position 2") as caught:
        vocab.encode("abéxé")
    assert caught.value.chars == "éx"
    assert caught.value.position == 2


def test_characters_past_the_table_and_in_its_gaps_are_unknown():
    vocab = Vocab.of_text("az")
    for char in ("b", "\U0010ffff", "\0"):
        assert char not in vocab
        with pytest.raises(UnknownCharacterError):
            vocab.encode(char)


@pytest.mark.parametrize(
    ("size", "name"), [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65_536, "uint16"), (65_537, "uint32")]
)
def test_ids_have_the_smallest_type_that_holds_them(size, name):
    points = np.arange(0x10000, 0x10000 + size, dtype=np.uint32)
    assert Vocab.of_points(points).dtype == np.dtype(name)


def test_bytes_that_are_no_utf8_decode_to_the_replacement_character():
    assert Vocab.bytes().decode(np.array([0x61, 0xFF])) == "a\ufffd"


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {"level": "char"},
        {"level": "word", "symbols": [1]},
        {"level": "char", "symbols": []},
        {"level": "char", "symbols": "ab"},
        {"level": "char", "symbols": [98, 97]},
        {"level": "char", "symbols": [97, 97]},
        {"level": "char", "symbols": [-1]},
        {"level": "char", "symbols": [0x110000]},
        {"level": "char", "symbols": [0xD800]},
        {"level": "char", "symbols": [97.0]},
        {"level": "char", "symbols": [True]},
        {"level": "byte", "symbols": [1]},
        {"level": "char", "symbols": [97], "more": 1},
    ],
    ids=repr,
)
def test_values_that_are_no_vocabulary_are_refused(values):
    with pytest.raises(InputError):
        Vocab.from_json(values)


def test_half_a_character_is_never_taken_for_text():
    for vocab in (Vocab.bytes(), Vocab.of_text("ab")):
        with pytest.raises(UnknownCharacterError, match=r"U\+DC80") as error:
            vocab.encode("ab\udc80b\udc80")
        assert (error.value.chars, error.value.position) == ("\udc80", 2)
        assert "\udc80" not in str(error.value)
        assert "\udc80" not in vocab


def test_only_single_characters_are_in_a_vocabulary():
    for vocab in (Vocab.bytes(), Vocab.of_text("ab")):
        assert "a" in vocab
        for other in ("", "ab", 97, None):
            assert other not in vocab
