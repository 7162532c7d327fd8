"""``charrnn inspect``: what a model is, what it learned from and how well it does, without running it."""

import shlex
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.run_argument import RunOrFile, chosen_run
from charrnn.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from charrnn.storage.model_file import ModelFile

_VALUES_AT_ONCE = 1 << 20
# What a file says of itself is shown as a table as far as a person reads; --json has all of it.
_SHOWN_ROWS = 1000
_SHOWN_NAME = 80
_SHOWN_VALUE = 10_000


def inspect(
    model: RunOrFile = None,
    everything: Annotated[
        bool, typer.Option("--all", "-v", help="Show every setting, every claim and each weight's mean and deviation.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as one JSON object.")] = False,
) -> None:
    """Show what a model is, what it learned from, how good it is, how it was made and how to use it.

    What is computed from the weights comes first. What the file only says of itself is listed under "claims". A model
    whose weights went wrong is shown too.

    \b
    Examples:
      charrnn inspect shakespeare
      charrnn inspect shakespeare --all
      charrnn inspect model.safetensors --json
    """
    from charrnn.reports.description import description_rows
    from charrnn.reports.terminal import is_terminal, write_facts, write_result
    from charrnn.storage.model_file import model_path, read_model
    from charrnn.storage.run_name import name_to_type

    if everything and as_json:
        raise SettingsError("--json shows all of it already; leave --all out")
    chosen = chosen_run(model)
    file = model_path(chosen)
    found = read_model(file, allow_nonfinite=True)
    facts = {"file": str(file), **_described(found)}
    if not everything and not as_json:
        use = shlex.quote(str(file)) if chosen == file else name_to_type(chosen)
        num_nonfinite = facts["num_nonfinite"]
        write_facts(
            description_rows(found.settings, found.vocab, found.facts, file=file, use=use, num_nonfinite=num_nonfinite)
        )
        return
    if as_json:
        import json

        from charrnn.storage.container import plain

        write_result(json.dumps(plain(facts), ensure_ascii=is_terminal(), allow_nan=False) + "\n")
        return
    weights = facts.pop("weights")
    leaves = _flat(facts)
    rows = [(key, _cut(_shown(value), _SHOWN_VALUE)) for key, value in islice(leaves, _SHOWN_ROWS)]
    if next(leaves, None) is not None:
        rows.append(("...", "there is more, which --json shows"))
    write_facts(rows + [(f"weights.{name}", _shown_weight(weight)) for name, weight in weights.items()])


def _described(model: "ModelFile") -> dict[str, Any]:
    settings, vocab = model.settings, model.vocab
    weights = {name: _described_weight(weight) for name, weight in model.weights.items()}
    return {
        "model": settings.to_json(),
        "num_parameters": settings.num_parameters,
        "num_nonfinite": sum(weight["num_nonfinite"] for weight in weights.values()),
        "vocab": {"level": vocab.level, "size": vocab.size, "symbols": vocab.symbols},
        "claims": model.facts,
        "weights": weights,
    }


def _described_weight(weight: "NDArray[Any]") -> dict[str, Any]:
    """Shape, mean and standard deviation, in pieces: a copy of a large weight would double the memory."""
    import numpy as np

    flat = weight.reshape(-1)
    pieces = [flat[at : at + _VALUES_AT_ONCE] for at in range(0, len(flat), _VALUES_AT_ONCE)]
    with np.errstate(invalid="ignore", over="ignore"):
        mean = sum(float(piece.sum(dtype=np.float64)) for piece in pieces) / len(flat)
        variance = sum(float(np.square(piece - mean, dtype=np.float64).sum()) for piece in pieces) / len(flat)
    return {
        "shape": list(weight.shape),
        "mean": mean,
        "std": variance**0.5,
        "num_nonfinite": sum(int(np.count_nonzero(~np.isfinite(piece))) for piece in pieces),
    }


def _flat(value: dict[str, Any], *, under: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested objects by dotted name, in order; a long name is cut."""
    for key, child in value.items():
        name = _cut(f"{under}{key}", _SHOWN_NAME)
        if isinstance(child, dict):
            yield from _flat(child, under=f"{name}.")
        else:
            yield name, child


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _shown_weight(weight: dict[str, Any]) -> str:
    shape = "x".join(map(str, weight["shape"]))
    wrong = f", {weight['num_nonfinite']:,} not finite" if weight["num_nonfinite"] else ""
    return f"{shape}, mean {weight['mean']:.4f}, std {weight['std']:.4f}{wrong}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(str, value[: _SHOWN_VALUE + 1]))
    return "-" if value is None else str(value)
