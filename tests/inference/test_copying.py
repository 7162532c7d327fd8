"""What is found in common is what a plain search finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.inference import copying
from charrnn.inference.copying import Written, copied_share, copying_of, longest_common
from charrnn.text.vocab import Vocab

LEARNED = "Long live the king! The king is dead; l'été est là.\n"


def ids_of(text):
    return np.frombuffer(text.encode("latin-1"), np.uint8)


def occurs(text, begin, length, learned):
    return text[begin : begin + length] in learned


texts = st.text("ab", max_size=40)


@given(texts, texts, st.integers(1, 50))
def test_the_longest_common_stretch_is_found(text, learned, at_once):
    lengths = [max(n for n in range(len(text) - i + 1) if occurs(text, i, n, learned)) for i in range(len(text))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "_SYMBOLS_AT_ONCE", at_once)
        begin, length = longest_common(ids_of(text), ids_of(learned))
    assert length == max(lengths, default=0)
    assert not length or begin == lengths.index(length)


@given(texts, texts, st.integers(1, 8))
def test_the_share_in_common_counts_each_symbol_of_long_stretches(text, learned, length):
    shortest = min(length, len(text))
    covered = set()
    for begin in range(len(text) - shortest + 1):
        if shortest and occurs(text, begin, shortest, learned):
            covered |= set(range(begin, begin + shortest))
    expected = len(covered) / len(text) if text else 0.0
    assert copied_share(ids_of(text), ids_of(learned), length=length) == expected


def test_a_long_passage_is_found_in_a_text_read_in_parts(monkeypatch):
    monkeypatch.setattr(copying, "_SYMBOLS_AT_ONCE", 64)
    random = np.random.default_rng(0)
    learned, text = random.integers(0, 50, 3000), random.integers(0, 50, 500)
    text[123:323] = learned[1001:1201]
    assert longest_common(text, learned) == (123, 200)


@pytest.mark.parametrize("vocab", [Vocab.of_text(LEARNED), Vocab.bytes()], ids=lambda vocab: vocab.level)
@pytest.mark.parametrize("at_once", [5, 1 << 18])
def test_words_and_the_longest_passage_are_told(monkeypatch, vocab, at_once):
    monkeypatch.setattr(copying, "_SYMBOLS_AT_ONCE", at_once)
    first = Written("The k", "ing is dad; l'été", is_cut=False)
    second = Written("", "Lon the king! The kin", is_cut=True)
    found = copying_of([first, second], vocab.encode(LEARNED), vocab)
    # king is l été; not dad. the king The; not Lon, nor a last word that is cut.
    assert (found.num_words, found.num_known_words) == (9, 7)
    assert (found.longest, found.sample) == (" the king! The kin", 1)


def test_a_passage_does_not_go_from_one_sample_to_the_next():
    vocab = Vocab.of_text(LEARNED)
    found = copying_of(
        [Written("", "Long live ", False), Written("", "the king!", False)], vocab.encode(LEARNED), vocab
    )
    assert (found.longest, found.sample) == ("Long live ", 0)


def test_a_passage_of_bytes_begins_and_ends_with_whole_characters():
    vocab = Vocab.bytes()
    # Of ë the first byte is that of é, of ğ the second; neither is a character that was copied.
    found = copying_of([Written("", "xël'éğ", is_cut=False)], vocab.encode("é l'éé"), vocab)
    assert found.longest == "l'é"


def test_nothing_in_common_is_nothing():
    vocab = Vocab.of_text("abc d")
    found = copying_of([Written("", "ccc", is_cut=True)], vocab.encode("abab d"[:4]), vocab)
    assert (found.num_words, found.num_known_words, found.longest) == (0, 0, "")
