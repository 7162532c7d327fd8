"""What charrnn costs beside plain torch.nn on this machine, in one run: ``make bench``.

Every figure is a median over rounds, and the rounds of all competitors are interleaved, so that a machine that slows
down slows all of them. torch.nn is given its best of float32 and bfloat16, one thread and all, and threads that spin
or sleep between operators. Tables are Markdown, as docs/results.md carries them.

    python tests/benchmarks/bench.py                  all but losses
    python tests/benchmarks/bench.py step inference   some of it
    python tests/benchmarks/bench.py loss --text shakespeare.txt --minutes 0.5 --minutes 1.42
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from charrnn.__main__ import let_idle_threads_sleep
from charrnn.machine import num_cores

SECTIONS = ("step", "inference", "memory", "start", "loss")
CELLS = ("rnn", "lstm", "gru")
SIZES = (256, 512, 768)
SAMPLED = (("gru", 256), ("gru", 512), ("lstm", 512))
B, T, V = 16, 64, 65
SECONDS = 0.5  # per measurement
NUM_CORES = num_cores()


def main() -> None:
    """Runs the sections named, or all but losses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text", type=Path, help="text to train on, for losses")
    parser.add_argument("--minutes", type=float, action="append", help="budgets, for losses")
    parser.add_argument("--busy", action="store_true", help="beside a process that takes half of one core")
    parser.add_argument("--worker", choices=tuple(WORKERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        let_idle_threads_sleep()
        print(json.dumps(WORKERS[options.worker]()))
        return
    sections = options.sections or [name for name in SECTIONS if name != "loss" or options.text]
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; choose from {', '.join(SECTIONS)}")
    if "loss" in sections and not options.text:
        parser.error("losses need a text: --text FILE")
    from importlib.metadata import version

    print(f"{_cpu()}, {NUM_CORES} cores; Python {platform.python_version()}, torch {version('torch')}")
    with busy_neighbour() if options.busy else contextlib.nullcontext():
        if "step" in sections:
            report_steps(options.rounds)
        if "inference" in sections:
            report_inference(options.rounds)
        if "memory" in sections:  # before torch is loaded here: a process's peak counts what it was forked from
            report_memory()
        if "start" in sections:
            report_start(options.rounds)
        if "loss" in sections:
            report_losses(options.text, options.minutes or [0.5, 1.42])


_NEIGHBOUR = """
import os, time
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
while True:
    end = time.perf_counter() + 0.005
    while time.perf_counter() < end:
        pass
    time.sleep(0.005)
"""


@contextlib.contextmanager
def busy_neighbour() -> Iterator[None]:
    """A process that takes half of one core while the context is open, in turns of 5 ms."""
    with subprocess.Popen([sys.executable, "-c", _NEIGHBOUR]) as process:
        try:
            yield
        finally:
            process.kill()


# --- training steps ---------------------------------------------------------------------------------------------------


def report_steps(rounds: int) -> None:
    """Characters per second of whole training steps, by charrnn and by torch.nn at its best."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for policy in ("charrnn", "active", "passive"):
            for key, value in _work("steps" if policy == "charrnn" else "torch-steps", policy).items():
                found.setdefault(key if policy == "charrnn" else f"{key} {policy}", []).append(value)
    median = {key: statistics.median(values) for key, values in found.items()}
    ceiling = median.pop("product float32")
    ceiling_bf16 = median.pop("product bfloat16")
    print(f"\nTraining step, B {B} T {T}, one-hot input, V {V}; characters/s. Ceiling: a product of 2,048 x 2,048")
    print(f"matrices runs at {ceiling:.0f} GFLOP/s in float32, {ceiling_bf16:.0f} in bfloat16.\n")
    headings = ("float32", "of ceiling", "bfloat16", "of ceiling", "one thread", "torch.nn, best of 8", "which")
    print(f"| cell | {' | '.join(headings)} | ratio float32 | ratio |")
    print("|---" * (len(headings) + 3) + "|")
    for size in SIZES:
        for cell in CELLS:
            name, flops = f"{cell} {size}", _flops_per_char(cell, size) / 1e9
            best = max((key for key in median if key.startswith(f"torch {name} ")), key=lambda key: median[key])
            mine, mine_bf16 = median[f"charrnn {name} float32"], median.get(f"charrnn {name} bfloat16", 0.0)
            alone = median.get(f"charrnn {name} bfloat16 alone", median.get(f"charrnn {name} float32 alone", mine))
            in_bf16 = f"{mine_bf16:,.0f} | {mine_bf16 * flops / ceiling_bf16:.0%}" if mine_bf16 else "- | -"
            which = best.removeprefix(f"torch {name} ")
            print(
                f"| {cell} 1x{size} | {mine:,.0f} | {mine * flops / ceiling:.0%} | {in_bf16} | {alone:,.0f} "
                f"| {median[best]:,.0f} | {which} | {mine / median[best]:.2f} "
                f"| {max(mine, mine_bf16) / median[best]:.2f} |"
            )
    worst = max(value for key, value in median.items() if key.startswith("gradient"))
    print(f"\nGradients of the kernels and of torch.nn, float32: largest difference {worst:.1e} of the largest.")


def measure_steps() -> dict[str, float]:
    """Worker: products, and charrnn's steps with their gradients beside torch.nn's."""
    import torch

    from charrnn.training.device import keep_freed_memory

    keep_freed_memory()
    found = {"product float32": _product(torch.float32), "product bfloat16": _product(torch.bfloat16)}
    from charrnn.models.native.tensors import has_bfloat16

    for size in SIZES:
        for cell in CELLS:
            for precision in ("float32", "bfloat16") if has_bfloat16() else ("float32",):
                for num_threads in sorted({1, NUM_CORES}):
                    step = _charrnn_step(cell, size, precision, num_threads=num_threads)
                    alone = " alone" if num_threads < NUM_CORES else ""
                    found[f"charrnn {cell} {size} {precision}{alone}"] = B * T / _median_seconds(step)
            found[f"gradient {cell} {size}"] = _gradient_difference(cell, size)
    return found


def measure_torch_steps() -> dict[str, float]:
    """Worker: torch.nn's steps in each precision and number of threads, under the policy of the environment."""
    import torch
    from peer import PlainStep

    from charrnn.training.device import keep_freed_memory

    keep_freed_memory()
    ids = torch.randint(0, V, (T + 1, B))
    found = {}
    for size in SIZES:
        for cell in CELLS:
            for autocast in (False, True):
                for num_threads in sorted({1, NUM_CORES}):
                    torch.set_num_threads(num_threads)
                    step = PlainStep(cell, size, V, autocast)
                    precision = "bfloat16" if autocast else "float32"
                    seconds = _median_seconds(lambda step=step: step(ids))
                    found[f"torch {cell} {size} {precision} {num_threads} threads"] = B * T / seconds
    return found


def _charrnn_step(
    cell: str, size: int, precision: str, *, batch_size: int = B, num_threads: int = NUM_CORES
) -> Callable[[], object]:
    """A whole update of a run: window, loss, gradients, clipping, AdamW, averages."""
    from types import SimpleNamespace

    import numpy as np
    import torch

    from charrnn.models.layer import Backend
    from charrnn.models.settings import ModelSettings
    from charrnn.training.device import Placement
    from charrnn.training.learner import Learner
    from charrnn.training.settings import TrainingSettings
    from charrnn.training.world import ALONE

    torch.set_num_threads(1)  # as a run leaves it
    task = SimpleNamespace(
        train_ids=np.random.default_rng(0).integers(V, size=1_000_000).astype(np.uint8),
        model=ModelSettings(vocab_size=V, cell=cell, hidden_size=size),
        training=TrainingSettings(batch_size=batch_size, bptt=T, learning_rate=1e-3, steps=1),
    )
    placement = Placement(torch.device("cpu"), Backend("native", num_threads, precision), False, num_threads)
    learner = Learner(task, placement=placement, weights=None, world=ALONE)
    return lambda: learner.update(num_steps=None)


def _gradient_difference(cell: str, size: int) -> float:
    """The largest difference of any gradient, as a share of its tensor's largest element."""
    import torch
    from peer import PlainModel
    from torch.nn import functional as F

    from charrnn.models.layer import Backend
    from charrnn.models.network import CharRNN
    from charrnn.models.settings import ModelSettings

    model = CharRNN(ModelSettings(vocab_size=V, cell=cell, hidden_size=size), Backend("native", NUM_CORES))
    model.initialize(0)
    plain = PlainModel(cell, size, V)
    pairs = {
        f"layers.0.{name}": getattr(plain.recurrence, f"{name}_l0")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    pairs |= {"output.weight": plain.output.weight, "output.bias": plain.output.bias}
    weights = model.weights()
    with torch.no_grad():
        for name, theirs in pairs.items():
            theirs.copy_(weights[name])
    ids = torch.randint(0, V, (T + 1, B), generator=torch.Generator().manual_seed(0))
    for logits in (model(ids[:-1], model.zero_state(B))[0], plain(ids[:-1])[0]):
        F.cross_entropy(logits.flatten(0, 1), ids[1:].flatten()).backward()
    return max(
        float((weights[name].grad - theirs.grad).abs().max() / theirs.grad.abs().max())
        for name, theirs in pairs.items()
    )


def _product(dtype: Any, size: int = 2048, *, num_threads: int = NUM_CORES) -> float:
    """GFLOP/s of a square product by torch: the ceiling."""
    import torch

    torch.set_num_threads(num_threads)
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2 * size**3 / _median_seconds(lambda: a @ b) / 1e9


def _flops_per_char(cell: str, size: int) -> float:
    """Operations of all products that a step needs: forward, and twice that backward; one-hot input needs none."""
    num_gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell]
    return 3 * 2 * (num_gates * size * size + V * size)


# --- sampling and scoring ---------------------------------------------------------------------------------------------


def report_inference(rounds: int) -> None:
    """Characters per second of sampling and scoring."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for key, value in _work("inference", "charrnn").items():
            found.setdefault(key, []).append(value)
    median = {key: statistics.median(values) for key, values in found.items()}
    print("\nSampling and scoring, characters/s:\n")
    print("| what | model | charrnn | torch.nn loop | ratio |")
    print("|---|---|---|---|---|")
    for name in dict.fromkeys(key.split(": ")[1] for key in median):
        mine, plain = median[f"charrnn: {name}"], median.get(f"torch: {name}")
        beside = f"{plain:,.0f} | {mine / plain:.1f}" if plain else "- | -"
        print(f"| {name.split(' @ ')[0]} | {name.split(' @ ')[1]} | {mine:,.0f} | {beside} |")


def measure_inference() -> dict[str, float]:
    """Worker: sampling and scoring by charrnn's predictor and by plain loops."""
    import numpy as np
    import torch
    from peer import PlainModel, draw, score

    from charrnn.inference.scoring import score_exact, score_ids, score_streams
    from charrnn.models.open import open_network
    from charrnn.models.settings import ModelSettings, SamplingSettings
    from charrnn.text.vocab import Vocab

    vocab = Vocab.of_text("".join(map(chr, range(32, 32 + V))))
    found = {}
    for cell, size in SAMPLED:
        settings, name = ModelSettings(vocab_size=V, cell=cell, hidden_size=size), f"{cell.upper()} 1x{size}"
        random = np.random.default_rng(0)
        weights = {
            key: (random.uniform(-1, 1, shape) / size**0.5).astype(np.float16).astype(np.float32)  # as models are kept
            for key, shape in settings.parameter_shapes().items()
        }
        predictor = open_network(settings, weights, num_threads=NUM_CORES)
        plain = PlainModel(cell, size, V)
        ids = random.integers(0, V, 1 << 16)
        for num_streams in (1, 64):
            uniforms = random.random((2048 if num_streams == 1 else 256, num_streams))
            first, state = np.zeros(num_streams, np.intp), predictor.zero_state(num_streams)
            seconds = _median_seconds(
                lambda p=predictor, f=first, s=state, u=uniforms: p.generate(
                    f, s, uniforms=u, sampling=SamplingSettings()
                )
            )
            found[f"charrnn: sample {num_streams} at once @ {name}"] = uniforms.size / seconds
        found[f"charrnn: score one exact stream @ {name}"] = len(ids) / _median_seconds(
            lambda p=predictor, x=ids: score_ids(p, x, vocab=vocab)
        )
        found[f"charrnn: score exactly @ {name}"] = len(ids) / _median_seconds(
            lambda p=predictor, x=ids: score_exact(p, x, vocab=vocab)
        )
        found[f"charrnn: score --streams 16 @ {name}"] = len(ids) / _median_seconds(
            lambda p=predictor, x=ids: score_streams(p, x, vocab=vocab, num_streams=16)
        )
        best: dict[str, float] = {}
        for num_threads in sorted({1, NUM_CORES}):
            torch.set_num_threads(num_threads)
            drawn = 2048 / _median_seconds(lambda p=plain: list(draw(p, 2048)))
            scored = 8192 / _median_seconds(lambda p=plain, x=ids: score(p, torch.from_numpy(x[:8192])))
            best["sample 1 at once"] = max(drawn, best.get("sample 1 at once", 0.0))
            best["score one exact stream"] = max(scored, best.get("score one exact stream", 0.0))
        found |= {f"torch: {what} @ {name}": value for what, value in best.items()}
    return found


# --- start-up and memory ----------------------------------------------------------------------------------------------

_PLAIN_SAMPLE = """
import sys
sys.path.insert(0, {here!r})
import torch
from peer import PlainModel, draw
model = PlainModel("gru", 256, 65)
model.load_state_dict(torch.load(sys.argv[1]))
for k in draw(model, 300):
    sys.stdout.write(chr(32 + k))
    sys.stdout.flush()
"""


def report_start(rounds: int) -> None:
    """Seconds from pressing return to the first character, and of --help."""
    import torch
    from peer import PlainModel

    here = str(Path(__file__).parent)
    with tempfile.TemporaryDirectory() as folder:
        model, plain = Path(folder, "model.safetensors"), Path(folder, "plain.pt")
        _write_random_model(model)
        torch.save(PlainModel("gru", 256, V).state_dict(), plain)
        commands = {
            "charrnn --help": [*_CHARRNN, "--help"],
            "charrnn sample, GRU 1x256": [*_CHARRNN, "sample", str(model), "--length", "300"],
            "the same by torch.nn": [sys.executable, "-c", _PLAIN_SAMPLE.format(here=here), str(plain)],
            "python -c 'import torch'": [sys.executable, "-c", "import torch; print(1)"],
        }
        _first_byte(commands["charrnn sample, GRU 1x256"])  # kernels are built on first use
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                seconds[name].append(_first_byte(command))
    print("\nSeconds until the first character of output:\n\n| command | seconds |\n|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {statistics.median(values):.2f} |")


def _first_byte(command: list[str]) -> float:
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = time.perf_counter() - began
        process.stdout.read()
    return seconds


def report_memory() -> None:
    """Peak resident memory of commands."""
    with tempfile.TemporaryDirectory() as folder:
        text, model = Path(folder, "text.txt"), Path(folder, "model.safetensors")
        text.write_text(_text(1_000_000))
        _write_random_model(model)
        train = [
            "train",
            str(text),
            "--cell",
            "gru",
            "--hidden-size",
            "256",
            "--steps",
            "200",
            "--out",
            f"{folder}/run",
        ]
        commands = {
            "charrnn train, GRU 1x256, 1 MB": [*_CHARRNN, *train, "--quiet"],
            "charrnn sample, GRU 1x256": [*_CHARRNN, "sample", str(model)],
            "charrnn perplexity, GRU 1x256, 1 MB": [
                *_CHARRNN,
                "perplexity",
                str(model),
                str(text),
                "--unknown",
                "skip",
            ],
            "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        }
        print("\nPeak resident memory:\n\n| command | MiB |\n|---|---|")
        for name, command in commands.items():
            print(f"| {name} | {_peak_bytes(command) / 2**20:,.0f} |")


def _peak_bytes(command: list[str]) -> int:
    pid = os.posix_spawn(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _write_random_model(path: Path) -> None:
    import numpy as np

    from charrnn.models.settings import ModelSettings
    from charrnn.storage.model_file import ModelFile, write_model
    from charrnn.text.vocab import Vocab

    settings = ModelSettings(vocab_size=V, cell="gru", hidden_size=256)
    random = np.random.default_rng(0)
    weights = {n: random.uniform(-0.1, 0.1, s).astype(np.float32) for n, s in settings.parameter_shapes().items()}
    vocab = Vocab.of_text("".join(map(chr, range(32, 32 + V))))
    write_model(path, ModelFile(settings=settings, vocab=vocab, weights=weights, facts={}))


def _text(length: int) -> str:
    import numpy as np

    return "".join(map(chr, np.random.default_rng(0).integers(32, 32 + V, length)))


# --- losses after fixed budgets ---------------------------------------------------------------------------------------


def report_losses(text: Path, budgets: list[float]) -> None:
    """Held-out loss of the defaults after each budget, streaming and windowed, by the exact scores of perplexity."""
    print(f"\nHeld-out loss (last tenth of {text.name}), defaults, nats/char:\n")
    print("| minutes | cell | model | steps | streaming | windowed-256 |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        held_out = Path(folder, "held-out.txt")
        whole = text.read_bytes().decode()
        # The held-out part of a large text is scored in its first quarter million characters.
        held_out.write_bytes(whole[int(len(whole) * 0.9) :][:262_144].encode())
        for minutes in budgets:
            for cell in CELLS:
                run = f"{folder}/{cell}-{minutes}"
                arguments = ["train", str(text), "--minutes", str(minutes), "--cell", cell, "--out", run, "--json"]
                trained = json.loads(_output([*_CHARRNN, *arguments]))
                scores = [
                    json.loads(_output([*_CHARRNN, "perplexity", run, str(held_out), "--json", *more]))["total"]
                    for more in ([], ["--windowed", "256"])
                ]
                streaming, windowed = (score["nats_per_char"] for score in scores)
                facts = (f"{minutes:g}", cell, trained["shape"], f"{trained['step']:,}")
                print(f"| {' | '.join(facts)} | {streaming:.4f} | {windowed:.4f} |", flush=True)


# --- how all of it is measured ----------------------------------------------------------------------------------------

_CHARRNN = [sys.executable, "-m", "charrnn"]
_POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
WORKERS: dict[str, Callable[[], dict[str, float]]] = {
    "steps": measure_steps,
    "torch-steps": measure_torch_steps,
    "inference": measure_inference,
}


def _work(worker: str, policy: str) -> dict[str, float]:
    """What a fresh process measures, its idle threads as charrnn leaves them, or "active" or "passive"."""
    environment = {name: value for name, value in os.environ.items() if name not in _POLICIES}
    if policy != "charrnn":
        environment["OMP_WAIT_POLICY"] = policy
    return json.loads(_output([sys.executable, __file__, "--worker", worker], environment))


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def _median_seconds(work: Callable[[], object]) -> float:
    """Median time of ``work``, repeated for half a second and at least three times, after one run for warmth."""
    work()
    seconds: list[float] = []
    while sum(seconds) < SECONDS or len(seconds) < 3:
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    kinds = {flag for line in lines if line.startswith("flags") for flag in line.split()}
    wide = [name for name, flag in (("AVX-512", "avx512f"), ("AMX", "amx_tile")) if flag in kinds]
    return f"{names[0] if names else platform.machine()} ({', '.join(wide) or 'no AVX-512'})"


if __name__ == "__main__":
    main()
