"""The texts of a run, opened and split into what is learned and what is held out. Knows no torch."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from charrnn.text.corpus import TextFacts, open_corpus, split, vocabulary_of
from charrnn.text.settings import TextSettings
from charrnn.text.vocab import Vocab

_MAX_NAMES = 1000  # of texts kept in a model; a directory may hold more files than a header may list


@dataclass(frozen=True)
class Texts:
    """Texts as ids.

    Attributes:
        train_ids: (N,) to learn from.
        held_out_ids: (M,) to score on.
        vocab: the symbols of both.
        facts: what a model keeps of them.
        notes: lines for the user.
    """

    train_ids: NDArray[Any]
    held_out_ids: NDArray[Any]
    vocab: Vocab
    facts: TextFacts
    notes: tuple[str, ...]


def open_texts(text: TextSettings, *, known: Vocab | None) -> Texts:
    """Opens the texts with a vocabulary that covers learned and held-out text, and ``known`` symbols if given.

    Raises:
        InputError: a text cannot be read or is too short.
    """
    vocab = known
    if text.level == "char" and (text.val or known is not None):
        found = vocabulary_of([*text.texts, *text.val], encoding=text.encoding)
        symbols = set(found.symbols) | set(known.symbols if known is not None else "")
        vocab = Vocab.of_text("".join(sorted(symbols)))
    corpus = open_corpus(text.texts, level=text.level, encoding=text.encoding, vocab=vocab)
    notes, fingerprint = list(corpus.notes), corpus.fingerprint
    if text.val:
        held_out = open_corpus(text.val, level=text.level, encoding=text.encoding, vocab=corpus.vocab)
        train_ids, held_out_ids = corpus.ids, held_out.ids
        fingerprint = f"{fingerprint}+{held_out.fingerprint}"
        notes += held_out.notes
    else:
        parts = split(corpus.ids, text.held_out_fraction)
        train_ids, held_out_ids = parts.train, parts.held_out
        if parts.is_same:
            notes.append("the text is too short to hold any out: the held-out loss is that of the text itself")
    facts = TextFacts(
        names=corpus.names[:_MAX_NAMES],
        num_texts=len(corpus.names),
        fingerprint=fingerprint,
        num_symbols=len(corpus.ids),
        num_held_out=len(held_out_ids),
    )
    return Texts(train_ids, held_out_ids, corpus.vocab, facts, tuple(notes))
