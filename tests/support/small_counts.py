"""Small models of counts, and texts with enough in them to be counted."""

import numpy as np

from charrnn.models.counts.learning import learn
from charrnn.models.counts.predictor import Counts, GrowingCounts
from charrnn.models.counts.tables import LETTER, NEWLINE, Tables


def classes_for(num_symbols, *, newline=True):
    """What each symbol is: the first a newline if asked, the second none of a word, all others letters."""
    classes = np.full(num_symbols, LETTER, np.uint8)
    classes[:2] = (NEWLINE if newline else LETTER, 0)[:num_symbols]
    return classes


def ids_for(num_symbols, length, *, seed=0):
    """Symbols of a text in which passages come again, some of them long, among others that were never there."""
    random = np.random.default_rng(seed)
    passages = [random.integers(0, num_symbols, size) for size in (3, 5, 9, 30, 70)]
    parts = []
    while sum(map(len, parts)) < length:
        parts.append(passages[random.integers(len(passages))])
        parts.append(random.integers(0, num_symbols, random.integers(3)))
    return np.concatenate(parts)[:length].astype(np.int64)


def empty_tables(ids, classes, *, num_lines=256, text_space=None):
    """Tables that are to learn a text."""
    space = len(ids) if text_space is None else text_space
    return Tables.empty(np.bincount(ids, minlength=len(classes)), classes, num_lines=num_lines, text_space=space)


def learned(num_symbols, *, length=300, seed=0, num_lines=1024):
    """What is learned of such a text."""
    return learn(ids_for(num_symbols, length, seed=seed), classes_for(num_symbols), num_lines=num_lines)


def fixed_counts(num_symbols, **more):
    """A model of counts as it was made."""
    found = learned(num_symbols, **more)
    return Counts(found.tables.with_weights(found.fixed_weights))


def growing_counts(num_symbols, **more):
    """One that goes on counting."""
    return GrowingCounts(learned(num_symbols, **more).tables)
