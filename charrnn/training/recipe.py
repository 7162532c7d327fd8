"""Sizes and rates for a text, a budget and a device when the user names none.

The figures come from the search under tests/benchmarks; the README shows its results.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from charrnn.models.settings import ModelSettings
from charrnn.training.settings import TrainingSettings

DEFAULT_MINUTES = 5.0
_SHORT_TEXT = 400_000  # symbols
_SHORT_TEXT_EPOCHS = 60.0
_LEAST_UPDATES = 400
_PEAK_AT_256 = {"rnn": 0.006, "lstm": 0.0205, "gru": 0.015}  # learning rate of a layer of 256 units or fewer
# Share more with each doubling of exposure, and the most of it. Weight dropout was searched for the LSTM alone.
_NOISE = {
    "rnn": {"dropout": (0.1, 0.6)},
    "lstm": {"dropout": (0.055, 0.5), "weight_dropout": (0.04, 0.3)},
    "gru": {"dropout": (0.1, 0.6)},
}
_SPEED = {"rnn": 1.4, "lstm": 0.6, "gru": 1.0}  # symbols a second, as a share of the GRU's


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
    model: dict[str, Any],
    training: dict[str, Any],
) -> Recipe:
    """A recipe that suits the text, the time and the device.

    Args:
        num_symbols: symbols to learn from.
        vocab_size: V.
        on_gpu: whether a GPU computes.
        model: fields of ModelSettings the user fixed; they are kept, and what depends on them follows.
        training: fields of TrainingSettings the user fixed; kept alike.

    Raises:
        SettingsError: a fixed value is out of range.
    """
    training = dict(training)
    if not any(name in training for name in ("minutes", "epochs", "steps")):
        if num_symbols < _SHORT_TEXT:
            # Five minutes would be hundreds of passes. A few hundred updates are the least that teach anything.
            training["epochs"] = max(_SHORT_TEXT_EPOCHS, _LEAST_UPDATES * min(1024, num_symbols) / num_symbols)
        else:
            training["minutes"] = DEFAULT_MINUTES
    seconds = _seconds(num_symbols, on_gpu=on_gpu, training=training)
    # The reset gate is the GRU's: who names its form wants that cell.
    cell = model.get("cell", "gru" if "reset" in model else ModelSettings.cell)
    hidden_size = model.get("hidden_size") or _hidden_size(num_symbols, cell, seconds, on_gpu=on_gpu)
    epochs = _epochs(num_symbols, cell, hidden_size, seconds, on_gpu=on_gpu)
    shape = ModelSettings(
        **{
            "vocab_size": vocab_size,
            "cell": cell,
            "hidden_size": hidden_size,
            "input": "one-hot" if vocab_size <= 512 else "embedding",
            "embedding_size": min(256, hidden_size),
            **model,
        }
    )
    exposure = epochs * shape.num_parameters / num_symbols
    noise: dict[str, Any] = {
        name: _noise(exposure, step, most) for name, (step, most) in _NOISE[shape.cell].items() if name not in model
    }
    shape = replace(shape, **noise)
    choice = TrainingSettings(
        **{
            "batch_size": 128 if on_gpu else 16,
            "bptt": 128 if on_gpu else 64,
            "learning_rate": _PEAK_AT_256[shape.cell] * 256 / max(shape.hidden_size, 256),
            **training,
        }
    )
    reason = f"sized for about {epochs:.1f} passes over the text"
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


def _hidden_size(num_symbols: int, cell: str, seconds: float, *, on_gpu: bool) -> int:
    if on_gpu:
        return 1024 if num_symbols > _SHORT_TEXT else 512
    if num_symbols < 10_000:
        return 128
    if num_symbols < 100_000:
        return 256
    if cell == "rnn":  # gains more from updates than from units
        return 256 if seconds < 240 else 512
    return next(size for size, most in ((256, 25), (384, 60), (512, 240), (768, math.inf)) if seconds <= most)


def _epochs(num_symbols: int, cell: str, hidden_size: int, seconds: float, *, on_gpu: bool) -> float:
    """Passes over the text that a run of ``seconds`` makes on a common two-core machine or one GPU."""
    symbols_per_second = _SPEED[cell] * (2e6 if on_gpu else 3.3e7 / hidden_size)
    return seconds * symbols_per_second / num_symbols


def _noise(exposure: float, step: float, most: float) -> float:
    """Dropout against learning by heart: ``step`` more with each doubling of ``exposure`` above 1, up to ``most``.

    Args:
        exposure: passes over the text, times weights a symbol of it: many passes by many weights overfit.
        step: share more with each doubling.
        most: largest share.
    """
    return min(most, step * math.log2(exposure)) if exposure > 1 else 0.0
