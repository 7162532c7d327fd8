"""Hashes of stretches: equal for equal stretches, wherever they stand, and for no others."""

import itertools

import numpy as np
import pytest

from charrnn.text.window_hash import are_among, distinct, iterate_hashes, window_hashes

RANDOM = np.random.default_rng(2)
TEXT = RANDOM.integers(0, 3, 400)


@pytest.mark.parametrize("length", [1, 2, 5, 30, 400])
def test_hashes_are_equal_where_stretches_are(length):
    stretches = [tuple(TEXT[i : i + length].tolist()) for i in range(len(TEXT) - length + 1)]
    hashes = window_hashes(TEXT, length).tolist()
    assert len(hashes) == len(stretches)
    assert len({*zip(stretches, hashes, strict=True)}) == len(set(stretches)) == len(set(hashes))


def test_stretches_that_differ_regularly_differ_in_hash():
    # In Thue and Morse's order, sums of powers modulo 2^64 would be alike for 1,024 symbols.
    order = np.array([bin(i).count("1") % 2 for i in range(1024)])
    rows = [order, 1 - order, np.zeros(1024, np.int64), np.ones(1024, np.int64), np.arange(1024) % 2]
    found = [int(window_hashes(row, 1024)[0]) for row in rows]
    assert len(set(found)) == len(rows)


def test_a_text_shorter_than_a_stretch_has_none():
    assert len(window_hashes(TEXT[:4], 5)) == 0
    assert list(iterate_hashes(TEXT[:4], 5)) == []


def test_parts_of_a_text_have_the_hashes_of_the_whole():
    parts = list(iterate_hashes(TEXT, 7, at_once=13))
    assert [begin for begin, _ in parts] == list(range(0, 394, 13))
    assert (np.concatenate([hashes for _, hashes in parts]) == window_hashes(TEXT, 7)).all()


def test_texts_side_by_side_have_the_hashes_they_have_alone():
    columns = np.stack([TEXT[i : i + 9] for i in (0, 3, 200)], axis=1)
    for dtype in (np.uint8, np.int64):
        found = window_hashes(columns.astype(dtype), 6)
        assert found.shape == (4, 3)
        assert (found == np.stack([window_hashes(TEXT, 6)[i : i + 4] for i in (0, 3, 200)], axis=1)).all()


def test_hashes_are_sorted_once_and_found_again():
    hashes = window_hashes(TEXT, 3)
    known = distinct(hashes)
    assert known.tolist() == sorted(set(hashes.tolist()))
    assert are_among(hashes, known).all()
    some = known[::2]
    assert are_among(known, some).tolist() == [i % 2 == 0 for i in range(len(known))]
    assert not are_among(known, known[:0]).any()
    assert len(distinct(known[:0])) == 0


def test_no_two_short_stretches_of_a_large_alphabet_share_a_hash():
    stretches = np.array(list(itertools.product(range(0, 2000, 50), repeat=3)))
    assert len(set(window_hashes(stretches.T, 3)[0].tolist())) == len(stretches)
