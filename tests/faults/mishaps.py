"""Mishaps at random: runs that diverge, caches that are damaged, signals to every command, closed and full streams.

    PYTHONPATH=tests/support python tests/faults/mishaps.py SECONDS [SEED]

Each is the whole command, in this process or in one of its own. It ends with 1 at the first finding, which names the
seed to repeat it with; else it says how many of each kind there were.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
from command import ENVIRONMENT, end_of, invoke, start
from tiny_run import check_files

from charrnn.errors import ExitCode
from charrnn.text import corpus

TINY = ["--hidden-size", "8", "--batch-size", "2", "--bptt", "5", "--threads", "1"]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
MOST_SECONDS_TO_END = 20.0  # of a command that is told to, on a machine busy with other lanes
COMMANDS = {
    "train": ["train", "text.txt", *TINY, "--steps", "400", "--eval-every", "50"],
    "sample": ["sample", "model", "--length", "3000000"],
    "perplexity": ["perplexity", "model", "long.txt"],
    "windowed": ["perplexity", "model", "long.txt", "--windowed", "50"],
    "dynamic": ["perplexity", "model", "text.txt", "--dynamic"],
    "inspect": ["inspect", "model"],
    "verify": ["verify", "model"],
    "corpus": ["corpus"],
    "mistake": ["sample", "model", "--length", "-1"],
    "missing": ["perplexity", "model", "nowhere.txt"],
    "help": ["train", "--help"],
}
STREAMS = ["", "<&-", ">&-", "2>&-", ">/dev/full", "2>/dev/full", "</dev/null", "| head -c 1 >/dev/null"]


def main() -> None:
    """Mishaps for the time given."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    kinds = (diverge, damage_cache, signal_command, break_streams)
    counts: Counter[str] = Counter()
    ends_at = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("text.txt").write_text("to be or not to be, that is the question\n" * 40)
        Path("long.txt").write_text("to be or not to be, that is the question\n" * 20_000)
        assert invoke("train", "text.txt", *TINY, "--steps", "20", "--out", ".", "--name", "model", "-q").code == 0
        while time.monotonic() < ends_at:
            kind = rng.choice(kinds)
            kind(rng)
            counts[kind.__name__] += 1
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())) + ": no finding")


def diverge(rng: random.Random) -> None:
    """A run with rates that are far too high ends with 5 or 0; what it stored is whole, finite and goes on."""
    options = ["--steps", str(rng.randrange(5, 80)), "--eval-every", str(rng.randrange(1, 20))]
    options += ["--learning-rate", str(10 ** rng.uniform(-2, 1)), "--weight-decay", str(10 ** rng.uniform(-2, 1))]
    options += ["--averaging", rng.choice(["0", "0.05"]), "--seed", str(rng.randrange(100))]
    options += ["--patience", rng.choice(["1", "100"]), "--cell", rng.choice(["rnn", "lstm", "gru", "gru-before"])]
    name = f"diverging-{rng.randrange(10**9)}"
    ended = invoke("train", "text.txt", *TINY, *options, "--name", name, "--quiet")
    assert ended.code in (0, 5), (options, ended)
    run = Path("checkpoints", name)
    check_files(run)
    if (run / "training.safetensors").exists():
        again = invoke("train", "--resume", run, "--quiet")
        assert again.code in (0, 5), (options, again)
        check_files(run)


def damage_cache(rng: random.Random) -> None:
    """Whatever is done to the cache, the text is read as it is."""
    cache = Path("cache")
    text = "".join(rng.choice("abcdé€") for _ in range(rng.randrange(20, 2000)))
    path = Path("cached.txt")
    path.write_text(text, "utf-8")
    expected = np.array(corpus.open_corpus([path], level="char").ids)
    with mock.patch.object(corpus, "IN_MEMORY_BYTES", 10):
        for _ in range(3):
            found = corpus.open_corpus([path], level="char", cache_dir=cache).ids
            assert np.array_equal(found, expected)
            del found
            for kept in cache.iterdir():
                data = bytearray(kept.read_bytes())
                if not data:  # of an earlier text, cut to nothing
                    continue
                how = rng.randrange(5)
                if how == 0:
                    data = data[: rng.randrange(len(data))]
                elif how == 1:
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                elif how == 2:
                    data = bytearray(len(data))
                elif how == 3:
                    data += b"\0"
                else:
                    kept.unlink()
                    continue
                kept.write_bytes(data)


def signal_command(rng: random.Random) -> None:
    """A command that is signalled, once or twice, ends soon with the signal's code, or was done before."""
    name = rng.choice([*COMMANDS])
    number = rng.choice([*CODES])
    arguments = [*COMMANDS[name]]
    if name == "train":
        arguments += ["--name", f"signalled-{rng.randrange(10**9)}"]
    process = start(*arguments, stdout=subprocess.DEVNULL)
    time.sleep(rng.uniform(0, 0.6))
    for _ in range(rng.randrange(1, 3)):
        process.send_signal(number)
        time.sleep(rng.choice([0, 0.05]))
    began = time.monotonic()
    ended = end_of(process)
    done = {"mistake": 2, "missing": 3}.get(name, 0)
    # Before Python has set up its own handling, a signal ends the process as it ends any other.
    assert ended.code in (done, CODES[number], -number), (name, number, ended)
    assert time.monotonic() - began < MOST_SECONDS_TO_END, (name, number)
    # A traceback may be Python's own, of a signal that came before the command had begun.
    assert "Traceback" not in ended.err or ended.code == -number, (name, number, ended)
    if name == "train":
        check_files(Path("checkpoints", arguments[-1]))


def break_streams(rng: random.Random) -> None:
    """With any stream closed or full, the exit code is one of the table's, and never that of an internal error."""
    name = rng.choice([each for each in COMMANDS if each not in ("sample", "dynamic")])
    arguments = [*COMMANDS[name]]
    if name == "train":
        arguments = ["train", "text.txt", *TINY, "--steps", "3", "--name", f"streams-{rng.randrange(10**9)}"]
    if name in ("perplexity", "windowed"):
        arguments[2] = "text.txt"
    words = " ".join(map(str, arguments))
    redirection = " ".join(rng.sample(STREAMS[:-1], 2)) + " " + rng.choice(["", STREAMS[-1]])
    script = f"set -o pipefail; '{sys.executable}' -m charrnn {words} {redirection}"
    environment = {**os.environ, **ENVIRONMENT}
    ended = subprocess.run(["bash", "-c", script], capture_output=True, env=environment, timeout=120)
    known = {int(code) for code in ExitCode} - {int(ExitCode.INTERNAL)}
    assert ended.returncode in known, (script, ended)
    assert b"unexpected" not in ended.stderr, (script, ended)
    assert b"Traceback" not in ended.stderr, (script, ended)


if __name__ == "__main__":
    main()
