"""Facts of files that earlier versions wrote, made those of today: one step for each version.

What a version did not know gets the value that was in effect then, so that a model gives the scores it always gave and
a run goes on as it began.
"""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

Facts = dict[str, Any]
Step = Callable[[Facts], Facts]

_NOISE = ("dropout", "weight_dropout")


def upgraded_model(facts: Facts, version: int) -> Facts:
    """The facts of a model file of ``version``, as the newest version has them.

    Raises:
        KeyError, TypeError, AttributeError: they are not what that version wrote.
    """
    for of_model, _ in _STEPS[version - 1 :]:
        facts = of_model(facts)
    return facts


def upgraded_training(facts: Facts, version: int) -> Facts:
    """The facts of a training file of ``version``, as the newest version has them.

    Raises:
        KeyError, TypeError, AttributeError: they are not what that version wrote.
    """
    for _, of_training in _STEPS[version - 1 :]:
        facts = of_training(facts)
    return facts


def upgraded_tensors(tensors: Mapping[str, NDArray[Any]], version: int) -> dict[str, NDArray[Any]]:
    """The tensors of a training file of ``version``, as the newest version has them."""
    if version > 1:
        return dict(tensors)
    # The first files counted updates in arrays of one element; an empty array stood for a state that the cell lacks.
    return {
        name: tensor.reshape(()) if name.startswith("updates/") and tensor.shape == (1,) else tensor
        for name, tensor in tensors.items()
        if not (name == "state/cell" and tensor.shape[:1] == (0,))
    }


def _model_1_to_2(facts: Facts) -> Facts:
    """Dropout moves to the training settings; the GRU that resets before the product is a cell of its own."""
    settings, noise = _split_shape(facts["settings"])
    more = dict(facts["facts"])
    if isinstance(more.get("training"), dict):
        more["training"] = {**more["training"], **noise}
    return {**facts, "settings": settings, "facts": more}


def _training_1_to_2(facts: Facts) -> Facts:
    """The same; and what is known of the text is kept apart from its path."""
    model, noise = _split_shape(facts["model"])
    corpus = dict(facts["corpus"])
    source = corpus.pop("source")
    names = corpus["names"]
    text = {"num_texts": len(names), **corpus}
    computed_by = dict(facts["computed_by"])
    if not any(noise.values()):
        # Before runs could be shared, dropout drew from another sequence; without dropout nothing differs.
        computed_by.setdefault("num_processes", 1)
    return {
        **{name: value for name, value in facts.items() if name != "corpus"},
        "model": model,
        "training": {**facts["training"], **noise},
        "computed_by": computed_by,
        "text": text,
        "source": {
            "texts": source["paths"],
            "level": source["level"],
            "encoding": source["encoding"],
            "val": source["val_paths"],
            "val_fraction": None if source["val_paths"] else source["val_fraction"],
        },
    }


def _split_shape(settings: Facts) -> tuple[Facts, Facts]:
    """Version 1's model settings as a shape of version 2 and what only training knows."""
    shape = dict(settings)
    noise = {name: shape.pop(name, 0.0) for name in _NOISE}
    if shape.pop("reset", "after") == "before":
        shape["cell"] = "gru-before"
    return shape, noise


# From each version to the next: what becomes of the facts of a model file, and of a training file.
_STEPS: tuple[tuple[Step, Step], ...] = ((_model_1_to_2, _training_1_to_2),)

VERSION = 1 + len(_STEPS)
"""The format that is written today."""
