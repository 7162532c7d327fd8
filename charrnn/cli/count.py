"""``charrnn count``: a model of counts from text, in seconds."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.options import with_settings
from charrnn.errors import SettingsError
from charrnn.fields import Settings, setting
from charrnn.text.settings import TextSettings
from charrnn.training.settings import CountingSettings

if TYPE_CHECKING:
    from charrnn.training.counting import Counted


@dataclass(frozen=True, kw_only=True)
class CountResultSettings(Settings):
    """What is said of the result.

    Attributes:
        json: print the result as one JSON object.
        quiet: print nothing but the model's path.
    """

    json: bool = setting(False, help="Print the result as one JSON object.", panel="Output")
    quiet: bool = setting(False, help="Print nothing but the model's path.", short="-q", panel="Output")


@with_settings(TextSettings, CountingSettings, CountResultSettings)
def count(**given: Any) -> None:  # noqa: ANN401 - settings of every type
    """Make a model of counts from text, in seconds.

    It predicts by how often what came before was followed by what, in contexts of many lengths. It is a run like any
    other: sample, perplexity and the rest work with it, and mixed with a network (--with, mix) it predicts better than
    either.

    \b
    Examples:
      charrnn count shakespeare.txt
      charrnn count src/ --memory 1024 --name code
    """
    text = TextSettings(**TextSettings.part_of(given))
    if not text.texts:
        raise SettingsError("name at least one TEXT to count: a text file, a directory, or - for standard input")
    counting = CountingSettings(**CountingSettings.part_of(given))
    result = CountResultSettings(**CountResultSettings.part_of(given))

    from charrnn.models.native.build import unavailable_reason
    from charrnn.reports.progress import counting_bar
    from charrnn.reports.terminal import say, write_note, write_result
    from charrnn.storage.run_files import MODEL_NAME
    from charrnn.training.counting import counted_run

    if unavailable_reason() is not None and not result.quiet:
        write_note(f"note: no compiled kernels ({unavailable_reason()}): the same numbers, a hundred times slower")
    with counting_bar(quiet=result.quiet or result.json) as progress:
        counted, directory = counted_run(text, counting, progress=progress)
    for note in counted.notes if not result.quiet else ():
        say(f"note: {note}")
    if result.json:
        write_result(json.dumps(_to_json(counted, directory)) + "\n")
    elif result.quiet:
        write_result(f"{directory / MODEL_NAME}\n")
    else:
        _write_summary(counted, directory)


def _to_json(counted: "Counted", directory: Path) -> dict[str, Any]:
    return {
        "run": str(directory),
        "model": str(directory / "model.safetensors"),
        "seconds": round(counted.seconds, 1),
        "shape": counted.model.settings.title,
        **counted.score.to_json(),
    }


def _write_summary(counted: "Counted", directory: Path) -> None:
    from charrnn.reports.summary import counted_rows
    from charrnn.reports.terminal import write_facts

    write_facts(counted_rows(counted, directory))
