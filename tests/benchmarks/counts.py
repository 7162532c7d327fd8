"""How fast counts and mixtures are, beside PPMd on the same text: a Markdown table, medians of several rounds.

    python tests/benchmarks/counts.py shakespeare.txt --network checkpoints/shakespeare

The text's last tenth is held out. PPMd (7-Zip's, as ``pip install pyppmd`` has it; left out where it is missing) counts
as it codes, so its counting is to code the first part, and its scoring what the rest costs more.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from charrnn.inference.mixing import mixed
from charrnn.inference.scoring import score_exact
from charrnn.models.open import open_model
from charrnn.models.settings import SamplingSettings
from charrnn.storage.model_file import ModelFile, read_model, write_model
from charrnn.text.corpus import open_corpus, split
from charrnn.text.settings import TextSettings
from charrnn.text.vocab import Vocab
from charrnn.training.counting import count_texts
from charrnn.training.settings import CountingSettings

PPMD_ORDER, PPMD_BYTES = 8, 256 << 20
NUM_DRAWN = 2000

Rows = dict[str, "Measured"]


class Measured(NamedTuple):
    """One kind of work: characters per second (or seconds), and what else is to be told."""

    rate: float
    told: str = ""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--network", type=Path, help="a run of the same text, mixed with the counts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scored", type=int, default=100_000, help="held-out characters that are scored")
    asked = parser.parse_args()
    corpus = open_corpus([str(asked.text)], level="char")
    parts = split(corpus.ids, 0.1)
    train, held_out = np.asarray(parts.train), np.asarray(parts.held_out[: asked.scored])
    network = read_model(asked.network) if asked.network else None
    rounds = [measure(asked.text, network, corpus.vocab, train, held_out) for _ in range(asked.rounds)]
    print("| | per second | |\n|---|---|---|")
    for name, first in rounds[0].items():
        rate = statistics.median(each[name].rate for each in rounds)
        print(f"| {name} | {rate:,.0f} | {first.told} |")


def measure(text: Path, network: ModelFile | None, vocab: Vocab, train: np.ndarray, held_out: np.ndarray) -> Rows:
    """One round of everything."""
    rows: Rows = {}
    counted = count_texts(TextSettings(texts=(str(text),)), CountingSettings())
    rows["counting, characters"] = Measured(len(train) / counted.seconds)
    counts = counted.model
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        write_model(path, counts)
        started = time.perf_counter()
        read = read_model(path)
        open_model(read.settings, read.weights)
        seconds = time.perf_counter() - started
        size = path.stat().st_size >> 20
    rows["opening, models"] = Measured(1 / seconds, f"{seconds:.2f} s for {size} MiB")
    models = {"counts": counts}
    if network is not None:
        models["network"] = network
        models["mixture"] = mixed([network, counts])
    for name, model in models.items():
        for learns in (False, True):
            how = f"{name}, going on to learn" if learns else name
            rows |= use(how, model, vocab, held_out, learns=learns)
    return rows | ppmd(vocab, train, held_out)


def use(name: str, model: ModelFile, vocab: Vocab, held_out: np.ndarray, *, learns: bool) -> Rows:
    """Scoring and writing with one model."""
    predictor = open_model(model.settings, model.weights, learns=learns)
    if learns:  # the copy of the tables that it learns in, made at its first symbol
        predictor.step(held_out[:1], predictor.zero_state(1))
    started = time.perf_counter()
    score = score_exact(predictor, held_out, vocab=vocab)
    scoring = time.perf_counter() - started
    uniforms = np.random.default_rng(0).random((NUM_DRAWN, 1))
    state = predictor.zero_state(1)
    started = time.perf_counter()
    predictor.generate(held_out[:1], state, uniforms=uniforms, sampling=SamplingSettings())
    writing = time.perf_counter() - started
    return {
        f"{name}: scoring, characters": Measured(len(held_out) / scoring, f"{score.nats_per_char:.4f} nats"),
        f"{name}: writing, characters": Measured(NUM_DRAWN / writing),
    }


def ppmd(vocab: Vocab, train: np.ndarray, held_out: np.ndarray) -> Rows:
    """PPMd, variant H, with as much memory as it can use."""
    try:
        import pyppmd
    except ImportError:
        print("no pyppmd here: pip install pyppmd")
        return {}
    learned, rest = vocab.decode(train).encode(), vocab.decode(held_out).encode()
    sizes, seconds = [], []
    for data in (learned, learned + rest):
        started = time.perf_counter()
        encoder = pyppmd.Ppmd7Encoder(PPMD_ORDER, PPMD_BYTES)
        sizes.append(len(encoder.encode(data) + encoder.flush()))
        seconds.append(time.perf_counter() - started)
    nats = (sizes[1] - sizes[0]) * np.log(256) / len(held_out)
    return {
        "PPMd: counting, characters": Measured(len(train) / seconds[0]),
        "PPMd: going on: scoring, characters": Measured(
            (len(train) + len(held_out)) / seconds[1], f"{nats:.4f} nats; the rate is that of all it codes"
        ),
    }


if __name__ == "__main__":
    main()
