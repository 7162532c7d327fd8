"""How a model is trained: every choice that shapes the weights, validated once."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from charrnn.errors import SettingsError

# Field: lowest and highest value, whether the lowest itself is allowed, and whether it must be whole.
_RANGES: dict[str, tuple[float, float, bool, bool]] = {
    "batch_size": (1, 65_536, True, True),
    "bptt": (1, 65_536, True, True),
    "learning_rate": (0, 10, False, False),
    "final_learning_rate": (0, 1, True, False),
    "warmup_steps": (0, 1_000_000, True, True),
    "weight_decay": (0, 10, True, False),
    "beta1": (0, 0.9999, True, False),
    "beta2": (0, 0.999999, True, False),
    "grad_clip": (0, 1e6, False, False),
    "averaging": (0, 1, True, False),
    "restart": (0, 1, True, False),
    "patience": (1, 1_000_000, True, True),
    "seed": (0, 2**63 - 1, True, True),
    "minutes": (0, 1e6, False, False),
    "epochs": (0, 1e9, False, False),
    "steps": (1, 10**12, True, True),
    "eval_every": (1, 10**12, True, True),
}
_ENDS = ("minutes", "epochs", "steps")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """A run's recipe and its end.

    Attributes:
        batch_size: B, parallel streams.
        bptt: T, steps a gradient reaches back.
        learning_rate: AdamW's peak rate.
        final_learning_rate: rate at the last step, as a share of the peak.
        warmup_steps: steps over which the rate rises from near zero to its peak.
        weight_decay: AdamW's decoupled decay of matrices; biases are never decayed.
        beta1: AdamW's decay of the mean gradient.
        beta2: AdamW's decay of the mean squared gradient.
        grad_clip: largest norm of the whole gradient.
        averaging: the averaged weights look back over this share of the steps so far; 0 averages nothing.
        restart: share of windows before which a stream forgets all and begins from the zero state, as texts to be
            sampled or scored do; without it a model seldom learns how a text begins.
        patience: evaluations without a better held-out loss after which the run ends.
        seed: of weights, window offsets and dropout.
        minutes: length of the run in time, or
        epochs: in passes over the text, or
        steps: in updates; exactly one of the three is given.
        eval_every: steps from one held-out evaluation to the next; None chooses about twenty for the run.

    Raises:
        SettingsError: a value is out of range; the message names it and the range.
    """

    batch_size: int
    bptt: int
    learning_rate: float
    final_learning_rate: float = 0.01
    warmup_steps: int = 250
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    grad_clip: float = 0.25
    averaging: float = 0.05
    restart: float = 0.05
    patience: int = 10
    seed: int = 0
    minutes: float | None = None
    epochs: float | None = None
    steps: int | None = None
    eval_every: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high, closed, whole) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in (*_ENDS, "eval_every"):
                continue
            kinds = (int,) if whole else (int, float)
            in_range = type(value) in kinds and math.isfinite(value) and low <= value <= high
            if not in_range or (value == low and not closed):
                kind = "a whole number" if whole else "a number"
                bound = f"from {low:g}" if closed else f"above {low:g}"
                raise SettingsError(f"{name} is {value!r}; it must be {kind} {bound} to {high:g}")
        if sum(getattr(self, name) is not None for name in _ENDS) != 1:
            raise SettingsError("give the end of the run as exactly one of minutes, epochs and steps")

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, for ``from_json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainingSettings":
        """Settings from plain values, every key required, none unknown.

        Raises:
            SettingsError: a key is missing or unknown, or a value is out of range.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            odd = sorted(names ^ set(values))
            raise SettingsError(f"training settings: missing or unknown {odd}")
        return cls(**values)


def learning_rate_at(step: int, settings: TrainingSettings, *, num_steps: int | None) -> float:
    """The rate of update number ``step`` (from 0): a straight rise, then a half cosine down.

    Args:
        step: updates made before this one.
        settings: peak, final share and warm-up.
        num_steps: updates in the whole run; None while it is not known yet, which holds the peak.

    Source: cosine decay, Loshchilov & Hutter 2017.

    >>> s = TrainingSettings(batch_size=1, bptt=1, learning_rate=1.0, warmup_steps=4, steps=16)
    >>> [round(learning_rate_at(t, s, num_steps=16), 3) for t in (0, 3, 4, 10, 16)]
    [0.25, 1.0, 1.0, 0.505, 0.01]
    """
    warmup = settings.warmup_steps
    if num_steps is not None:
        warmup = min(warmup, num_steps // 4)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if num_steps is None or num_steps <= warmup:
        return settings.learning_rate
    done = min((step - warmup) / (num_steps - warmup), 1.0)
    share = settings.final_learning_rate
    return settings.learning_rate * (share + (1 - share) * (1 + math.cos(math.pi * done)) / 2)
