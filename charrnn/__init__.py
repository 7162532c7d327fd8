"""Train, sample and score character-level recurrent language models.

    train(*texts, **settings)   a model learned from text, a LanguageModel
    count(*texts, **settings)   a model of counts of text, made in seconds
    mix(*models)                several models made one
    load(path)                  a model that was trained before
    runs()                      what has been trained
    event                       what happens in a run, for ``train(on_event=...)``

Importing the package imports nothing heavy: each of these is looked up when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.api import count, load, mix, runs, train
    from charrnn.errors import CharRNNError
    from charrnn.inference.language_model import LanguageModel
    from charrnn.training import event
    from charrnn.units import Score

    __version__: str

__all__ = [
    "CharRNNError",
    "LanguageModel",
    "Score",
    "__version__",
    "count",
    "event",
    "load",
    "mix",
    "runs",
    "train",
]

_HOMES = {
    "CharRNNError": "charrnn.errors:CharRNNError",
    "LanguageModel": "charrnn.inference.language_model:LanguageModel",
    "Score": "charrnn.units:Score",
    "count": "charrnn.api:count",
    "event": "charrnn.training.event",
    "load": "charrnn.api:load",
    "mix": "charrnn.api:mix",
    "runs": "charrnn.api:runs",
    "train": "charrnn.api:train",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has the name
    if name == "__version__":
        from importlib.metadata import version

        return version("charrnn")
    if name in _HOMES:
        from pkgutil import resolve_name

        return resolve_name(_HOMES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
