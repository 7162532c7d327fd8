"""``charrnn mix``: several models made one."""

from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.run_argument import chosen_run, run_names
from charrnn.errors import SettingsError
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
      charrnn mix shakespeare shakespeare-counts --fit sonnets.txt --name both
      charrnn mix shakespeare again shakespeare-counts
    """
    if len(models or []) < 2:
        raise SettingsError("name two or more models to mix, such as a network and counts of the same text")

    from charrnn.inference.mixing import MAX_FITTED, mixed
    from charrnn.inference.text_scores import fitting_ids
    from charrnn.reports.progress import counting_bar
    from charrnn.reports.terminal import write_facts, write_result
    from charrnn.storage.model_file import read_model, write_model
    from charrnn.storage.run_directory import new_run
    from charrnn.storage.run_files import MODEL_NAME
    from charrnn.storage.run_name import name_to_type, runs_directory

    paths = [chosen_run(model) for model in models or []]
    files = [read_model(path) for path in paths]
    ids = None if fit is None else fitting_ids(fit, files[0].vocab)
    chosen = f"{paths[0].name if paths[0].is_dir() else paths[0].stem}-mix" if name is None else name
    with new_run(Path(out) if out else runs_directory(), chosen, is_chosen=name is not None) as directory:
        with counting_bar(quiet=quiet) as progress:
            total = 0 if ids is None else min(len(ids), MAX_FITTED)
            made = mixed(files, fit_on=ids, progress=lambda num_more: progress(num_more, total))
        write_model(directory / MODEL_NAME, made)
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
