"""``charrnn corpus``: gather texts to begin with."""

import shlex
from pathlib import Path
from typing import Annotated

import typer


def _corpora(incomplete: str) -> list[str]:
    """The names of the corpora that begin so, for the shell to complete."""
    from charrnn.text.catalog import CATALOG

    return [name for name in CATALOG if name.startswith(incomplete)]


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
        Path, typer.Option("--out", metavar="DIRECTORY", help="Directory to gather into.", readable=False)
    ] = Path("corpora"),
    force: Annotated[bool, typer.Option("--force", help="Gather again what is there already.")] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Empty the cache of encoded texts; no corpus is removed.")
    ] = False,
) -> None:
    """Gather texts to begin with; without a name, list them.

    Source code is gathered from what is installed on this machine and needs no network; other texts are downloaded and
    checked.

    \b
    Examples:
      charrnn corpus
      charrnn corpus c
      charrnn corpus python shakespeare --out texts
      charrnn corpus --clean
    """
    from charrnn.errors import SettingsError
    from charrnn.fields import did_you_mean
    from charrnn.reports.terminal import write_result
    from charrnn.text.catalog import CATALOG, gather, is_gathered

    if clean:
        if names or force:
            raise SettingsError("--clean takes no names and no --force: leave them out")
        _clean()
        return
    if force and not names:
        raise SettingsError("--force gathers corpora again: name them")
    unknown = [name for name in names or [] if name not in CATALOG]
    if unknown:
        hint = did_you_mean(unknown[0], CATALOG)
        raise SettingsError(f"there is no corpus {unknown[0]!r}; the corpora are {', '.join(CATALOG)}{hint}")
    if not names:
        width = max(map(len, CATALOG))
        for name, entry in CATALOG.items():
            path = out / f"{name}.txt"
            where = f"{path} ({path.stat().st_size:,} bytes)" if is_gathered(path) else "not gathered yet"
            write_result(f"{name:<{width}}  {entry.description}\n{'':<{width}}  {where}\n")
        return
    for name in names:
        path = gather(name, out, force=force)
        write_result(f"{path}: {path.stat().st_size:,} bytes; next: charrnn train {shlex.quote(str(path))}\n")


def _clean() -> None:
    from charrnn.reports.terminal import write_result
    from charrnn.text.cache import cache_directory, empty_cache

    directory = cache_directory()
    num_files, num_bytes = empty_cache(directory)
    write_result(f"{directory}: removed {num_files} files, {num_bytes:,} bytes\n")
