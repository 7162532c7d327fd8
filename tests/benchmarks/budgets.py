"""Network, counts and their mixtures at several budgets of time: a table, and the picture in docs/results.md.

    python tests/benchmarks/budgets.py shakespeare.txt 10 30 85 --out budgets.json
    python tests/benchmarks/budgets.py --draw budgets.json more.json budgets.svg

The text's last tenth is held out; all is learned from the rest. A mixture's weights come from the two held-out scores,
nothing else is fitted on what is scored. Each budget has a network of its own; counts are made once.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from charrnn.text.corpus import open_corpus, split

COLOURS = {"network": "#3d9a6d", "counts": "#d1662a", "mixture": "#3b8dc4", "dynamic mixture": "#9a5fb5"}
INK = "#808790"


def main() -> None:
    """Measures a text, or draws what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+", help="text and seconds; with --draw: results and a picture")
    parser.add_argument("--out", type=Path, default=Path("budgets.json"))
    parser.add_argument("--scored", type=int, default=1 << 18, help="held-out characters that are scored")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draw", action="store_true")
    asked = parser.parse_args()
    if asked.draw:
        *sources, target = asked.names
        draw([json.loads(Path(source).read_text()) for source in sources], Path(target))
        return
    text, *seconds = asked.names
    rows = measure(text, list(map(float, seconds)), num_scored=asked.scored, seed=asked.seed)
    asked.out.write_text(json.dumps({"text": Path(text).name, "rows": rows}, indent=1))


def measure(text: str, budgets: list[float], *, num_scored: int, seed: int) -> list[dict[str, float]]:
    """Nats per character of each predictor at each budget, and the seconds that scoring took."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = open_corpus([text], level="char")
        held_out = Path(folder, "held-out.txt")
        held_out.write_text(corpus.vocab.decode(split(corpus.ids, 0.1).held_out[:num_scored]), newline="")
        started = time.perf_counter()
        counted = run("count", text, "--out", folder, "--name", "counts", "--json")
        counting = time.perf_counter() - started
        print(f"counts in {counting:.1f} s: {counted['nats_per_char']:.4f}", flush=True)
        for budget in budgets:
            name = f"network-{budget:g}"
            minutes = str(budget / 60)
            arguments = ["--minutes", minutes, "--name", name, "--out", folder, "--seed", str(seed), "--json"]
            trained = run("train", text, *arguments)
            beside = ["--with", str(Path(folder, "counts")), "--dynamic", "--json"]
            started = time.perf_counter()
            scored = run("perplexity", str(Path(folder, name)), str(held_out), *beside)
            apart = {key: value["total"]["nats_per_char"] for key, value in scored.items() if is_score(value)}
            row = {
                "seconds": budget,
                "counting": counting,
                "shape": trained["shape"],
                "network": scored["total"]["nats_per_char"],
                "counts": next(value for key, value in apart.items() if key.endswith("alone")),
                "mixture": apart["mixture"],
                "dynamic network": apart["dynamic"],
                "dynamic mixture": apart["dynamic mixture"],
                "scoring": time.perf_counter() - started,
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def is_score(value: object) -> bool:
    """Whether a value of the JSON that perplexity prints is a score that stands apart."""
    return isinstance(value, dict) and isinstance(value.get("total"), dict)


def run(*arguments: str) -> dict[str, object]:
    """The JSON that a command of charrnn prints."""
    ended = subprocess.run([sys.executable, "-m", "charrnn", *arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(ended.stdout)


def draw(measured: list[dict], target: Path) -> None:
    """Writes the picture: one panel per text, nats per character against seconds of training."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "charrnn"  # the same figures give the same bytes
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt

    size = (4 * len(measured), 3.4)
    figure, panels = plt.subplots(1, len(measured), figsize=size, layout="constrained", squeeze=False)
    for axes, each in zip(panels[0], measured, strict=True):
        rows = sorted(each["rows"], key=lambda row: row["seconds"])
        for name, colour in COLOURS.items():
            axes.plot(
                [row["seconds"] for row in rows], [row[name] for row in rows], color=colour, marker="o", label=name
            )
        axes.set_xscale("log")
        axes.set_xticks([row["seconds"] for row in rows], [f"{row['seconds']:g}" for row in rows])
        axes.minorticks_off()
        axes.set_title(each["text"], color=INK)
        axes.set_xlabel("seconds of training the network", color=INK)
        axes.set_ylabel("nats per held-out character", color=INK)
        axes.tick_params(colors=INK, which="both")
        for spine in axes.spines.values():
            spine.set_color(INK)
    panels[0][0].legend(frameon=False, labelcolor=INK)
    figure.savefig(target, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main()
