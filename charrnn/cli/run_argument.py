"""The argument of a command that works with a run or a model: a name, a directory or a file."""

from pathlib import Path
from typing import Annotated

import typer

from charrnn.errors import InputError, SettingsError


def run_names(incomplete: str) -> list[str]:
    """The names of the runs that begin so, for the shell to complete; a path is left to the shell."""
    from charrnn.storage.run_name import run_directories

    try:
        return sorted(path.name for path in run_directories() if path.name.startswith(incomplete))
    except InputError:  # the directory of runs cannot be looked into: nothing to say between two keys
        return []


RunOrFile = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN_OR_FILE",
        help="Name of a run, its directory, or a model file; without it the runs are listed.",
        show_default=False,
        autocompletion=run_names,
    ),
]
"""What the commands that read a run or a model take first; ``chosen_run`` makes a path of it."""


def chosen_run(given: str | None) -> Path:
    """The path that a user means.

    Raises:
        SettingsError: none was given; the message names the runs that there are.
        InputError: there is no such run or file.
    """
    from charrnn.storage.run_name import choice_of_runs, find_run

    if given is None:
        raise SettingsError(f"name a run or a model file; {choice_of_runs()}")
    return find_run(given)
