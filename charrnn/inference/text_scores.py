"""Texts scored as the settings say: whole or by line, and, apart, by more than the model itself."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError, SettingsError
from charrnn.inference.baselines import Baselines, Cost, compare
from charrnn.inference.mixing import fitting_ids, mixed
from charrnn.inference.reading import ExactReading
from charrnn.inference.scoring import score_exact, score_ids, score_lines, score_streams, score_windowed
from charrnn.inference.settings import ScoringSettings
from charrnn.inference.temperature import HIGHEST, LOWEST, fit_temperature, with_temperature
from charrnn.inference.training_text import TrainingText
from charrnn.machine import num_cores
from charrnn.models.counts.settings import CountsSettings
from charrnn.models.open import open_model, open_network
from charrnn.models.predictor import Predictor
from charrnn.storage.model_file import ModelFile, require_network
from charrnn.text.corpus import Encoded, encode_source
from charrnn.text.settings import is_stdin
from charrnn.text.source import Found, Source, find_sources, typed_source
from charrnn.text.vocab import UnknownCharacterError, Vocab
from charrnn.units import ZERO_SCORE, Score

Ids = NDArray[Any]
MIXTURES = ("mixture", "dynamic mixture")


@dataclass(frozen=True)
class LineScore:
    """A line's score.

    Attributes:
        line: its number in its text, from 1.
        text: the line without its end.
        score: its own.
        rank: its place among all lines scored together, 1 for the most probable; lines as probable as each other have
            one rank, and the next one's counts them all; None where nothing was predicted.
            What the vocabulary lacks costs no nats: a line comes after all those with fewer such characters.
    """

    line: int
    text: str
    score: Score
    rank: int | None = None


@dataclass(frozen=True)
class TextScore:
    """A text's score, and its lines' where they were scored by themselves."""

    name: str
    score: Score
    lines: tuple[LineScore, ...] = ()


@dataclass(frozen=True)
class ScoredTexts:
    """Texts scored by one protocol.

    Attributes:
        protocol: how, in a word or a few.
        texts: in the order given.
        temperature: of the softmax, where it was fitted.
        apart: scores that are not the model's alone, by name.
        notes: what the user should know of how the texts were found.
        level: what a symbol of the model is, "char" or "byte".
        seconds: that scoring took.
        baselines: what simpler means make of the texts, where they were asked for.
    """

    protocol: str
    texts: tuple[TextScore, ...]
    temperature: float | None = None
    apart: "dict[str, ScoredTexts]" = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    level: str = "char"
    seconds: float = field(default=0.0, compare=False)
    baselines: Baselines | None = None

    @property
    def total(self) -> Score:
        """Of all texts together."""
        return sum((text.score for text in self.texts), ZERO_SCORE)


def score_texts(
    model: ModelFile,
    names: Sequence[str],
    settings: ScoringSettings,
    *,
    typed: Sequence[str] = (),
    beside: Mapping[str, ModelFile] | None = None,
    training: TrainingText | None = None,
    seconds_beside: Mapping[str, float | None] | None = None,
) -> ScoredTexts:
    """The scores of the texts that ``names`` name, and of those that are given themselves.

    Args:
        model: what scores them.
        names: files, directories or "-".
        settings: how.
        typed: texts; they come after those that are read.
        beside: models to mix it with, by name; scores of each and of the mixture stand apart.
        training: what the model has learned from; given, baselines learn from it and are scored too.
        seconds_beside: how long each of the models beside it took to learn, as far as that is known.

    Raises:
        InputError: a text cannot be read, has unknown characters, or nothing is left to score.
        SettingsError: the settings do not go with the model or the texts.
    """
    other = settings.fit_temperature
    if model.vocab.level == "byte" and settings.encoding != ScoringSettings.settings()["encoding"].default:
        raise SettingsError("`encoding` goes with a model of characters; this one reads bytes: leave it out")
    if other is not None and is_stdin(other) and any(map(is_stdin, names)):
        raise SettingsError(
            "standard input is named both to be scored and with `fit_temperature`; name a file for one of them"
        )
    sources, notes = _find(names, model.vocab, settings)
    sources += map(typed_source, typed)
    # Fitted first: what is wrong with the other text is told before a long text has been scored.
    fitted = None
    if other is not None:
        fitted, other_notes = _fit(model, other, settings)
        notes += other_notes
    predictor = open_model(model.settings, model.weights, num_threads=settings.threads)
    started = time.perf_counter()
    if settings.by_line:
        texts = _score_by_line(predictor, model.vocab, sources, settings)
        encoded: list[Encoded] = []
    else:
        encoded = [_encode(source, model.vocab, settings) for source in sources]
        started = time.perf_counter()
        texts = _score_whole(predictor, model.vocab, encoded, settings)
    seconds = time.perf_counter() - started
    found = ScoredTexts(settings.protocol, tuple(texts), notes=tuple(notes), level=model.vocab.level, seconds=seconds)
    if not found.total.num_predictions:
        names_of_texts = ", ".join(repr(text.name) for text in texts)
        raise InputError(f"nothing to score in {names_of_texts}: {_what_is_needed(model.vocab, settings)}")
    apart = _score_apart(model, encoded, fitted, settings)
    if beside:
        apart |= _score_mixed(model, beside, encoded, settings)
    found = replace(found, apart=apart)
    if training is None:
        return found
    costs = _costs(model, found, training, seconds_beside or {})
    return replace(found, baselines=compare(encoded, training, model.vocab, beside=costs, learns=settings.dynamic))


def _what_is_needed(vocab: Vocab, settings: ScoringSettings) -> str:
    """Why a text without a prediction has none; see ``score_lines`` and ``score_exact`` for what is given."""
    if not settings.by_line:
        return "the first symbol is given, so a text needs at least two that the model knows"
    if "\n" in vocab:
        return "by line, a text needs at least one symbol that the model knows"
    return (
        "the model knows no newline, so the first symbol of a line is given, and one needs at least two that it knows"
    )


def _find(names: Sequence[str], vocab: Vocab, settings: ScoringSettings) -> Found:
    return find_sources(names, level=vocab.level, encoding=settings.encoding)


def _encode(source: Source, vocab: Vocab, settings: ScoringSettings) -> Encoded:
    return encode_source(source, vocab, encoding=settings.encoding, unknown=settings.unknown)


def _score_whole(
    predictor: Predictor, vocab: Vocab, texts: Sequence[Encoded], settings: ScoringSettings
) -> list[TextScore]:
    """Each text from its first symbol to its last."""

    def score(ids: Ids) -> Score:
        if settings.windowed is not None:
            return score_windowed(predictor, ids, vocab=vocab, window=settings.windowed)
        if settings.streams is not None:
            return score_streams(predictor, ids, vocab=vocab, num_streams=settings.streams)
        return _score_exact(predictor, ids, vocab, settings)

    # One stream keeps one core busy: several texts go side by side. Many streams share the cores already.
    scores: dict[int, Score] = {}
    side_by_side = [i for i, each in enumerate(texts) if _is_one_stream(predictor, each.ids, settings)]
    num_at_once = min(len(side_by_side), settings.threads or num_cores())
    if num_at_once > 1:
        with ThreadPoolExecutor(num_at_once) as pool:
            found = pool.map(score, (texts[i].ids for i in side_by_side))
            scores = dict(zip(side_by_side, found, strict=True))
    return [_of_text(each, scores[i] if i in scores else score(each.ids)) for i, each in enumerate(texts)]


def _score_exact(predictor: Predictor, ids: Ids, vocab: Vocab, settings: ScoringSettings) -> Score:
    return (score_ids if settings.sequential else score_exact)(predictor, ids, vocab=vocab)


def _is_one_stream(predictor: Predictor, ids: Ids, settings: ScoringSettings) -> bool:
    return settings.is_exact and (settings.sequential or not ExactReading(predictor, ids).is_divided)


class _Fitted(NamedTuple):
    """A softmax temperature, and the name of the text that it was fitted on."""

    temperature: float
    name: str


def _fit(model: ModelFile, name: str, settings: ScoringSettings) -> tuple[_Fitted, list[str]]:
    """The temperature, and notes on how its text was found."""
    sources, notes = _find([name], model.vocab, settings)
    if len(sources) > 1:
        raise InputError(f"{name!r} names {len(sources)} texts; name one to fit the temperature on")
    text = _encode(sources[0], model.vocab, settings)
    shape = require_network(model, use="`fit_temperature`")
    value = fit_temperature(shape, model.weights, text.ids, vocab=model.vocab, num_threads=settings.threads)
    return _Fitted(value, text.name), notes


def _score_apart(
    model: ModelFile, texts: Sequence[Encoded], fitted: _Fitted | None, settings: ScoringSettings
) -> dict[str, ScoredTexts]:
    """Scores by more than the model as it is: at a temperature fitted on another text, by a model that learns."""
    found = {}
    if fitted is not None:
        value, name = fitted
        shape = require_network(model, use="`fit_temperature`")
        tempered = open_network(shape, with_temperature(model.weights, value), num_threads=settings.threads)
        at_border = f" (the border of those tried: {LOWEST:g} to {HIGHEST:g})" if value in (LOWEST, HIGHEST) else ""
        protocol = f"exact, temperature {value:.4f}{at_border} fitted on {name}"
        found["temperature"] = replace(_exact(protocol, tempered, model.vocab, texts, settings), temperature=value)
    if settings.dynamic:
        learning = open_model(model.settings, model.weights, num_threads=settings.threads, learns=True)
        found["dynamic"] = _exact("dynamic", learning, model.vocab, texts, settings)
    return found


def _score_mixed(
    model: ModelFile, beside: Mapping[str, ModelFile], texts: Sequence[Encoded], settings: ScoringSettings
) -> dict[str, ScoredTexts]:
    """Scores of the models beside, and of all mixed, as they are and going on to learn."""
    ids = None if settings.fit is None else fitting_ids(settings.fit, model.vocab, encoding=settings.encoding)
    made = mixed([model, *beside.values()], fit_on=ids, num_threads=settings.threads)
    fitted = "weights by held-out scores" if settings.fit is None else f"weights fitted on {settings.fit}"
    found = {}

    def score(name: str, protocol: str, scored: ModelFile, *, learns: bool = False) -> None:
        predictor = open_model(scored.settings, scored.weights, num_threads=settings.threads, learns=learns)
        found[name] = _exact(protocol, predictor, model.vocab, texts, settings)

    for name, other in beside.items():
        score(alone(name), f"exact, {name} alone", other)
    names = ", ".join(beside)
    static, dynamic = MIXTURES
    score(static, f"exact, mixed with {names}, {fitted}", made)
    if settings.dynamic:
        score(dynamic, f"dynamic, mixed with {names}, first with {fitted}", made, learns=True)
    return found


def alone(name: str) -> str:
    """What the score of a model beside another one is called, so that it is no name of another score."""
    return f"{name} alone"


def _costs(
    model: ModelFile, scored: ScoredTexts, training: TrainingText, seconds_beside: Mapping[str, float | None]
) -> dict[str, Cost]:
    """The costs of the model, and of what is scored apart, by name."""
    parts = [training.seconds, *seconds_beside.values()]
    known = [seconds for seconds in parts if seconds is not None]
    of_all = sum(known) if len(known) == len(parts) else None
    learned = {alone(name): seconds for name, seconds in seconds_beside.items()} | dict.fromkeys(MIXTURES, of_all)
    # "counts" are those of the baselines
    title = "this model" if isinstance(model.settings, CountsSettings) else model.settings.short_title
    return {
        name: Cost(
            each.total.nats,
            each.total.num_chars,
            each.total.num_bytes,
            learned.get(name, training.seconds),
            each.seconds,
        )
        for name, each in {title: scored, **scored.apart}.items()
    }


def _exact(
    protocol: str, predictor: Predictor, vocab: Vocab, texts: Sequence[Encoded], settings: ScoringSettings
) -> ScoredTexts:
    started = time.perf_counter()
    found = tuple(_of_text(each, _score_exact(predictor, each.ids, vocab, settings)) for each in texts)
    return ScoredTexts(protocol, found, level=vocab.level, seconds=time.perf_counter() - started)


def _of_text(text: Encoded, score: Score) -> TextScore:
    return TextScore(text.name, replace(score, num_unknown=text.num_unknown))


def _score_by_line(
    predictor: Predictor, vocab: Vocab, sources: Sequence[Source], settings: ScoringSettings
) -> list[TextScore]:
    """Each text line by line, the lines of all texts ranked together."""
    encoded = [(source.name, *_encode_lines(source, vocab, settings)) for source in sources]
    # Each line is scored once, however often it comes: rounding would set apart what is equal.
    distinct = {ids.tobytes(): ids for _, _, found, _ in encoded for ids in found}
    scores = dict(zip(distinct, score_lines(predictor, list(distinct.values()), vocab=vocab), strict=True))
    texts = []
    for name, shown, found, num_unknown in encoded:
        lines = [
            LineScore(number, line, replace(scores[ids.tobytes()], num_unknown=count))
            for number, (line, ids, count) in enumerate(zip(shown, found, num_unknown, strict=True), 1)
        ]
        texts.append((name, lines))
    # A line of which nothing was predicted is as improbable as any: it has no place.
    predicted = (line for _, lines in texts for line in lines if line.score.num_predictions)
    ranked = sorted(predicted, key=_badness)
    ranks: dict[tuple[int, float], int] = {}
    for place, line in enumerate(ranked, 1):
        ranks.setdefault(_badness(line), place)  # lines as probable as each other share the first of their places
    return [
        TextScore(
            name,
            sum((line.score for line in lines), ZERO_SCORE),
            tuple(replace(line, rank=ranks[_badness(line)] if line.score.num_predictions else None) for line in lines),
        )
        for name, lines in texts
    ]


def _badness(line: LineScore) -> tuple[int, float]:
    return line.score.num_unknown, line.score.nats


def _encode_lines(source: Source, vocab: Vocab, settings: ScoringSettings) -> tuple[list[str], list[Ids], list[int]]:
    """The lines of a text without their ends, their symbols with them, and how many characters are left out."""
    if vocab.level == "byte":
        rows = b"".join(source.chunks()).split(b"\n")
        rows = [row + b"\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])
        shown = [row.decode("utf-8", "replace").removesuffix("\n") for row in rows]
        return shown, [np.frombuffer(row, np.uint8) for row in rows], [0] * len(rows)
    shown = "".join(source.texts(settings.encoding)).split("\n")
    ends = ["\n" if "\n" in vocab else ""] * (len(shown) - 1) + [""]
    if not shown[-1]:
        shown.pop()
    encode = _encode_known if settings.unknown == "skip" else _encode_all(source.name)
    encoded = [
        encode(line + end, number, vocab) for number, (line, end) in enumerate(zip(shown, ends, strict=False), 1)
    ]
    return shown, [ids for ids, _ in encoded], [num_unknown for _, num_unknown in encoded]


def _encode_known(line: str, number: int, vocab: Vocab) -> tuple[Ids, int]:
    known = "".join(symbol for symbol in line if symbol in vocab)
    return vocab.encode(known), len(line) - len(known)


def _encode_all(name: str) -> Callable[[str, int, Vocab], tuple[Ids, int]]:
    def encode(line: str, number: int, vocab: Vocab) -> tuple[Ids, int]:
        try:
            return vocab.encode(line), 0
        except UnknownCharacterError as error:
            char = line[error.position]
            raise InputError(
                f"unknown character {char!a} (U+{ord(char):04X}) in {name!r}, line {number}, column "
                f"{error.position + 1}: the model's vocabulary lacks it; `unknown=skip` leaves such characters out"
            ) from None

    return encode
