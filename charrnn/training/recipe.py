"""Sizes and rates for a text, a budget and a device when the user names none.

The figures come from the search that docs/results.md reports.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charrnn.errors import SettingsError
from charrnn.models.settings import ModelSettings
from charrnn.training.settings import LENGTHS, TrainingSettings

_MANY_PASSES = 1000  # whose decimals tell nothing
DEFAULT_MINUTES = 5.0
_SHORT_TEXT = 400_000  # symbols
_SHORT_TEXT_EPOCHS = 60.0
_LEAST_UPDATES = 400
_MOST_ONE_HOT = 512  # symbols


@dataclass(frozen=True)
class _Tuning:
    """What the search found for a cell; the defaults serve one that was not searched.

    Attributes:
        peak_rate: learning rate of a layer of 256 units or fewer.
        dropout: added dropout per doubling of exposure, and its maximum; see ``_noise``.
        weight_dropout: the same, of recurrent weights.
        speed: symbols per second, as a share of the GRU's.
        sizes: units on a CPU, and the most seconds that they serve.
    """

    peak_rate: float = 0.01
    dropout: tuple[float, float] = (0.1, 0.6)
    weight_dropout: tuple[float, float] = (0.0, 0.0)
    speed: float = 0.5
    sizes: tuple[tuple[int, float], ...] = ((192, 15), (256, 50), (384, 170), (512, 1500), (768, math.inf))


_SEARCHED = {
    # A unit of it has a quarter of the weights that an LSTM's has.
    "rnn": _Tuning(
        peak_rate=0.006,
        dropout=(0.055, 0.5),
        weight_dropout=(0.04, 0.3),
        speed=2.0,
        sizes=((384, 15), (512, 50), (1024, math.inf)),
    ),
    "lstm": _Tuning(peak_rate=0.0205, dropout=(0.055, 0.5), weight_dropout=(0.04, 0.3), speed=0.6),
    "gru": _Tuning(peak_rate=0.015, speed=1.0),
    "gru-before": _Tuning(peak_rate=0.015, speed=1.0),
}


@dataclass(frozen=True)
class Recipe:
    """Settings for a run, and in a few words why these sizes.

    Attributes:
        model: the network's shape.
        training: the recipe.
        reason: what the choice rests on, for the user.
    """

    model: ModelSettings
    training: TrainingSettings
    reason: str


def recommend(
    *,
    num_symbols: int,
    vocab_size: int,
    on_gpu: bool,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
) -> Recipe:
    """A recipe that suits the text, the time and the device.

    Args:
        num_symbols: symbols to learn from.
        vocab_size: V.
        on_gpu: whether a GPU computes.
        model: fields of ModelSettings the user fixed; they are kept, and what depends on them follows.
        training: fields of TrainingSettings the user fixed; they are kept too.

    Raises:
        SettingsError: a fixed value is out of range.
    """
    training = dict(training)
    if not any(name in training for name in LENGTHS):
        if num_symbols < _SHORT_TEXT:
            # Five minutes would be hundreds of passes. A few hundred updates are the least that teach anything.
            training["epochs"] = max(_SHORT_TEXT_EPOCHS, _LEAST_UPDATES * min(1024, num_symbols) / num_symbols)
        else:
            training["minutes"] = DEFAULT_MINUTES
    seconds = _seconds(num_symbols, on_gpu=on_gpu, training=training)
    cell = model.get("cell", ModelSettings.settings()["cell"].default)
    tuning = _SEARCHED.get(cell, _Tuning())
    hidden_size = model.get("hidden_size") or _hidden_size(num_symbols, tuning, seconds, on_gpu=on_gpu)
    epochs = _epochs(num_symbols, tuning.speed, hidden_size, seconds, on_gpu=on_gpu)
    # A user who names the size of an embedding wants one.
    has_embedding = "embedding_size" in model or vocab_size > _MOST_ONE_HOT
    shape = ModelSettings(
        **{
            "vocab_size": vocab_size,
            "cell": cell,
            "hidden_size": hidden_size,
            "input": "embedding" if has_embedding else "one-hot",
            "embedding_size": min(256, hidden_size),
            **model,
        }
    )
    if shape.input == "one-hot" and "embedding_size" in model:
        raise SettingsError("`embedding_size` goes with `input=embedding`; leave it out, or choose that input")
    exposure = epochs * shape.num_parameters / num_symbols
    choice = TrainingSettings(
        **{
            "batch_size": 128 if on_gpu else 16,
            "bptt": 128 if on_gpu else 64,
            "learning_rate": tuning.peak_rate * 256 / max(shape.hidden_size, 256),
            "dropout": _noise(exposure, *tuning.dropout),
            "weight_dropout": _noise(exposure, *tuning.weight_dropout),
            **training,
        }
    )
    passes = epochs if training.get("epochs") is None else float(training["epochs"])
    reason = f"sized for about {passes:,.{0 if passes >= _MANY_PASSES else 1}f} passes over the text"
    return Recipe(shape, choice, reason)


def _seconds(num_symbols: int, *, on_gpu: bool, training: dict[str, Any]) -> float:
    """How long the run will take, roughly, where its end is not given in time."""
    if training.get("minutes") is not None:
        return 60.0 * float(training["minutes"])
    if training.get("epochs") is not None:
        num_read = float(training["epochs"]) * num_symbols
    else:
        num_read = float(training["steps"]) * training.get("batch_size", 16) * training.get("bptt", 64)
    return num_read / (1_000_000 if on_gpu else 90_000)


def _hidden_size(num_symbols: int, tuning: _Tuning, seconds: float, *, on_gpu: bool) -> int:
    if on_gpu:
        return 1024 if num_symbols > _SHORT_TEXT else 512
    if num_symbols < 10_000:
        return 128
    if num_symbols < 100_000:
        return 256
    return next(size for size, most in tuning.sizes if seconds <= most)


def _epochs(num_symbols: int, speed: float, hidden_size: int, seconds: float, *, on_gpu: bool) -> float:
    """Passes over the text that a run of ``seconds`` makes on a common two-core machine or one GPU."""
    symbols_per_second = speed * (2e6 if on_gpu else 3.3e7 / hidden_size)
    return seconds * symbols_per_second / num_symbols


def _noise(exposure: float, step: float, most: float) -> float:
    """Dropout against learning by heart: ``step`` per doubling of ``exposure`` above 1, at most ``most``.

    Args:
        exposure: passes over the text times weights per symbol of it: many passes by many weights overfit.
        step: added dropout per doubling.
        most: its maximum.
    """
    return min(most, step * math.log2(exposure)) if exposure > 1 else 0.0
