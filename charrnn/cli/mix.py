"""``charrnn mix``: several models made one."""

from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.run_argument import chosen_run, run_names
from charrnn.storage.run_files import DEFAULT_RUNS


def mix(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN_OR_FILE",
            help="Two or more models of one vocabulary: networks, counts, or mixtures of them.",
            show_default=False,
            autocompletion=run_names,
        ),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            "--fit",
            metavar="<text>",
            help="Fit how far each is trusted on this text, which none of them should have learned, and which is not "
            "the one that will be scored; without it each counts by its own held-out score.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="<name>", help="Name of the mixture.", show_default="the first model's, -mix"),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="<directory>", help="Directory that holds runs.", show_default=DEFAULT_RUNS
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the model's path.")] = False,
) -> None:
    """Mix models into one, which is named and used like any other.

    \b
    Examples:
      charrnn mix shakespeare shakespeare-counts
      charrnn mix shakespeare shakespeare-counts --fit sonnets.txt --name both
      charrnn mix shakespeare again shakespeare-counts
    """
    from charrnn.inference.mixing import mixed_run
    from charrnn.reports.progress import counting_bar
    from charrnn.reports.terminal import write_facts, write_result
    from charrnn.storage.run_files import MODEL_NAME
    from charrnn.storage.run_name import name_to_type

    paths = [chosen_run(model) for model in models or []]
    with counting_bar(quiet=quiet) as progress:
        made, directory = mixed_run(paths, fit=fit, name=name, out=Path(out) if out else None, progress=progress)
    if quiet:
        write_result(f"{directory / MODEL_NAME}\n")
        return
    run = name_to_type(directory)
    rows = [("model", made.settings.title)]
    shares = made.weights["mixer.shared"]
    for path, share in zip(paths, shares, strict=False):
        rows.append(("weight", f"{share:.3f} for {path.name}, more or less by how sure it is"))
    rows += [
        ("fitted", "not: each counts by its own held-out score" if fit is None else f"on {fit}"),
        ("file", str(directory / MODEL_NAME)),
        ("next", f"charrnn sample {run}"),
        ("", f"charrnn perplexity {run} TEXT --dynamic"),
    ]
    write_facts(rows)
