"""The automaton against Python's own decoder."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from charrnn.text import utf8


def ends_in(sequence):
    state = utf8.START
    for byte in sequence:
        state = utf8.step(state, byte)
    return state


def is_well_formed(sequence):
    try:
        bytes(sequence).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def test_one_and_two_byte_sequences_are_judged_as_by_python():
    for length in (1, 2):
        for sequence in itertools.product(range(256), repeat=length):
            assert (ends_in(sequence) == utf8.START) == is_well_formed(sequence), bytes(sequence)


def test_longer_sequences_at_every_border_are_judged_as_by_python():
    leads = [0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5]
    follow = [0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0]
    for length in (2, 3):
        for lead, rest in itertools.product(leads, itertools.product(follow, repeat=length)):
            sequence = (lead, *rest)
            assert (ends_in(sequence) == utf8.START) == is_well_formed(sequence), bytes(sequence)


@given(st.text())
def test_all_text_is_accepted(text):
    assert ends_in(text.encode()) == utf8.START


@given(st.binary(max_size=12))
def test_any_bytes_are_judged_as_python_judges_them(sequence):
    assert (ends_in(sequence) == utf8.START) == is_well_formed(sequence)


def test_from_every_state_but_rejection_some_byte_leads_on():
    assert utf8.ALLOWED[: utf8.REJECT].any(axis=1).all()
    assert not utf8.ALLOWED[utf8.REJECT].any()
