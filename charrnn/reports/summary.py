"""The end of a run in a few lines: how good, where it is, what to type next."""

from pathlib import Path

from charrnn.reports.progress import clock
from charrnn.training.event import Finished


def run_summary(finished: Finished, directory: Path, model: str, *, num_parameters: int) -> str:
    """The summary of a run, for stdout.

    Args:
        finished: the run's last event.
        directory: where the run is.
        model: the model's shape in words.
        num_parameters: its number of weights.
    """
    best = finished.best
    ends = {
        "end": "to the end of its plan",
        "patience": "until the held-out loss no longer fell",
        "stopped": "until it was stopped",
    }
    rows = [
        ("model", f"{model}, {num_parameters:,} weights"),
        ("trained", f"{finished.step:,} steps in {clock(finished.seconds)}, {ends[finished.reason]}"),
        (
            "held-out loss",
            f"{best.nats_per_char:.4f} nats/char ± {best.standard_error:.4f} at step {finished.best_step}",
        ),
        ("", f"{best.bits_per_char:.4f} bits/char, perplexity {best.perplexity:.3f}"),
        ("file", str(directory / "model.safetensors")),
        ("next", f"charrnn sample {directory} --prompt ..."),
        ("", f"charrnn perplexity {directory} TEXT"),
    ]
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {value}\n" for name, value in rows)
