"""A model in one file that needs no other: weights, shape, vocabulary and what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CharRNNError, InputError
from charrnn.files import write_atomically
from charrnn.models.settings import ModelSettings
from charrnn.models.shape import Shape, shape_from_json, shape_to_json
from charrnn.storage.container import check_entries, from_bytes, read_bytes, to_bytes
from charrnn.storage.run_files import MODEL_NAME, TRAINING_NAME
from charrnn.storage.upgrade import upgraded_model
from charrnn.text.vocab import Vocab

_OF_A_TEXT = ("fingerprint", "num_symbols", "num_held_out")  # a text may have been named otherwise since


@dataclass(frozen=True)
class ModelFile:
    """A model as it is stored.

    Attributes:
        settings: its shape.
        vocab: its symbols.
        weights: arrays, named and shaped as ``settings.tensors()`` says.
        facts: scores, corpus and training settings, as plain JSON.
    """

    settings: Shape
    vocab: Vocab
    weights: dict[str, NDArray[Any]]
    facts: dict[str, Any]

    def to_facts(self) -> dict[str, Any]:
        """All but the weights, as the file has it: settings, vocab, facts."""
        return {"settings": shape_to_json(self.settings), "vocab": self.vocab.to_json(), "facts": self.facts}


def require_network(model: ModelFile, *, use: str) -> ModelSettings:
    """The shape of a model that is a network.

    Args:
        model: as it is stored.
        use: what it was wanted for, in words.

    Raises:
        InputError: it is of another form.
    """
    if not isinstance(model.settings, ModelSettings):
        raise InputError(f"{use} needs a network, as charrnn train makes one; this model is {model.settings.title}")
    return model.settings


def is_of_run(model: Mapping[str, Any], training: Mapping[str, Any]) -> bool:
    """Whether a run made a model: whether shape, symbols, recipe and text are the same, and the step is possible.

    What one of the files does not know, as those of earlier versions, is not compared. Two runs of the same settings
    cannot be told apart, but by their steps.

    Args:
        model: facts of the model file: settings, vocab, facts.
        training: facts of the training file: model, vocab, training, text, best_step.
    """
    known = model.get("facts")
    known = known if isinstance(known, Mapping) else {}
    pairs = [
        (model.get("settings"), training.get("model")),
        (model.get("vocab"), training.get("vocab")),
        (known.get("training"), training.get("training")),
    ]
    texts = [_part(each, _OF_A_TEXT) for each in (known.get("corpus"), training.get("text"))]
    step, best_step = known.get("step"), training.get("best_step")
    # It may be later than the training state knows of: a run that was killed had stored it, and not yet itself.
    is_too_early = type(step) is int and type(best_step) is int and step < best_step
    return not is_too_early and all(_agree(one, other) for one, other in [*pairs, texts])


def _part(facts: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: facts[name] for name in names if name in facts} if isinstance(facts, Mapping) else {}


def _agree(one: object, other: object) -> bool:
    """Whether what both know is the same."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return True
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def write_model(path: Path, model: ModelFile) -> None:
    """Writes ``model`` so that ``path`` is whole at any instant.

    Raises:
        OutputError: it could not be written; what was there before still is.
    """
    write_atomically(path, to_bytes(model.weights, model.to_facts(), kind="model"))


def read_model(path: str | Path, *, allow_nonfinite: bool = False) -> ModelFile:
    """The model in a file, or in a run's directory.

    Args:
        path: model.safetensors under any name, or the directory of a run.
        allow_nonfinite: whether weights may be NaN or infinite, to inspect a model that went wrong.

    Raises:
        InputError: there is none, or it is damaged, of another kind, or not usable.
    """
    path = Path(path)
    file = model_path(path)
    container = from_bytes(read_bytes(file), kind="model", name=str(file))
    try:
        facts = upgraded_model(container.facts, container.version)
        settings = shape_from_json(_object(facts, "settings"))
        vocab = Vocab.from_json(facts.get("vocab"))
        if vocab.size != settings.vocab_size:
            raise InputError(f"the vocabulary has {vocab.size} symbols, the model {settings.vocab_size}")
        expected = settings.tensors()
        check_entries(container.entries, expected)
        more = _object(facts, "facts")
    except (CharRNNError, KeyError, TypeError, ValueError, AttributeError) as error:
        # What is wrong may quote the file, which may be hostile: no more of it than a line shows.
        raise InputError(f"{str(file)!r} holds no usable model: {str(error)[:300]}; train again") from error
    weights = {name: container.array(name) for name in expected}
    if not allow_nonfinite:
        wrong = [name for name, weight in weights.items() if not np.isfinite(weight).all()]
        if wrong:
            raise InputError(f"{str(file)!r} holds weights that are not finite ({wrong[0]}); train again")
    return ModelFile(settings, vocab, weights, more)


def _object(facts: dict[str, Any], key: str) -> dict[str, Any]:
    value = facts.get(key)
    if not isinstance(value, dict):
        raise InputError(f"its facts have no {key}")
    return value


def model_path(path: Path) -> Path:
    """The model file that ``path`` names: itself, or the one in a run's directory.

    Raises:
        InputError: it is a directory without one, or cannot be looked into.
    """
    try:
        if not path.is_dir():
            return path
        names = sorted(child.name for child in path.iterdir())
        if MODEL_NAME in names:
            return path / MODEL_NAME
        runs = [name for name in names if (path / name / MODEL_NAME).exists()]
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    if TRAINING_NAME in names:
        raise InputError(
            f"{str(path)!r} is a run without a model yet; go on with charrnn train --resume, then try again"
        )
    if runs:
        raise InputError(f"{str(path)!r} holds runs, not a model; name one of them: {_listed(runs)}")
    holds = f"it holds {_listed(names)}" if names else "it is empty"
    raise InputError(f"{str(path)!r} holds no {MODEL_NAME}, {holds}; name a run that charrnn train wrote")


def _listed(names: list[str]) -> str:
    """The first ten names, harmless on a terminal."""
    shown = ", ".join(name[:60] if name.isprintable() else ascii(name[:60]) for name in names[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")
