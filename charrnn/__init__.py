"""Train, sample and score character-level recurrent language models.

``charrnn.load(path)`` gives a trained model; see ``charrnn.inference.language_model.LanguageModel``.
Importing the package imports nothing heavy.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from charrnn.inference.language_model import LanguageModel

    __version__: str

__all__ = ["__version__", "load"]


def load(path: "str | Path", *, num_threads: int | None = None) -> "LanguageModel":
    """The model of a run, or in a model file, ready to sample and score.

    Args:
        path: a run's name or directory, or a model file.
        num_threads: CPU threads for many streams; none: as many as there are cores.

    Raises:
        SettingsError: the path is empty.
        InputError: there is no such run or file, or it is not a whole model.
    """
    from charrnn.inference.language_model import load as load_model

    return load_model(path, num_threads=num_threads)


def __getattr__(name: str) -> str:
    if name == "__version__":
        # Looked up when asked for: the lookup takes longer than the rest of the import.
        from importlib.metadata import version

        return version("charrnn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
