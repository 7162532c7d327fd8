"""Exact scores read as one stream and as several that come to agree: rates, rounds, differences.

    python tests/benchmarks/exact.py shakespeare.txt shakespeare other-run --remember 1000 --rounds 5

Scores the text's last tenth with each run's model. With --remember N, each LSTM is scored once more after one unit in
eight was made to forget 1/N of its cell state with each symbol, whatever it reads. The ways are timed in turn, the
medians are shown; the difference is that of the sums, and of the symbol that differs most.
"""

import argparse
import statistics
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from charrnn.inference.reading import ExactReading, iterate_nats
from charrnn.machine import num_cores
from charrnn.models.open import open_network
from charrnn.storage.model_file import ModelFile, read_model, require_network
from charrnn.storage.run_name import find_run
from charrnn.text.corpus import open_corpus, split

Array = np.ndarray[Any, Any]


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("text")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--remember", type=int, default=0, metavar="SYMBOLS")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print("| model | threads | one stream | exact | ratio | read again | symbols read | sum differs by | a symbol by |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in asked.runs:
        model = read_model(find_run(name))
        corpus = open_corpus([asked.text], level=model.vocab.level)
        if corpus.vocab.symbols != model.vocab.symbols:
            raise SystemExit(f"{name} has other symbols than {asked.text}")
        ids = np.asarray(split(corpus.ids, 0.1).held_out)
        title = require_network(model, use="this").title.split(",")[0]
        measure(f"{title}, {name}", model, ids, asked.rounds)
        if asked.remember:
            measure(f"the same, remembering {asked.remember:,}", remembering(model, asked.remember), ids, asked.rounds)


def measure(title: str, model: ModelFile, ids: Array, rounds: int) -> None:
    """Prints a row for each number of threads."""
    for num_threads in sorted({1, num_cores()}):
        settings = require_network(model, use="this")
        predictor = open_network(settings, model.weights, num_threads=num_threads)
        plain_seconds, exact_seconds = [], []
        for _ in range(rounds):
            seconds, plain = timed(iterate_nats(predictor, ids))
            plain_seconds.append(seconds)
            reading = ExactReading(predictor, ids)
            seconds, exact = timed(reading)
            exact_seconds.append(seconds)
        rates = [len(ids) / statistics.median(each) for each in (plain_seconds, exact_seconds)]
        print(
            f"| {title} | {num_threads} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[1] / rates[0]:.1f} "
            f"| {reading.num_rounds} times | {reading.num_read / len(ids):.2f} of the text "
            f"| {abs(exact.sum() / plain.sum() - 1):.1e} of it | {np.abs(exact - plain).max():.1e} nats |",
            flush=True,
        )


def timed(parts: Iterable[tuple[Array, Array]]) -> tuple[float, Array]:
    """Seconds, and all nats."""
    started = time.perf_counter()
    nats = np.concatenate([nats for nats, _ in parts])
    return time.perf_counter() - started, nats


def remembering(model: ModelFile, num_symbols: int) -> ModelFile:
    """The model with forget gates of exp(-1 / num_symbols) in one unit of eight."""
    settings = require_network(model, use="this")
    if settings.cell != "lstm":
        raise SystemExit("only an LSTM can be made to remember")
    weights = {name: weight.copy() for name, weight in model.weights.items()}
    gate = np.exp(-1 / num_symbols)
    for layer in range(settings.num_layers):
        forget = slice(settings.hidden_size, 2 * settings.hidden_size, 8)
        for kind in ("weight_ih", "weight_hh", "bias_ih"):
            weights[f"layers.{layer}.{kind}"][forget] = 0
        weights[f"layers.{layer}.bias_hh"][forget] = np.log(gate / (1 - gate))
    return replace(model, weights=weights)


if __name__ == "__main__":
    main()
