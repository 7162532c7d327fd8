"""The end of a run in a few lines: how good, where it is, what to type next."""

import shlex
from pathlib import Path

from charrnn.models.counts.settings import CountsSettings
from charrnn.models.settings import ModelSettings
from charrnn.reports.part import UNITS, held_out_part, num_scored
from charrnn.reports.progress import clock
from charrnn.storage.run_directory import COUNTS_SUFFIX, name_of_text
from charrnn.storage.run_name import name_to_type
from charrnn.training.counting import Counted
from charrnn.training.event import Finished
from charrnn.units import Score, bits, perplexity


def summary_rows(
    finished: Finished, directory: Path, shape: ModelSettings, *, level: str, text: str = "text"
) -> list[tuple[str, str]]:
    """The summary of a run, for ``write_facts``.

    Args:
        finished: the run's last event.
        directory: where the run is.
        shape: of its model.
        level: what a symbol is, "char" or "byte".
        text: path of the first text learned, after which counts of it are named.
    """
    best = finished.best
    part = held_out_part(num_scored(best), finished.num_held_out, level=level)
    run = name_to_type(directory)
    steps = f"{finished.step:,} step{'' if finished.step == 1 else 's'}"
    ends = {
        "end": "to the end of its plan",
        "patience": "until the held-out loss no longer fell",
        "stopped": "until it was stopped",
    }
    options = " --level byte" if level == "byte" else ""
    counts = shlex.quote(name_of_text(text) + COUNTS_SUFFIX)
    return [
        ("model", f"{shape.title}, {shape.num_parameters:,} weights"),
        ("trained", f"{steps} in {clock(finished.seconds)}, {ends[finished.reason]}"),
        ("held-out loss", _loss(best, level)),
        ("", f"of {part}, by the model of step {finished.best_step:,}"),
        ("file", str(directory / "model.safetensors")),
        ("next", f"charrnn sample {run}"),
        ("", f"charrnn perplexity {run} TEXT"),
        ("more", f"charrnn count TEXT{options}"),
        ("", f"counts it in seconds; mixed with them (--with {counts}) a model mostly predicts better"),
    ]


def counted_rows(counted: Counted, directory: Path) -> list[tuple[str, str]]:
    """The summary of a run that counted, for ``write_facts``."""
    model = counted.model
    level = model.vocab.level
    run = name_to_type(directory)
    num_symbols = model.settings.num_text if isinstance(model.settings, CountsSettings) else 0
    rate = num_symbols / max(counted.seconds, 1e-9)
    return [
        ("model", model.settings.title),
        ("counted", f"in {clock(counted.seconds)}, {rate:,.0f} {UNITS[level]}/s"),
        ("held-out loss", _loss(counted.score, level)),
        ("", f"of {held_out_part(num_scored(counted.score), counted.num_held_out, level=level)}"),
        ("file", str(directory / "model.safetensors")),
        ("next", f"charrnn sample {run}"),
        ("", f"charrnn perplexity {run} TEXT --dynamic"),
        ("", f"charrnn perplexity RUN TEXT --with {run}"),
    ]


def _loss(score: Score, level: str) -> str:
    nats = score.nats_per_symbol
    error = score.standard_error_per_byte if level == "byte" else score.standard_error
    per_symbol = f"perplexity {perplexity(nats):.3f}" + (" per byte" if level == "byte" else "")
    return f"{nats:.4f} nats/{level} ± {error:.4f}, {bits(nats):.4f} bits/{level}, {per_symbol}"
