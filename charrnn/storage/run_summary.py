"""What is known of a run at a glance: from the headers of its files and the end of its history, without its weights."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from charrnn.errors import CharRNNError, InputError
from charrnn.models.settings import ModelSettings
from charrnn.models.shape import Shape, shape_from_json
from charrnn.storage.container import read_facts
from charrnn.storage.metrics import last_seconds
from charrnn.storage.model_file import is_of_run
from charrnn.storage.run_files import METRICS_NAME, MODEL_NAME, TRAINING_NAME
from charrnn.storage.run_lock import is_in_use
from charrnn.storage.run_name import changed, run_directories
from charrnn.storage.upgrade import upgraded_model, upgraded_training
from charrnn.units import Score, bits

_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()  # a file's time may be any number

State = Literal["running", "finished", "stopped", "model only", "damaged"]


@dataclass(frozen=True, kw_only=True, repr=False)
class RunSummary:
    """A run as its files describe it; what they do not tell, or what cannot be read, is None or empty.

    Attributes:
        name: of the run.
        directory: its files' place.
        state: "running" (a process trains it now), "finished" (to the end of its plan, or of its patience), "stopped"
            (``--resume`` goes on), "model only" (it can be used, not resumed) or "damaged".
        problem: what is damaged, in words; "" for nothing.
        model: its shape.
        level: what a symbol is, "char" or "byte"; "" where that is not known.
        texts: names of the texts learned, without their directories; the first thousand.
        num_texts: how many texts there were.
        fingerprint: of the texts, of how they are read, and of a separate held-out text; "" where that is not known.
        num_held_out: symbols held out of the texts, or in the held-out text.
        score: held-out score of the best model.
        step: updates made.
        num_steps: updates in the whole run; None also while a run given in minutes is not yet measured.
        best_step: the step of the best model.
        seconds: time spent in training, over all parts of the run, or in counting.
        changed: when its files last changed, in seconds since 1970.
        settings: of model, training and text, by name, as plain values; those that are not set are left out.
    """

    name: str
    directory: Path
    state: State
    problem: str = ""
    model: Shape | None = None
    level: str = ""
    texts: tuple[str, ...] = ()
    num_texts: int = 0
    fingerprint: str = ""
    num_held_out: int = 0
    score: Score | None = None
    step: int | None = None
    num_steps: int | None = None
    best_step: int | None = None
    seconds: float | None = None
    changed: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        parts = [f"{self.name!r}, {self.state}"]
        if self.model is not None:
            parts.append(self.model.title)
        if self.score is not None:
            parts.append(f"{self.score.nats_per_symbol:.4f} nats/{self.level or 'symbol'} held out")
        if self.step is not None:
            parts.append(f"step {self.step:,}")
        return f"RunSummary({'; '.join(parts)})"

    @property
    def description(self) -> str:
        """The run in a few words: its state, its model and its held-out score."""
        facts: list[str] = [self.state]
        if self.model is not None:
            facts.append(self.model.short_title)
        if self.score is not None:
            facts.append(f"{bits(self.score.nats_per_symbol):.4f} bits/{self.level or 'symbol'} held out")
        return ", ".join(facts)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; times are in UTC, in ISO 8601."""
        return {
            "name": self.name,
            "run": str(self.directory),
            "state": self.state,
            "problem": self.problem,
            "model": self.model and self.model.title,
            "num_parameters": self.model and self.model.num_parameters,
            "level": self.level or None,
            "texts": list(self.texts),
            "num_texts": self.num_texts,
            "fingerprint": self.fingerprint,
            "num_held_out": self.num_held_out,
            "step": self.step,
            "num_steps": self.num_steps,
            "best_step": self.best_step,
            "seconds": self.seconds,
            "changed": datetime.fromtimestamp(min(self.changed, _LATEST), UTC).isoformat(timespec="seconds"),
            "held_out": self.score and self.score.to_json(),
            "settings": dict(self.settings),
        }


