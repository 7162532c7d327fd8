"""``charrnn corpus``: gather texts to begin with."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli.options import with_settings
from charrnn.fields import Settings, setting
from charrnn.text.settings import DOWNLOAD_SECONDS


@dataclass(frozen=True, kw_only=True)
class GatheringSettings(Settings):
    """How corpora are gathered.

    Attributes:
        timeout: seconds after which a download is given up.
    """

    timeout: float = setting(
        DOWNLOAD_SECONDS, help="Give up a download after so many seconds.", above=0, high=86_400, metavar="SECONDS"
    )


def _corpora(incomplete: str) -> list[str]:
    """The names of the corpora that begin so, for the shell to complete."""
    from charrnn.text.catalog import CATALOG

    return [name for name in CATALOG if name.startswith(incomplete)]


@with_settings(GatheringSettings)
def corpus(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Corpora to gather; without a name they are listed.",
            show_default=False,
            autocompletion=_corpora,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="<directory>", help="Directory to gather into.", readable=False)
    ] = Path("corpora"),
    force: Annotated[bool, typer.Option("--force", help="Gather again what is there already.")] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Empty the cache of encoded texts; no corpus is removed.")
    ] = False,
    **given: Any,  # noqa: ANN401 - settings of every type
) -> None:
    """Gather texts to begin with; without a name, list them.

    Source code and English prose are gathered from what is installed on this machine and need no network; other texts
    are downloaded and checked.

    \b
    Examples:
      charrnn corpus
      charrnn corpus english
      charrnn corpus shakespeare --timeout 5
      charrnn corpus python shakespeare --out texts
      charrnn corpus --clean
    """
    from charrnn.errors import SettingsError
    from charrnn.fields import did_you_mean
    from charrnn.reports.style import message_on_terminal, num_columns
    from charrnn.reports.terminal import is_terminal, write_facts, write_note, write_result
    from charrnn.text.catalog import CATALOG, gather, is_gathered

    if clean:
        if names or force or given:
            raise SettingsError("--clean takes no names, no --force and no --timeout: leave them out")
        _clean()
        return
    if force and not names:
        raise SettingsError("--force gathers corpora again: name them")
    unknown = [name for name in names or [] if name not in CATALOG]
    if unknown:
        hint = did_you_mean(unknown[0], CATALOG)
        raise SettingsError(f"there is no corpus {unknown[0]!r}; the corpora are {', '.join(CATALOG)}{hint}")
    if not names:
        rows = []
        for name, entry in CATALOG.items():
            path = out / f"{name}.txt"
            where = f"{path} ({path.stat().st_size:,} bytes)" if is_gathered(path) else "not gathered yet"
            rows += [(name, entry.description), ("", where)]
        write_facts(rows)
        return
    for name in names:
        if force or not is_gathered(out / f"{name}.txt"):
            write_note(f"gathering {name}: {CATALOG[name].description} ...")
        path = gather(name, out, force=force, timeout_seconds=GatheringSettings(**given).timeout)
        done = f"{path}: {path.stat().st_size:,} bytes; next: charrnn train {shlex.quote(str(path))}"
        if is_terminal():
            done = message_on_terminal(done, num_columns(sys.stdout), colour=False)
        write_result(f"{done}\n")


def _clean() -> None:
    from charrnn.reports.terminal import write_result
    from charrnn.text.cache import cache_directory, empty_cache

    directory = cache_directory()
    num_files, num_bytes = empty_cache(directory)
    write_result(f"{directory}: removed {num_files} files, {num_bytes:,} bytes\n")
