"""A run that counts: texts to a model of counts, with its held-out score. Knows no torch."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.errors import InputError
from charrnn.files import write_atomically
from charrnn.inference.scoring import score_ids
from charrnn.models.counts.learning import classes_of, learn
from charrnn.models.counts.predictor import Counts
from charrnn.models.counts.settings import MAX_SYMBOLS, CountsSettings, num_lines_for
from charrnn.models.counts.stored import to_arrays
from charrnn.storage.config import write_config
from charrnn.storage.model_file import ModelFile, write_model
from charrnn.storage.run_directory import COUNTS_SUFFIX, name_of_text, new_run
from charrnn.storage.run_files import CONFIG_NAME, MODEL_NAME
from charrnn.storage.run_name import runs_directory
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
        raise InputError(f"the text has {texts.vocab.size:,} different characters; count its bytes (`level=byte`)")
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


def counted_run(
    text: TextSettings, counting: CountingSettings, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Counted, Path]:
    """Counts texts and keeps the model as a run; arguments as of ``count_texts``.

    Returns:
        what was counted, and the run's directory.

    Raises:
        InputError: as ``count_texts`` does.
        SettingsError: the run cannot have that name.
        OutputError: the name is taken, or nothing can be written there.
    """
    name = name_of_text(text.texts[0]) + COUNTS_SUFFIX if counting.name is None else counting.name
    with new_run(counting.out or runs_directory(), name, is_chosen=counting.name is not None) as directory:
        counted = count_texts(text, counting, progress=progress)
        source = {name: value for name, value in text.resolved().to_json().items() if value != []}
        write_atomically(directory / CONFIG_NAME, write_config({**source, "memory": counting.memory}))
        write_model(directory / MODEL_NAME, counted.model)
    return counted, directory


def _facts(texts: Texts, score: Score, counting: CountingSettings, seconds: float) -> dict[str, Any]:
    return {
        "corpus": texts.facts.to_json(),
        "held_out": {**asdict(score), "nats_per_char": score.nats_per_char},
        "counting": {"memory": counting.memory},
        "seconds": round(seconds, 3),
    }