def summarized(directory: Path) -> RunSummary:
    """The summary of the run in ``directory``; whatever its files hold, this gives one."""
    errors: list[str] = []
    training = _facts(directory / TRAINING_NAME, "training", errors)
    stored = _facts(directory / MODEL_NAME, "model", errors)
    known = _mapping(stored, "facts")
    text = _mapping(training, "text") or _corpus(known)
    shape = _shape(_mapping(training, "model") or _mapping(stored, "settings"))
    vocab = _mapping(training, "vocab") or _mapping(stored, "vocab")
    best = stated_score(known.get("held_out")) or stated_score(training.get("best"))
    step = _count(training.get("step"))
    if step is None:
        step = _count(known.get("step"))
    if training.get("best") is not None and not stored and not errors:
        errors.append(f"{MODEL_NAME} is missing; train --resume makes another")
    if training and stored and not is_of_run(stored, training):
        errors.append(f"{MODEL_NAME} belongs to another run than {TRAINING_NAME}; move it away and train --resume")
    seconds = stated_seconds(known)
    with suppress(InputError):  # verify tells what is wrong with a history
        seconds = last_seconds(directory / METRICS_NAME) if seconds is None else seconds
    return RunSummary(
        name=directory.name,
        directory=directory,
        state=_state(directory, training, shape, is_damaged=bool(errors)),
        problem="; ".join(errors),
        model=shape,
        level=vocab["level"] if vocab.get("level") in ("char", "byte") else "",
        texts=tuple(_names(text.get("names"))),
        num_texts=_count(text.get("num_texts")) or 0,
        fingerprint=text["fingerprint"] if isinstance(text.get("fingerprint"), str) else "",
        num_held_out=_count(text.get("num_held_out")) or 0,
        score=best,
        step=step,
        num_steps=_count(training.get("num_steps")),
        best_step=_count(known.get("step")),
        seconds=seconds,
        changed=changed(directory),
        settings=_settings(training, stored),
    )


def all_runs(runs: Path | None = None) -> list[RunSummary]:
    """The summaries of all runs; the one that changed last stands last.

    Args:
        runs: directory that holds runs; None for ``runs_directory()``.

    Raises:
        InputError: it is there, but cannot be looked into.
    """
    return [summarized(directory) for directory in run_directories(runs)]


def _facts(path: Path, kind: str, errors: list[str]) -> dict[str, Any]:
    """The facts of a file as those of today; none where it is missing, or cannot be read, which is added to errors."""
    upgraded = {"model": upgraded_model, "training": upgraded_training}[kind]
    try:
        if not path.exists() and not path.is_symlink():
            return {}
        facts, version = read_facts(path, kind=kind)
        return upgraded(facts, version)
    except InputError as error:
        errors.append(str(error))
    except OSError as error:
        errors.append(f"cannot read {path.name}: {error.strerror or error}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        errors.append(f"{path.name} does not say what it should ({type(error).__name__})")
    return {}


def _state(directory: Path, training: Mapping[str, Any], shape: Shape | None, *, is_damaged: bool) -> State:
    if is_in_use(directory):
        return "running"
    if is_damaged:
        return "damaged"
    if not training:
        return "model only" if shape is None or isinstance(shape, ModelSettings) else "finished"
    patience = _count(_mapping(training, "training").get("patience"))
    waited = _count(training.get("num_without_better"))
    is_exhausted = patience is not None and waited is not None and waited >= patience
    is_done = training.get("num_steps") is not None and training.get("step") == training["num_steps"]
    return "finished" if is_done or is_exhausted else "stopped"


def _settings(training: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    groups = [_mapping(training, name) for name in ("source", "model", "training")]
    if not training:
        groups = [
            _mapping(stored, "settings"),
            *(_mapping(_mapping(stored, "facts"), name) for name in ("training", "counting")),
        ]
    found = {name: value for group in groups for name, value in group.items() if _is_setting(value)}
    if found.get("input") == "one-hot":
        found.pop("embedding_size", None)
    return found


def _corpus(known: Mapping[str, Any]) -> dict[str, Any]:
    """What a model says of its text; of a mixture, what its first member says."""
    members = known.get("members")
    first = members[0] if isinstance(members, list) and members else None
    return _mapping(known, "corpus") or (_mapping(first, "corpus") if isinstance(first, dict) else {})


def _is_setting(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, str) for each in value)
    return isinstance(value, bool | int | float | str)


def _mapping(facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = facts.get(name)
    return value if isinstance(value, dict) else {}


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 62 else None


def _shape(settings: Mapping[str, Any]) -> Shape | None:
    try:
        return shape_from_json(settings)
    except CharRNNError:
        return None


def stated_score(values: object) -> Score | None:
    """The score that a file states, if it is one and of something."""
    if not isinstance(values, dict):
        return None
    try:
        score = Score.from_sums({name: value for name, value in values.items() if name != "nats_per_char"})
    except (TypeError, ValueError):
        return None
    return score if score.num_predictions else None


def stated_seconds(facts: Mapping[str, Any]) -> float | None:
    """How long a model took to learn, as far as its file states it."""
    value = facts.get("seconds")
    return float(value) if isinstance(value, int | float) and 0 <= value < 1 << 62 else None
