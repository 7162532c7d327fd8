"""A network in a folder as model hubs keep it: config.json, model.safetensors, the vocabulary and a model card.

``charrnn sample FOLDER`` takes it as it is, because its model.safetensors is a whole model.
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from charrnn.errors import InputError, OutputError
from charrnn.exports.model_card import SAMPLE_LENGTH, SAMPLE_TEMPERATURE, model_card
from charrnn.files import write_atomically
from charrnn.inference.generation import start_text
from charrnn.inference.language_model import LanguageModel
from charrnn.models.settings import ModelSettings
from charrnn.models.shape import shape_to_json
from charrnn.storage.config import plain_config, write_config
from charrnn.storage.model_file import ModelFile, require_network, write_model
from charrnn.storage.run_files import CONFIG_NAME, MODEL_NAME
from charrnn.text.vocab import Vocab

CARD_NAME, SHAPE_NAME, VOCAB_NAME = "README.md", "config.json", "vocab.json"
_HOLD_PATHS = ("texts", "val", "init_from")


def write_folder(model: ModelFile, folder: Path, *, run: Path | None, version: str) -> list[Path]:
    """Writes the folder; files of other names in it are left alone.

    Args:
        model: as it is stored.
        folder: made with its parents where it is not there.
        run: the directory of the model's run, whose settings come along without the directories of its texts; None
            for a model that stands alone.
        version: of charrnn.

    Returns:
        The files written.

    Raises:
        InputError: it is not a network.
        OutputError: a file cannot be written.
    """
    settings = require_network(model, use="a model folder")
    name = folder.resolve().name
    recipe = {} if run is None else _recipe(run)
    written = LanguageModel(model).sample(length=SAMPLE_LENGTH, temperature=SAMPLE_TEMPERATURE, seed=0)[0]
    files = {
        CARD_NAME: model_card(model, settings, name=name, sample=written, recipe=recipe).encode(),
        SHAPE_NAME: _json(_config(settings, model.vocab, version)),
        VOCAB_NAME: _json(vocabulary(model.vocab)),
    }
    if recipe:
        files[CONFIG_NAME] = write_config(recipe)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the directory {str(folder)!r}: {error.strerror or error}") from error
    for file, data in files.items():
        write_atomically(folder / file, data)
    write_model(folder / MODEL_NAME, model)
    return [folder / file for file in (*files, MODEL_NAME)]


def vocabulary(vocab: Vocab) -> dict[str, int]:
    """The id of each symbol; a byte is written as <0xE9>.

    >>> vocabulary(Vocab.of_text("hello"))
    {'e': 0, 'h': 1, 'l': 2, 'o': 3}
    """
    if vocab.level == "byte":
        return {f"<0x{byte:02X}>": byte for byte in range(256)}
    return {char: index for index, char in enumerate(vocab.symbols)}


def _config(settings: ModelSettings, vocab: Vocab, version: str) -> dict[str, Any]:
    return {
        "model_type": "charrnn",
        "architectures": ["CharRNN"],
        "dtype": "float32",
        "charrnn_version": version,
        **shape_to_json(settings),
        "level": vocab.level,
        "start_text": start_text(vocab),
    }


def _recipe(run: Path) -> dict[str, Any]:
    """The settings of a run without the directories in which its texts lay; empty where the run has none."""
    path = run / CONFIG_NAME
    if not path.exists():
        return {}
    return {key: _without_directories(value) if key in _HOLD_PATHS else value for key, value in _read(path).items()}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return plain_config(path)
    except InputError as error:
        raise InputError(f"{error}; move it away to export the model without its settings") from error


def _without_directories(value: Any) -> Any:  # noqa: ANN401 - a path or several
    if isinstance(value, list):
        return [_without_directories(each) for each in value]
    return PurePath(value).name if isinstance(value, str) else value


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()
