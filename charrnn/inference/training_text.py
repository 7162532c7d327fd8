"""The text that a model has learned from: found through its run where it still lies, or named."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from charrnn.errors import InputError, SettingsError
from charrnn.storage.config import read_part_of_config
from charrnn.storage.container import read_facts
from charrnn.storage.metrics import last_seconds
from charrnn.storage.run_files import CONFIG_NAME, METRICS_NAME, TRAINING_NAME
from charrnn.storage.run_summary import stated_seconds
from charrnn.storage.upgrade import upgraded_training
from charrnn.text.corpus import Corpus, TextFacts, open_corpus
from charrnn.text.settings import TextSettings, is_stdin
from charrnn.text.vocab import UnknownCharacterError, Vocab, describe_char

_NAME_IT = "name the text with `training_text`"


@dataclass(frozen=True)
class TrainingText:
    """What a model has learned from.

    Attributes:
        ids: (N,) symbols of the model's vocabulary, without those held out; in memory or mapped from a file.
        names: of the files.
        notes: what the user should know of how it was found.
        seconds: that the run took; None where no history says so.
    """

    ids: NDArray[Any]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    seconds: float | None = None


def find_training_text(
    path: str | Path, *, vocab: Vocab, facts: Mapping[str, Any], named: Sequence[str] = ()
) -> TrainingText:
    """The text that a model has learned from, without what was held out.

    Args:
        path: of the model's file, or of its run's directory, where its training state says where the text is.
        vocab: the model's.
        facts: what its file says of how it was made.
        named: files or directories that hold the text now; none: it is looked for where it was. A text that is not
            the one that was learned is taken whole, and a note says so.

    Raises:
        InputError: there is nothing that says where the text was, it is gone or has changed, or cannot be read.
    """
    known = _facts_of_text(facts)
    directory = _directory(path)
    source = _source(directory, known)
    if named:
        corpus = _named(vocab, named, encoding=(source or TextSettings()).encoding)
    else:
        corpus = _where_it_was(vocab, source)
    notes = corpus.notes
    ids = _learned_part(corpus, known)
    if ids is None:
        if not named:
            raise InputError(
                f"the text that the model was trained on ({', '.join(corpus.names[:3])}) has changed since; {_NAME_IT}"
            )
        ids = corpus.ids
        which = ", ".join(map(repr, named[:3]))
        notes += (
            f"{which}: this is not known to be the text that the model was trained on; all of it is taken for that",
        )
    return TrainingText(ids, corpus.names, notes, learning_seconds(path, facts))


def learning_seconds(path: str | Path, facts: Mapping[str, Any]) -> float | None:
    """How long a model took to learn; None where neither its file nor its run's history says so.

    Args:
        path: of the model's file, or of its run's directory.
        facts: what the file says of how it was made.
    """
    seconds = stated_seconds(facts)
    if seconds is not None:
        return seconds
    with suppress(InputError):
        return last_seconds(_directory(path) / METRICS_NAME)
    return None


def _directory(path: str | Path) -> Path:
    return Path(path) if Path(path).is_dir() else Path(path).parent


def _facts_of_text(facts: Mapping[str, Any]) -> TextFacts | None:
    """What a model, or a mixture's first member, says of its text; None where it says nothing, or nothing of use."""
    while isinstance(members := facts.get("members"), list) and members and isinstance(members[0], Mapping):
        facts = members[0]
    with suppress(SettingsError):
        return TextFacts.from_json(facts.get("corpus"))
    return None


def _source(directory: Path, known: TextFacts | None) -> TextSettings | None:
    """How the run read its text; None where neither a training state of this model nor settings tell it."""
    with suppress(InputError, SettingsError, KeyError, TypeError, ValueError, AttributeError):
        if not (directory / TRAINING_NAME).exists():  # a run that counts has none
            return TextSettings(**read_part_of_config(directory / CONFIG_NAME, TextSettings))
        facts = upgraded_training(*read_facts(directory / TRAINING_NAME, kind="training"))
        text = TextFacts.from_json(facts["text"])
        if known is not None and text.fingerprint == known.fingerprint:
            return TextSettings.from_json(facts["source"])
    return None


def _named(vocab: Vocab, names: Sequence[str], *, encoding: str) -> Corpus:
    try:
        return open_corpus(names, level=vocab.level, encoding=encoding, vocab=vocab)
    except UnknownCharacterError as error:
        raise InputError(
            f"{', '.join(map(repr, names[:3]))} is not the text that the model was trained on: it has "
            f"{describe_char(error.chars[0])}, which the model does not know"
        ) from error


def _where_it_was(vocab: Vocab, source: TextSettings | None) -> Corpus:
    if source is None or not source.texts:
        raise InputError(
            f"nothing says where the text is that the model was trained on: it has no {TRAINING_NAME} of its run "
            f"beside it; {_NAME_IT}"
        )
    if any(map(is_stdin, source.texts)):
        raise InputError(f"the model was trained on standard input, which is gone; {_NAME_IT}")
    try:
        return open_corpus(source.texts, level=source.level, encoding=source.encoding, vocab=vocab)
    except UnknownCharacterError as error:
        raise InputError(
            f"the text that the model was trained on has changed since: {', '.join(source.texts[:3])}; {_NAME_IT}"
        ) from error
    except InputError as error:
        raise InputError(f"the text that the model was trained on is not where it was: {error}; {_NAME_IT}") from error


def _learned_part(corpus: Corpus, known: TextFacts | None) -> NDArray[Any] | None:
    """What was learned of a text; None where it is not the text that the model says it knows."""
    if known is None:
        return None
    fingerprint, _, held_out = known.fingerprint.partition("+")
    if fingerprint != corpus.fingerprint or known.num_symbols != len(corpus.ids):
        return None
    # A held-out text of its own leaves the whole text to learn from; so does one too short to hold any of it out.
    if held_out or known.num_held_out >= known.num_symbols:
        return corpus.ids
    return corpus.ids[: known.num_symbols - known.num_held_out]
