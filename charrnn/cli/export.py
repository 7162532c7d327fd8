"""``charrnn export``: a network in the formats of other programs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.run_argument import RunOrFile, chosen_run
from charrnn.errors import OutputError, SettingsError


def export(
    model: RunOrFile = None,
    onnx: Annotated[
        bool,
        typer.Option(
            "--onnx",
            help="Write an ONNX graph of one step, with the state going in and coming out; needs the package onnx.",
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="<file>", help="The graph's file.", show_default="NAME.onnx"),
    ] = None,
    hugging_face: Annotated[
        str | None,
        typer.Option(
            "--hugging-face",
            metavar="<directory>",
            help="Write a folder as the Hugging Face Hub keeps models: config.json, model.safetensors, vocab.json, "
            "run.toml and a model card.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
) -> None:
    """Write a network in the formats of other programs.

    \b
    Examples:
      charrnn export shakespeare --onnx
      charrnn export shakespeare --onnx -o model.onnx
      charrnn export shakespeare --hugging-face shakespeare-lstm
    """
    from importlib.metadata import version

    from charrnn.reports.terminal import write_facts
    from charrnn.storage.model_file import read_model

    if out is not None and not onnx:
        raise SettingsError("--out names the file of --onnx; add that, or leave --out out")
    if not onnx and hugging_face is None:
        raise SettingsError("say what to write: --onnx, --hugging-face DIRECTORY, or both")
    path = chosen_run(model)
    file = read_model(path)
    rows: list[tuple[str, str]] = []
    if onnx:
        from charrnn.exports.onnx_graph import OPSET, onnx_bytes
        from charrnn.files import write_atomically

        data = onnx_bytes(file, version=version("charrnn"))
        graph = Path(out or f"{path.stem if path.is_file() else path.name}.onnx")
        _require_free(graph, force=force)
        write_atomically(graph, data)
        rows += [
            ("onnx", f"{graph}: {len(data):,} bytes, opset {OPSET}"),
            ("", "one step: ids and the state in, logits, probabilities and the next state out"),
        ]
    if hugging_face is not None:
        from charrnn.exports.model_folder import write_folder

        folder = Path(hugging_face)
        if not force and folder.is_dir() and any(folder.iterdir()):
            raise OutputError(f"{hugging_face!r} is not empty; choose another directory, or replace files with --force")
        files = write_folder(file, folder, run=path if path.is_dir() else None, version=version("charrnn"))
        rows += [
            ("folder", f"{folder}: {', '.join(each.name for each in files)}"),
            ("use", f"charrnn sample ./{folder}"),
        ]
    write_facts(rows)


def _require_free(path: Path, *, force: bool) -> None:
    """Makes sure that nothing is replaced unasked.

    Raises:
        OutputError: there is something of that name.
    """
    if not force and os.path.lexists(path):
        raise OutputError(f"{str(path)!r} is there already; choose another name with --out, or replace it with --force")
