"""What the terminal tells of a reading: levels in words, symbols in sight, gradients in words."""

import math

import pytest

from charrnn.reports.explanation import LEVELS, level_of, road_in_words, symbol_name
from charrnn.text.vocab import Vocab


@pytest.mark.parametrize(
    ("surprisal", "word"),
    [
        (0.0, "expected"),
        (1.0, "plausible"),
        (3.0, "surprising"),
        (6.0, "very surprising"),
        (math.inf, "very surprising"),
    ],
)
def test_every_surprisal_has_a_word(surprisal, word):
    assert LEVELS[level_of(surprisal)][1] == word


@pytest.mark.parametrize(
    ("char", "name"), [("\n", "newline"), (" ", "space"), ("\t", "tab"), ("a", "a"), ("\x1b", "\\x1b"), ("é", "é")]
)
def test_every_symbol_can_be_seen(char, name):
    vocab = Vocab.of_text("\n\t\x1b aé")
    assert symbol_name(vocab, int(vocab.encode(char)[0])) == name


def test_bytes_of_a_character_are_numbers():
    assert symbol_name(Vocab.bytes(), 0xC3) == "\\xc3"


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (0.1, "it vanishes: a tenth is left of it every 1 steps"),
        (0.9, "it vanishes: a tenth is left of it every 22 steps"),
        (1.0, "it stays as it is"),
        (1.1, "it explodes: ten times as much every 24 steps"),
        (0.0, "nothing is left at its end"),
    ],
)
def test_a_factor_per_step_is_said_in_words(factor, words):
    assert road_in_words(factor) == words
