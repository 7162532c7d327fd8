"""``charrnn inspect``: what a model is, what it learned from and how well it does, without running it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from charrnn.storage.model_file import ModelFile


def inspect(
    model: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_FILE", help="Directory of a run, or a model file.", show_default=False),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what a model is and how it was made. A model whose weights went wrong is shown too.

    \b
    Examples:
      charrnn inspect checkpoints/shakespeare
      charrnn inspect model.safetensors --json
    """
    from charrnn.reports.terminal import is_terminal, write_result, write_table
    from charrnn.storage.model_file import model_path, read_model

    found = _described(read_model(model, allow_nonfinite=True))
    found = {"file": str(model_path(model)), **found}
    if as_json:
        import json

        from charrnn.storage.container import plain

        write_result(json.dumps(plain(found), ensure_ascii=is_terminal(), allow_nan=False) + "\n")
        return
    write_table(["", ""], [[key, _shown(value)] for key, value in _flat(found)], align="ll")


def _described(model: "ModelFile") -> dict[str, Any]:
    import numpy as np

    settings, vocab = model.settings, model.vocab
    weights = {
        name: {
            "shape": list(weight.shape),
            "mean": float(np.mean(weight, dtype=np.float64)),
            "std": float(np.std(weight, dtype=np.float64)),
            "num_nonfinite": int(np.count_nonzero(~np.isfinite(weight))),
        }
        for name, weight in model.weights.items()
    }
    return {
        "model": settings.to_json(),
        "num_parameters": settings.num_parameters,
        "num_nonfinite": sum(facts["num_nonfinite"] for facts in weights.values()),
        "vocab": {"level": vocab.level, "size": vocab.size, "symbols": vocab.symbols},
        **model.facts,
        "weights": weights,
    }


def _flat(value: dict[str, Any], *, under: str = "") -> list[tuple[str, Any]]:
    """Leaves of nested objects by dotted name, in order; a weight's facts stay one row."""
    rows: list[tuple[str, Any]] = []
    for key, child in value.items():
        name = f"{under}{key}"
        if isinstance(child, dict) and "num_nonfinite" not in child:
            rows += _flat(child, under=f"{name}.")
        else:
            rows.append((name, child))
    return rows


def _shown(value: object) -> str:
    if isinstance(value, dict):
        shape = "x".join(map(str, value["shape"]))
        wrong = f", {value['num_nonfinite']:,} not finite" if value["num_nonfinite"] else ""
        return f"{shape}, mean {value['mean']:.4f}, std {value['std']:.4f}{wrong}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value)
