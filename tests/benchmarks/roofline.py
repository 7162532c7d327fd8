"""What each part of a training step should take on this machine by its operations and bytes, and what it takes.

    python tests/benchmarks/roofline.py                                     LSTM and GRU, 512 and 768 units
    python tests/benchmarks/roofline.py --cell lstm --size 512 --batch 16 --threads 2

Ceilings are measured in the same run: torch's own product of 2,048 x 2,048 matrices, and a copy of memory far larger
than the caches. "Should take" is the longer of operations at the first and bytes at the second; gate functions and
what caches give back are not in it.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from bench import _charrnn_step, _flops_per_char, _product, busy_neighbour

from charrnn.machine import num_cores
from charrnn.models.native import gradients
from charrnn.training.device import keep_freed_memory
from charrnn.training.optimizer import Optimizer

T, V = 64, 65
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
SAVED = {"rnn": 0, "lstm": 5, "gru": 4}  # arrays (T, B, H) that the backward pass reads besides hidden states
KERNELS = {"charrnn_forward": "forward", "charrnn_output": "output and loss", "charrnn_backward": "backward"}
PARTS = ("forward", "output and loss", "backward", "optimizer", "between")


def main() -> None:
    """Prints a table for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", action="append", choices=tuple(GATES))
    parser.add_argument("--size", action="append", type=int)
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--threads", action="append", type=int)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", action="store_true", help="beside a process that takes half of one core")
    asked = parser.parse_args()
    keep_freed_memory()
    with busy_neighbour() if asked.busy else nullcontext():
        report(asked)


def report(asked: argparse.Namespace) -> None:
    """A table for each number of threads."""
    for num_threads in asked.threads or sorted({1, num_cores()}):
        torch.set_num_threads(num_threads)
        ceiling = _product(getattr(torch, asked.precision), num_threads=num_threads)
        bandwidth = measure_bandwidth()
        print(f"\n{num_threads} threads, {asked.precision}: {ceiling:.0f} GFLOP/s, {bandwidth:.0f} GB/s;", end=" ")
        print("milliseconds that each part should take, and takes\n")
        print(f"| model | B | {' | '.join(PARTS)} | step | characters/s | of ceiling |")
        print("|---" * (len(PARTS) + 5) + "|")
        for cell in asked.cell or ("lstm", "gru"):
            for size in asked.size or (512, 768):
                for batch in asked.batch or (16, 32, 64):
                    takes, step = measure(cell, size, batch, num_threads, asked.precision, asked.rounds)
                    needs = should_take(cell, size, batch, ceiling * 1e9, bandwidth * 1e9)
                    parts = " | ".join(f"{needs[part] * 1e3:.1f}, {takes[part] * 1e3:.1f}" for part in PARTS)
                    rate = T * batch / step
                    share = rate * _flops_per_char(cell, size) / 1e9 / ceiling
                    print(
                        f"| {cell} 1x{size} | {batch} | {parts} | {step * 1e3:.1f} | {rate:,.0f} | {share:.0%} |",
                        flush=True,
                    )


def should_take(cell: str, size: int, batch: int, flops: float, bandwidth: float) -> dict[str, float]:
    """Seconds of each part at the ceilings."""
    rows, weights = T * batch, GATES[cell] * size * (size + V) + V * size
    product, output = 2 * rows * GATES[cell] * size * size, 2 * rows * V * size
    saved, gates = 4 * rows * size * (1 + SAVED[cell]), 4 * rows * size * GATES[cell]
    return {
        "forward": max(product / flops, (saved + 4 * weights) / bandwidth),
        "output and loss": max(3 * output / flops, 4 * rows * (2 * size + 2 * V) / bandwidth),
        "backward": max(2 * product / flops, (saved + 2 * gates + 8 * weights) / bandwidth),
        "optimizer": 4 * 9 * weights / bandwidth,  # reads five arrays, writes four
        "between": 0.0,
    }


def measure(
    cell: str, size: int, batch: int, num_threads: int, precision: str, rounds: int
) -> tuple[dict[str, float], float]:
    """Median seconds of each part of a step, and of the step."""
    step = _charrnn_step(cell, size, precision, batch_size=batch, num_threads=num_threads)
    found: list[dict[str, float]] = []
    with watched() as seconds:
        step()
        began = time.perf_counter()
        while len(found) < rounds or time.perf_counter() - began < 1:
            seconds.update(dict.fromkeys(seconds, 0.0))
            start = time.perf_counter()
            step()
            found.append(seconds | {"step": time.perf_counter() - start})
    for each in found:
        each["between"] = each["step"] - sum(each[part] for part in PARTS if part != "between")
    return {part: statistics.median(each[part] for each in found) for part in PARTS}, statistics.median(
        each["step"] for each in found
    )


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Seconds spent in each function of interest while the context is open."""
    seconds: dict[str, float] = {}
    places: list[tuple[object, str, Callable[..., object]]] = []

    def watch(owner: object, name: str, key: Callable[..., str]) -> None:
        original = getattr(owner, name)

        def timed(*arguments: object, **named: object) -> object:
            start = time.perf_counter()
            try:
                return original(*arguments, **named)
            finally:
                part = key(*arguments)
                seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - start

        places.append((owner, name, original))
        setattr(owner, name, timed)

    watch(gradients, "run", lambda name, *_: KERNELS[name])
    watch(Optimizer, "update", lambda *_: "optimizer")
    try:
        yield seconds
    finally:
        for owner, name, original in places:
            setattr(owner, name, original)


def measure_bandwidth(num_bytes: int = 1 << 28) -> float:
    """GB/s read and written by a copy."""
    source = torch.ones(num_bytes // 4)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - start)
    return 2 * num_bytes / statistics.median(seconds) / 1e9


if __name__ == "__main__":
    main()
