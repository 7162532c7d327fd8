"""Held-out loss against time, one line per cell: the picture in README.md and docs/results.md.

    python tests/benchmarks/loss_picture.py shakespeare.txt 1.42 loss.svg
    python tests/benchmarks/loss_picture.py checkpoints/rnn checkpoints/gru checkpoints/lstm loss.svg     existing runs

The picture has no background, and colours that can be seen on white and on black.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "charrnn"  # the same runs give the same bytes
mpl.rcParams["font.family"] = "sans-serif"
mpl.rcParams["svg.fonttype"] = "none"  # text stays text, in the reader's font
from matplotlib import pyplot as plt  # noqa: E402 - after the choice of output

from charrnn.storage.metrics import read_metrics  # noqa: E402
from charrnn.storage.model_file import read_model  # noqa: E402
from charrnn.storage.run_files import METRICS_NAME  # noqa: E402

CELLS = ("rnn", "gru", "lstm")
COLOURS = {"rnn": "#d1662a", "gru": "#3b8dc4", "lstm": "#3d9a6d"}  # marks tell them apart too
INK = "#808790"  # of all that is not a line
MARKS = {"rnn": "s", "gru": "^", "lstm": "o"}


def main() -> None:
    """Draws runs given, or those it makes of a text."""
    *sources, target = sys.argv[1:]
    if Path(sources[0]).is_dir():
        draw([Path(source) for source in sources], Path(target))
        return
    text, minutes = sources
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for cell in CELLS:
            arguments = ["train", text, "--minutes", minutes, "--cell", cell, "--out", folder, "--name", cell, "--json"]
            ended = subprocess.run([sys.executable, "-m", "charrnn", *arguments], stdout=subprocess.PIPE, check=True)
            print(json.loads(ended.stdout)["shape"])
            runs.append(Path(folder, cell))
        draw(runs, Path(target))


def draw(runs: list[Path], target: Path) -> None:
    """Writes the picture of the runs' histories."""
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for run in runs:
        shape = read_model(run).settings
        lines = [line for line in read_metrics(run / METRICS_NAME) if line.get("event") == "evaluated"]
        seconds = [line["seconds"] for line in lines]
        nats = [line["nats_per_char"] for line in lines]
        name = {"rnn": "vanilla RNN", "gru": "GRU", "lstm": "LSTM"}[shape.cell]
        label = f"{name} {shape.num_layers}x{shape.hidden_size}: {min(nats):.3f}"
        axes.plot(seconds, nats, color=COLOURS[shape.cell], marker=MARKS[shape.cell], linewidth=1.5, label=label)
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("held-out loss, nats/char")
    axes.set_xlim(left=0)
    axes.legend(frameon=False, labelcolor=INK)
    axes.grid(alpha=0.25, color=INK)
    axes.tick_params(colors=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    figure.savefig(target, metadata={"Date": None}, transparent=True)


if __name__ == "__main__":
    main()
