"""What a run's history says, as numbers to be drawn; it may be older, damaged, or made by anyone."""

import math
from dataclasses import dataclass
from typing import Any

from charrnn.storage.metrics import read_metrics
from charrnn.storage.run_files import METRICS_NAME
from charrnn.storage.run_summary import RunSummary

_MOST_SAMPLE = 10_000  # characters that are read of a sample


@dataclass(frozen=True, kw_only=True)
class Updated:
    """One update.

    Attributes:
        step: updates made.
        seconds: since the run began.
        nats: mean loss per symbol of its window; None where it was not finite.
        gradient_norm: before clipping; None where it was not finite.
        learning_rate: of the update.
    """

    step: int
    seconds: float
    nats: float | None
    gradient_norm: float | None
    learning_rate: float | None


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One evaluation.

    Attributes:
        step: updates made.
        seconds: since the run began.
        nats: held-out loss per symbol.
        train_nats: mean training loss per symbol since the evaluation before; None where it was not finite.
        learning_rate: at this step.
    """

    step: int
    seconds: float
    nats: float
    train_nats: float | None
    learning_rate: float | None


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What the model wrote.

    Attributes:
        step: updates made.
        seconds: since the run began.
        text: the sample.
    """

    step: int
    seconds: float
    text: str


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """A run's history, each list by step.

    Attributes:
        updates: those that were kept; none of runs of earlier versions.
        evaluations: all of them.
        samples: those that were kept; none of runs of earlier versions.
        symbols_per_step: symbols that one update learns from; None where that is not known.
    """

    updates: tuple[Updated, ...] = ()
    evaluations: tuple[Evaluated, ...] = ()
    samples: tuple[Sampled, ...] = ()
    symbols_per_step: int | None = None


def history_of(run: RunSummary) -> RunHistory:
    """The history of a run; what is damaged is left out.

    Raises:
        InputError: the file is there but cannot be read.
    """
    updates: dict[int, Updated] = {}
    evaluations: dict[int, Evaluated] = {}
    samples: dict[int, Sampled] = {}
    for line in read_metrics(run.directory / METRICS_NAME):
        step, seconds = line.get("step"), _number(line, "seconds")
        if type(step) is not int or not 0 < step < 1 << 62 or seconds is None or seconds < 0:
            continue
        match line.get("event"):
            case "updated":
                updates[step] = Updated(
                    step=step,
                    seconds=seconds,
                    nats=_number(line, "nats"),
                    gradient_norm=_number(line, "gradient_norm"),
                    learning_rate=_number(line, "learning_rate"),
                )
            case "evaluated" if (nats := _nats_per_symbol(line, run)) is not None:
                evaluations[step] = Evaluated(
                    step=step,
                    seconds=seconds,
                    nats=nats,
                    train_nats=_number(line, "train_nats"),
                    learning_rate=_number(line, "learning_rate"),
                )
            case "sampled" if isinstance(line.get("text"), str):
                samples[step] = Sampled(step=step, seconds=seconds, text=line["text"][:_MOST_SAMPLE])
    return RunHistory(
        updates=tuple(updates[step] for step in sorted(updates)),
        evaluations=tuple(evaluations[step] for step in sorted(evaluations)),
        samples=tuple(samples[step] for step in sorted(samples)),
        symbols_per_step=_symbols_per_step(run),
    )


def _symbols_per_step(run: RunSummary) -> int | None:
    sizes = [run.settings.get(name) for name in ("batch_size", "bptt")]
    product = 1
    for size in sizes:
        if type(size) is not int or not 0 < size < 1 << 31:
            return None
        product *= size
    return product


def _nats_per_symbol(line: dict[str, Any], run: RunSummary) -> float | None:
    """The held-out loss; earlier versions gave it per character alone, also where a symbol is a byte."""
    found = _number(line, "nats_per_symbol")
    per_char = _number(line, "nats_per_char")
    if found is not None or per_char is None or run.level != "byte" or run.score is None:
        return per_char if found is None else found
    return per_char * run.score.num_chars / run.score.num_predictions


def _number(line: dict[str, Any], key: str) -> float | None:
    """A finite number; None for anything else."""
    value = line.get(key)
    if type(value) is int and abs(value) < 1 << 62:
        return float(value)
    return value if type(value) is float and math.isfinite(value) and abs(value) < 1e30 else None
