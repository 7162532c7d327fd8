"""How models read one text: what each expected, the units that follow something, how far gradients reach.

Legend: N characters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError, SettingsError
from charrnn.explaining.feature import Feature, features_of, varies
from charrnn.explaining.gradient_flow import GradientFlow, gradient_flow
from charrnn.explaining.reading import Reading, first_bytes, read
from charrnn.explaining.settings import ExplainSettings
from charrnn.explaining.tracing import Activations, iterate_traces
from charrnn.explaining.unit import FoundUnit, Sums, Unit, balanced_accuracy, best_threshold, choose
from charrnn.models.open import open_model
from charrnn.models.predictor import Predictor
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile
from charrnn.text.corpus import encode_source
from charrnn.text.source import Source, find_sources
from charrnn.text.vocab import UnknownCharacterError, Vocab
from charrnn.training.settings import TrainingSettings

MOST_SEARCHED = 1 << 17  # characters that units are looked for in, half of them to check what was found
LEAST_SEARCHED = 400
_LEAST_CORRELATION = 0.2
_MOST_PAINTED = 24
_LONG_TEXT, _PAINTED_IN_LONG_TEXT = 200_000, 8  # characters; units

Ids = NDArray[np.int64]
Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Text:
    """A text as far as it is read.

    Attributes:
        name: what a user calls it.
        text: what is read.
        is_cut: whether there was more.
    """

    name: str
    text: str
    is_cut: bool


@dataclass(frozen=True)
class ModelExplanation:
    """How one model reads the text.

    Attributes:
        name: what a user calls it.
        title: its shape in a word or two.
        vocab: its symbols.
        reading: what it expected, and the values of the units that are painted.
        units: found, the closest first.
        flow: how far gradients reach; None where there are none or they were not asked for.
        notes: why something is missing.
    """

    name: str
    title: str
    vocab: Vocab
    reading: Reading
    units: tuple[FoundUnit, ...]
    flow: GradientFlow | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """How models read one text, the first model first."""

    text: Text
    models: tuple[ModelExplanation, ...]


def open_text(source: Source, *, length: int, encoding: str) -> Text:
    """The first ``length`` characters of a text.

    Raises:
        InputError: it cannot be read, is not of this encoding, or has fewer than two characters.
    """
    parts: list[str] = []
    num_chars = 0
    for part in source.texts(encoding):
        parts.append(part)
        num_chars += len(part)
        if num_chars > length:
            break
    text = "".join(parts)
    if len(text) < 2:
        what = "is empty" if not text else "has one character"
        raise InputError(f"{source.name!r} {what}: the first character is given, so a text needs at least two")
    return Text(source.name, text[:length], len(text) > length)


def one_source(name: str, *, encoding: str) -> Source:
    """The text that a name names: a file or "-".

    Raises:
        InputError: there is none, or it names several.
    """
    sources = find_sources([name], level="char", encoding=encoding).sources
    if len(sources) != 1:
        raise InputError(f"{name!r} names {len(sources)} texts; name one")
    return sources[0]


def explain(
    models: Mapping[str, ModelFile],
    text: Text,
    settings: ExplainSettings,
    *,
    when_read: Progress = lambda what, symbols: None,
) -> Explanation:
    """How each of the models reads the text.

    Args:
        models: by name, the first one first.
        text: what they read.
        settings: how.
        when_read: is told what is done and how many symbols further it is.

    Raises:
        UnknownCharacterError: a model's vocabulary lacks a character of the text.
        SettingsError: a unit is named that no model has.
        NonFiniteError: a model's numbers are not finite.
    """
    source = Source(text.name, None, text=text.text)
    # What a vocabulary lacks is told before anything is computed.
    encoded = {name: _encoded(source, name, file) for name, file in models.items()}
    asked = {name: _asked_units(file, settings.unit) for name, file in models.items()}
    missing = [unit for unit in settings.unit if not any(unit in known for known in asked.values())]
    if missing:
        raise SettingsError(f"`unit` is {missing[0]!r}; {_unit_help(models)}")
    features = features_of(text.text[:MOST_SEARCHED])
    return Explanation(
        text,
        tuple(
            _explain_one(
                name, file, encoded[name], features, settings, list(asked[name].values()), when_read, len(text.text)
            )
            for name, file in models.items()
        ),
    )


def _encoded(source: Source, name: str, file: ModelFile) -> Ids:
    try:
        return np.asarray(encode_source(source, file.vocab).ids)
    except UnknownCharacterError as error:
        # Nothing is left out here: several models read the same characters side by side.
        raise UnknownCharacterError(error.chars, error.position, where=f"{error.where}; read by {name}") from None


def _explain_one(
    name: str,
    file: ModelFile,
    ids: Ids,
    features: Sequence[Feature],
    settings: ExplainSettings,
    asked: Sequence[Unit],
    when_read: Progress,
    num_chars: int,
) -> ModelExplanation:
    shape = file.settings
    predictor = open_model(shape, file.weights, num_threads=settings.threads)

    def tell(symbols: int) -> None:
        when_read(f"{name} reads", symbols)

    if not isinstance(shape, ModelSettings):
        reading = read(predictor, ids, file.vocab, when_read=tell)
        note = f"{name} is {shape.short_title}: it has no hidden units and no gradients"
        return ModelExplanation(name, shape.short_title, file.vocab, reading, (), None, (note,))
    activations = Activations(shape, file.weights)
    found, num_searched, notes = _search(
        predictor, activations, ids, features, file.vocab, lambda n: when_read(f"{name}: units", n)
    )
    most = _MOST_PAINTED if num_chars <= _LONG_TEXT else _PAINTED_IN_LONG_TEXT
    painted = list(dict.fromkeys([*asked, *(each.unit for each in found)]))[: max(most, len(asked))]
    found = [each for each in found if each.unit in painted]
    reading = read(predictor, ids, file.vocab, activations=activations, units=painted, when_read=tell)
    found = [_with_accuracy(each, reading, features, num_searched) for each in found]
    flow = None
    if settings.reach:
        flow = gradient_flow(shape, file.weights, ids, reach=settings.reach, grad_clip=_grad_clip(file))
        if flow is None:
            notes.append("the text is too short for gradients to reach back")
    return ModelExplanation(name, shape.short_title, file.vocab, reading, tuple(found), flow, tuple(notes))


def _search(
    predictor: Predictor,
    activations: Activations,
    ids: Ids,
    features: Sequence[Feature],
    vocab: Vocab,
    when_read: Callable[[int], None],
) -> tuple[list[FoundUnit], int, list[str]]:
    """Units that follow features, the closest first; the characters looked at; and why there may be none."""
    shape = activations.settings
    num_chars = len(features[0].values)
    half = num_chars // 2
    if num_chars < LEAST_SEARCHED:
        return [], num_chars, [f"units are looked for in texts of {LEAST_SEARCHED} characters and more"]
    usable = [each for each in features if varies(each, slice(0, half)) and varies(each, slice(half, num_chars))]
    if not usable:
        return [], num_chars, ["nothing in the text that units could follow varies enough"]
    values = np.stack([each.values for each in usable], axis=1)
    char_of = np.arange(len(ids))
    if vocab.level == "byte":
        is_first = np.zeros(len(ids), np.int64)
        is_first[first_bytes(ids)] = 1
        char_of = np.cumsum(is_first) - 1
    ids = ids[char_of[: len(ids)] < num_chars]
    layers = range(shape.num_layers)
    units = [Unit(layer, part, i) for layer in layers for part in activations.parts for i in range(shape.hidden_size)]
    sums = [Sums(len(units), len(usable)) for _ in range(2)]
    for trace in iterate_traces(predictor, ids):
        parts = [activations.of_layer(trace, layer)[part] for layer in layers for part in activations.parts]
        everything = np.concatenate(parts, axis=1)
        chars = char_of[trace.begin : trace.begin + len(trace.ids)]
        is_later = chars >= half
        for which, rows in zip(sums, (~is_later, is_later), strict=True):
            which.add(everything[rows], values[chars[rows]])
        when_read(len(trace.ids))
    first, second = (each.correlations() for each in sums)
    found = [
        FoundUnit(units[c], usable[f].name, float(first[c, f]), float(second[c, f]), None, num_chars - half)
        for c, f in choose(first, units, least=_LEAST_CORRELATION)
    ]
    return sorted(found, key=lambda each: -abs(each.checked)), num_chars, []


def _with_accuracy(found: FoundUnit, reading: Reading, features: Sequence[Feature], num_searched: int) -> FoundUnit:
    feature = next(each for each in features if each.name == found.feature)
    if not feature.is_binary:
        return found
    half = num_searched // 2
    values, is_true = reading.units[found.unit][:num_searched], feature.values > 0
    rises = found.found > 0
    threshold = best_threshold(values[:half], is_true[:half], rises=rises)
    accuracy = balanced_accuracy(values[half:], is_true[half:], threshold=threshold, rises=rises)
    return found._replace(accuracy=accuracy)


def _asked_units(file: ModelFile, names: Sequence[str]) -> dict[str, Unit]:
    """The units among those named that this model has, by the name given."""
    shape = file.settings
    if not isinstance(shape, ModelSettings):
        return {}
    parts = Activations(shape, file.weights).parts
    found = {}
    for name in names:
        layer, _, rest = name.partition(".")
        part, _, index = rest.partition(".")
        if not (layer.isdecimal() and index.isdecimal() and part in parts):
            continue
        if 1 <= int(layer) <= shape.num_layers and int(index) < shape.hidden_size:
            found[name] = Unit(int(layer) - 1, part, int(index))
    return found


def _unit_help(models: Mapping[str, ModelFile]) -> str:
    """What units there are to name."""
    known = []
    for name, file in models.items():
        if isinstance(file.settings, ModelSettings):
            parts = ", ".join(Activations(file.settings, file.weights).parts)
            last = file.settings.hidden_size - 1
            known.append(f"{name} has layers 1 to {file.settings.num_layers}, parts {parts}, numbers 0 to {last}")
    return "; ".join(known) or "counts have no units: leave it out"


def _grad_clip(file: ModelFile) -> float:
    """The largest norm of a gradient that the model was trained with, or the usual one where its file does not say."""
    training = file.facts.get("training")
    value = training.get("grad_clip") if isinstance(training, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    return float(TrainingSettings.settings()["grad_clip"].default)
