"""A run that counts: texts to a model of counts, with its held-out score. Knows no torch."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from charrnn.errors import InputError
from charrnn.inference.scoring import score_ids
from charrnn.models.counts.learning import classes_of, learn
from charrnn.models.counts.predictor import Counts
from charrnn.models.counts.settings import MAX_SYMBOLS, CountsSettings, num_lines_for
from charrnn.models.counts.stored import to_arrays
from charrnn.storage.model_file import ModelFile
from charrnn.text.settings import TextSettings
from charrnn.training.settings import CountingSettings
from charrnn.training.texts import Texts, open_texts
from charrnn.units import Score

MAX_SCORED = 524_288  # held-out symbols that are scored, as at the end of training


@dataclass(frozen=True)
class Counted:
    """A model of counts and how it came about.

    Attributes:
        model: to be stored.
        score: of the held-out part, or of its first ``MAX_SCORED`` symbols.
        num_held_out: symbols held out.
        seconds: spent counting, without reading the text and scoring.
        notes: lines for the user.
    """

    model: ModelFile
    score: Score
    num_held_out: int
    seconds: float
    notes: tuple[str, ...]


def count_texts(
    text: TextSettings, counting: CountingSettings, *, progress: Callable[[int, int], None] | None = None
) -> Counted:
    """Counts the learned part of some texts and scores what is held out.

    Args:
        text: which texts, and how they are split.
        counting: how much memory.
        progress: is told, again and again, how many more symbols have been counted, and how many there are.

    Raises:
        InputError: a text cannot be read, is too short, or has more than 65,536 different characters.
    """
    texts = open_texts(text, known=None)
    if texts.vocab.size > MAX_SYMBOLS:
        raise InputError(f"the text has {texts.vocab.size:,} different characters; count it with --level byte")
    ids = np.asarray(texts.train_ids, np.int64)
    started = time.perf_counter()
    learned = learn(
        ids,
        classes_of(texts.vocab),
        num_lines=num_lines_for(len(ids), most_bytes=counting.memory << 20),
        progress=None if progress is None else lambda num_more: progress(num_more, len(ids)),
    )
    seconds = time.perf_counter() - started
    predictor = Counts(learned.tables.with_weights(learned.fixed_weights))
    score = score_ids(predictor, texts.held_out_ids[:MAX_SCORED], vocab=texts.vocab)
    settings = CountsSettings(vocab_size=texts.vocab.size, num_lines=len(learned.tables.lines), num_text=len(ids))
    model = ModelFile(
        settings, texts.vocab, to_arrays(learned.tables, learned.fixed_weights), _facts(texts, score, counting, seconds)
    )
    return Counted(model, score, len(texts.held_out_ids), seconds, texts.notes)


def _facts(texts: Texts, score: Score, counting: CountingSettings, seconds: float) -> dict[str, Any]:
    return {
        "corpus": texts.facts.to_json(),
        "held_out": {**asdict(score), "nats_per_char": score.nats_per_char},
        "counting": {"memory": counting.memory, "seconds": round(seconds, 3)},
    }
