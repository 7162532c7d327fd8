"""What the recipe chooses for a text and a time, beside the best that a search around it finds.

    python tests/benchmarks/defaults.py shakespeare.txt c.txt --seconds 60

Each trial is a run of the same length on one core, as many at once as there are cores: with the defaults, and with one
of them changed at a time. The first 80 % of a text are learned, and the first 131,072 characters after them scored.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from charrnn.machine import num_cores
from charrnn.text.corpus import open_corpus
from charrnn.training.recipe import Recipe, recommend

MAX_SCORED = 131_072  # characters


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cell", default="lstm")
    asked = parser.parse_args()
    print("| text | symbols | characters | seconds | the recipe's choice | its loss | best found | its loss | all |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for text in asked.texts:
        measure(Path(text), seconds=asked.seconds, cell=asked.cell)


def measure(text: Path, *, seconds: float, cell: str) -> None:
    """Prints the row of one text."""
    whole = text.read_text("utf-8", newline="")
    with tempfile.TemporaryDirectory() as folder:
        learned, tuned = Path(folder, "learned.txt"), Path(folder, "tuned.txt")
        learned.write_text(whole[: int(0.8 * len(whole))], "utf-8", newline="")
        tuned.write_text(whole[int(0.8 * len(whole)) :][:MAX_SCORED], "utf-8", newline="")
        corpus = open_corpus([str(learned)], level="char")
        num_symbols, vocab_size = len(corpus.ids), len(corpus.vocab.symbols)
        fixed = {"minutes": seconds / 60}
        recipe = recommend(
            num_symbols=num_symbols, vocab_size=vocab_size, on_gpu=False, model={"cell": cell}, training=fixed
        )
        trials = {"": "", **alternatives(recipe)}

        def loss(name: str) -> float:
            options = ["--minutes", str(seconds / 60), "--threads", "1", "--cell", cell, "--out", folder]
            options += ["--val", str(tuned), "--name", name.replace(" ", "-") or "recipe", *trials[name].split()]
            command = [sys.executable, "-m", "charrnn", "train", str(learned), *options, "--quiet", "--json"]
            ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            return float(json.loads(ended.stdout)["nats_per_char"])

        with ThreadPoolExecutor(num_cores()) as pool:
            found = dict(zip(trials, pool.map(loss, trials), strict=True))
    best = min(found, key=lambda name: found[name])
    rest = ", ".join(f"{name} {value:.3f}" for name, value in found.items() if name)
    print(
        f"| {text.stem} | {vocab_size:,} | {num_symbols:,} | {seconds:g} | {described(recipe)} | {found['']:.4f} "
        f"| {best or 'the same'} | {found[best]:.4f} | {rest} |",
        flush=True,
    )


def alternatives(recipe: Recipe) -> dict[str, str]:
    """Options by what they change."""
    size, training = recipe.model.hidden_size, recipe.training
    found = {
        "half the units": f"--hidden-size {size // 2}",
        "units x 1.5": f"--hidden-size {size * 3 // 2}",
        "rate x 0.6": f"--learning-rate {0.6 * training.learning_rate}",
        "rate x 1.6": f"--learning-rate {1.6 * training.learning_rate}",
        "batch x 0.5": f"--batch-size {max(1, training.batch_size // 2)}",
        "batch x 2": f"--batch-size {2 * training.batch_size}",
        "bptt x 2": f"--bptt {2 * training.bptt}",
    }
    dropouts = training.dropout, training.weight_dropout
    if max(dropouts) > 0:
        for factor in (0.5, 1.5):
            less = [min(0.7, factor * each) for each in dropouts]
            found[f"dropouts x {factor}"] = f"--dropout {less[0]} --weight-dropout {less[1]}"
    else:
        found["some dropout"] = "--dropout 0.1 --weight-dropout 0.05"
    return found


def described(recipe: Recipe) -> str:
    """The choice in a few words."""
    model, training = recipe.model, recipe.training
    title = f"{model.cell} 1x{model.hidden_size}, rate {training.learning_rate:.3g}"
    if training.dropout or training.weight_dropout:
        title += f", dropouts {training.dropout:.2f} and {training.weight_dropout:.2f}"
    return title


if __name__ == "__main__":
    main()
