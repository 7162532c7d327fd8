"""The recipe search, by the command itself: trials on a part of a text that is never the part reported.

    python tests/benchmarks/search.py shakespeare.txt                 all trials of docs/results.md, hours of them
    python tests/benchmarks/search.py shakespeare.txt lstm512 wd.08   some of them
    python tests/benchmarks/search.py c.txt 85s-256 85s-384 85s-512   units against time

A trial learns the first 80 % of the text and is scored, exactly, on what follows up to 90 %, or on pieces spread evenly
over it. The last tenth, which the other figures are of, is not read. Trials are given in steps, so that a slow machine
repeats the losses of a fast one.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

MAX_SCORED = 131_072  # characters
NUM_PIECES = 16  # of the scored tenth, where it is longer
TRIALS = {
    # name: steps, options
    "gru256": (10_500, "--cell gru --hidden-size 256 --learning-rate 0.012 --dropout 0.15 --restart 0"),
    "gru384": (7_300, "--cell gru --hidden-size 384 --learning-rate 0.01 --dropout 0.2 --restart 0"),
    "lstm384": (6_799, "--cell lstm --hidden-size 384 --learning-rate 0.014 --dropout 0.2 --restart 0"),
    "lstm512": (4_241, "--cell lstm --hidden-size 512 --learning-rate 0.01 --dropout 0.2 --restart 0"),
    "restart": (4_240, "--cell lstm --hidden-size 512 --learning-rate 0.0102 --dropout 0.2"),
    "wd.08": (4_240, "--cell lstm --hidden-size 512 --learning-rate 0.0102 --dropout 0.17 --weight-dropout 0.08"),
    "wd.15": (4_240, "--cell lstm --hidden-size 512 --learning-rate 0.0102 --dropout 0.1 --weight-dropout 0.15"),
    "768": (6_000, "--cell lstm --hidden-size 768 --learning-rate 0.0068 --dropout 0.4"),
    "768wd.13": (5_500, "--cell lstm --hidden-size 768 --learning-rate 0.0068 --dropout 0.29 --weight-dropout 0.13"),
    "768wd.3": (6_000, "--cell lstm --hidden-size 768 --learning-rate 0.0068 --dropout 0.4 --weight-dropout 0.3"),
    "768wd.15": (12_000, "--cell lstm --hidden-size 768 --learning-rate 0.0068 --dropout 0.4 --weight-dropout 0.15"),
    "768wd.22": (12_000, "--cell lstm --hidden-size 768 --learning-rate 0.0068 --dropout 0.3 --weight-dropout 0.22"),
    "2x512": (10_000, "--cell lstm --hidden-size 512 --num-layers 2 --learning-rate 0.007 --dropout 0.45"),
    "rnn512": (9_000, "--cell rnn --hidden-size 512 --learning-rate 0.003 --dropout 0.15 --restart 0"),
    # As many steps as two cores of an AMD EPYC with bfloat16 make in 10, 30 and 85 seconds.
    "10s-128": (3_700, "--hidden-size 128"),
    "10s-192": (2_700, "--hidden-size 192"),
    "10s-256": (1_720, "--hidden-size 256"),
    "30s-256": (5_200, "--hidden-size 256"),
    "30s-384": (3_000, "--hidden-size 384"),
    "85s-256": (14_400, "--hidden-size 256"),
    "85s-384": (8_540, "--hidden-size 384"),
    "85s-512": (5_700, "--hidden-size 512"),
    "rnn-10s-256": (5_104, "--cell rnn --hidden-size 256 --dropout 0 --weight-dropout 0"),
    "rnn-10s-384": (2_730, "--cell rnn --hidden-size 384 --dropout 0 --weight-dropout 0"),
    "rnn-10s-512": (1_754, "--cell rnn --hidden-size 512 --dropout 0 --weight-dropout 0"),
    "rnn-30s-384": (9_746, "--cell rnn --hidden-size 384 --dropout 0 --weight-dropout 0"),
    "rnn-30s-512": (5_709, "--cell rnn --hidden-size 512 --dropout 0.02 --weight-dropout 0"),
    "rnn-30s-768": (3_086, "--cell rnn --hidden-size 768 --dropout 0.06 --weight-dropout 0"),
    "rnn-85s-256": (44_052, "--cell rnn --hidden-size 256 --dropout 0.09 --weight-dropout 0"),
    "rnn-85s-384": (22_644, "--cell rnn --hidden-size 384 --dropout 0.14 --weight-dropout 0"),
    "rnn-85s-512": (17_204, "--cell rnn --hidden-size 512 --dropout 0.17 --weight-dropout 0"),
    "rnn-85s-512.wd": (14_394, "--cell rnn --hidden-size 512 --learning-rate 2e-3 --dropout 0.05 --weight-dropout 0.1"),
    "rnn-85s-768.wd": (8_572, "--cell rnn --hidden-size 768 --learning-rate 0.0013 --dropout 0 --weight-dropout 0.2"),
    "rnn-85s-1024": (5_368, "--cell rnn --hidden-size 1024 --dropout 0.25 --weight-dropout 0"),
    "rnn-85s-1024.wd": (5_686, "--cell rnn --hidden-size 1024 --dropout 0.12 --weight-dropout 0.1"),
    "gru-85s-256": (17_364, "--cell gru --hidden-size 256 --dropout 0.19"),
    "gru-85s-256.wd": (18_512, "--cell gru --hidden-size 256 --dropout 0.15 --weight-dropout 0.05"),
    "gru-85s-384": (10_283, "--cell gru --hidden-size 384 --dropout 0.23"),
    "gru-85s-384.wd": (10_115, "--cell gru --hidden-size 384 --dropout 0.25 --weight-dropout 0.15"),
}
RECIPE = "--batch-size 16 --bptt 64 --patience 99 --quiet --json"  # and the defaults of everything else


def main() -> None:
    """Runs the trials named after the text, or all."""
    text, names = Path(sys.argv[1]).read_bytes().decode(), sys.argv[2:] or list(TRIALS)
    size = len(text)
    with tempfile.TemporaryDirectory() as folder:
        learned, tuned = Path(folder, "learned.txt"), Path(folder, "tuned.txt")
        learned.write_bytes(text[: int(0.8 * size)].encode())
        tuned.write_bytes(pieces(text[int(0.8 * size) : int(0.9 * size)]).encode())
        print("| trial | options | steps | minutes | streaming | windowed-256 |\n|---|---|---|---|---|---|")
        for name in names:
            steps, options = TRIALS[name]
            run = f"{folder}/{name}"
            arguments = ["train", str(learned), "--val", str(tuned), "--out", folder, "--name", name]
            trained = charrnn(*arguments, *options.split(), "--steps", str(steps), *RECIPE.split())
            streaming, windowed = (
                charrnn("perplexity", run, str(tuned), "--json", *more)["total"]["nats_per_char"]
                for more in ([], ["--windowed", "256"])
            )
            minutes = trained["seconds"] / 60
            print(
                f"| {name} | `{options}` | {steps:,} | {minutes:.1f} | {streaming:.4f} | {windowed:.4f} |", flush=True
            )


def pieces(text: str) -> str:
    """The text, or pieces of it that have MAX_SCORED characters together: what one of them is about counts less."""
    if len(text) <= MAX_SCORED:
        return text
    starts = [len(text) * i // NUM_PIECES for i in range(NUM_PIECES)]
    return "".join(text[start : start + MAX_SCORED // NUM_PIECES] for start in starts)


def charrnn(*arguments: str) -> dict:
    """What a command prints as JSON."""
    command = [sys.executable, "-m", "charrnn", *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
