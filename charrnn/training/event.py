"""What happens in a run, as values: the loop yields them, reports turn them into what a person sees."""

from dataclasses import dataclass, field
from pathlib import Path

from charrnn.storage.model_file import ModelFile
from charrnn.units import Score


@dataclass(frozen=True)
class Planned:
    """The run's length in steps is fixed; all that follows depends on it.

    Attributes:
        num_steps: updates in the whole run.
        eval_every: steps from one evaluation to the next.
        seconds_per_step: measured, where the length was given in minutes; else 0.
    """

    num_steps: int
    eval_every: int
    seconds_per_step: float


@dataclass(frozen=True)
class Progressed:
    """Some updates were made.

    Attributes:
        step: updates made so far.
        num_steps: updates in the whole run; None while not planned.
        nats: mean training loss per symbol since the last such event.
        learning_rate: of the last update.
        gradient_norm: of the last update, before clipping.
        symbols_per_second: speed since the last such event.
        seconds: since the run began, over all its parts.
        seconds_left: estimate to the end; nan while not planned.
    """

    step: int
    num_steps: int | None
    nats: float
    learning_rate: float
    gradient_norm: float
    symbols_per_second: float
    seconds: float
    seconds_left: float


@dataclass(frozen=True)
class Evaluated:
    """The averaged weights were scored on held-out text.

    Attributes:
        step: updates made so far.
        score: held-out score.
        train_nats: mean training loss per symbol since the last evaluation.
        seconds: since the run began.
        is_best: whether no earlier evaluation was better.
        model: the averaged model as it was scored.
        num_held_out: symbols held out; the score may be of the first of them.
    """

    step: int
    score: Score
    train_nats: float
    seconds: float
    is_best: bool
    model: ModelFile = field(repr=False)
    num_held_out: int


@dataclass(frozen=True)
class Sampled:
    """The model that was just evaluated wrote a short text.

    Attributes:
        step: updates made so far.
        text: what it wrote, always from the same seed, so that progress shows.
        seconds: since the run began.
    """

    step: int
    text: str
    seconds: float


@dataclass(frozen=True)
class Saved:
    """The run can be resumed from ``step``."""

    step: int
    path: Path


@dataclass(frozen=True)
class Warned:
    """Something went wrong that did not end the run."""

    message: str


@dataclass(frozen=True)
class Finished:
    """The run has ended, or paused.

    Attributes:
        step: updates made.
        reason: "end" of the plan, "patience" exhausted, or "stopped" from outside and ready to resume.
        best: the best held-out score; what model.safetensors holds.
        best_step: the step it was measured at.
        seconds: since the run began.
        num_held_out: symbols held out; the score may be of the first of them.
    """

    step: int
    reason: str
    best: Score
    best_step: int
    seconds: float
    num_held_out: int


Event = Planned | Progressed | Evaluated | Sampled | Saved | Warned | Finished
