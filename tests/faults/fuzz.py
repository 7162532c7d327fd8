"""The loader under a coverage-guided fuzzer (atheris), or under plain random changes where that is not installed.

    PYTHONPATH=tests/support python tests/faults/fuzz.py 60        for 60 seconds

Inputs begin as whole files and are changed; the digest is put right again, so that what lies behind it is reached.
Whatever comes, a file is refused by an error of charrnn's own, or taken, and then the model works.
"""

import hashlib
import random
import re
import sys
import tempfile
import time
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None:
    with atheris.instrument_imports(include=["charrnn"]):
        import charrnn.training.checkpoint  # noqa: F401 - and all that it imports
from cells import CELLS
from tiny_run import make_task, make_trainer, never

from charrnn.errors import CharRNNError
from charrnn.inference.generation import generate
from charrnn.inference.settings import GenerationSettings
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.storage.model_file import read_model
from charrnn.training.checkpoint import read_checkpoint

DIGEST = re.compile(rb'"digest":"[0-9a-f]{64}"')
MAX_WORK = 10_000  # weights of a model that is tried out


def main() -> None:
    """Fuzzes for the seconds given."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "input")
        seeds = Path(folder, "seeds")
        seeds.mkdir()
        for cell in CELLS:
            run = Path(folder, cell)
            task = make_task("ab ba\n" * 20, model={"cell": cell, "hidden_size": 2}, training={"steps": 2})
            list(make_trainer(task, run).run(never))
            for path in run.glob("*.safetensors"):
                Path(seeds, f"{cell}-{path.name}").write_bytes(path.read_bytes())
        if atheris is not None:
            limits = [
                f"-max_total_time={seconds}",
                f"-seed={seed}",
                "-rss_limit_mb=2000",
                "-timeout=20",
                "-max_len=20000",
            ]
            atheris.Setup([sys.argv[0], str(seeds), *limits], lambda data: take(data, place))
            atheris.Fuzz()  # ends the process
        _change_at_random([path.read_bytes() for path in seeds.iterdir()], place, seconds, random.Random(seed))


def take(data: bytes, place: Path) -> bool:
    """Reads ``data`` as a model and as a training state; whether it was taken as either."""
    data = with_digest(data)
    place.write_bytes(data)
    taken = False
    try:
        model = read_model(place)
        taken = True
        if model.settings.num_parameters <= MAX_WORK:
            network = NumpyNetwork(model.settings, model.weights)
            list(generate(network, model.vocab, GenerationSettings(length=3)))
    except CharRNNError as error:
        _check(error)
    try:
        read_checkpoint(place)
        taken = True
    except CharRNNError as error:
        _check(error)
    return taken


def _check(error: CharRNNError) -> None:
    """What the user is told is one line, and not a long one."""
    if "\n" in str(error) or len(str(error)) > 1000:
        raise RuntimeError(f"not a line for a user: {str(error)!r}")


def with_digest(data: bytes) -> bytes:
    """The bytes with the digest they should have, if they have one at all."""
    match = DIGEST.search(data)
    if match is None:
        return data
    begin = match.end() - 65
    data = data[:begin] + b"0" * 64 + data[begin + 64 :]
    return data[:begin] + hashlib.sha256(data).hexdigest().encode() + data[begin + 64 :]


def _change_at_random(seeds: list[bytes], place: Path, seconds: float, rng: random.Random) -> None:
    """Bytes flipped, cut, doubled and exchanged for the pieces of JSON that break parsers."""
    pieces = [b"null", b"-1", b"1e999", b"NaN", b"[]", b"{}", b'""', b"9" * 30, b"\\ud800", b'"a":1,"a":2', b"[" * 50]
    ends_at, count, num_taken = time.monotonic() + seconds, 0, 0
    while time.monotonic() < ends_at:
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            kind = rng.randrange(4)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del data[at : at + rng.randrange(1, 20)]
            elif kind == 2:
                data[at:at] = rng.choice(pieces)
            else:
                data[at : at + rng.randrange(1, 9)] = rng.choice(pieces)
            if not data:
                break
        num_taken += take(bytes(data), place)
        count += 1
    print(f"Done {count} runs in {seconds} second(s), {num_taken} taken; atheris is not installed")


if __name__ == "__main__":
    main()
