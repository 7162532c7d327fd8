"""Models under faults of the file system: at any instant the old one or the new one is there, and whole."""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fault_fs import FaultFS

from charrnn.errors import OutputError
from charrnn.files import remove_stale
from charrnn.models.settings import ModelSettings
from charrnn.storage.metrics import MetricsLog, read_metrics
from charrnn.storage.model_file import ModelFile, read_model, write_model
from charrnn.text.vocab import Vocab

# Writes model number 2 over number 1, with a fault at a call of the os module when asked.
WRITER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1].split(":")
from fault_fs import FaultFS
from test_fault import numbered
from charrnn.storage.model_file import write_model
path, fault, strike_at = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
model = numbered(2)
with FaultFS(strike_at, fault=fault).installed():
    write_model(path, model)
print("written")
"""


def numbered(number):
    vocab = Vocab.of_text("ab\n")
    settings = ModelSettings(vocab_size=vocab.size, cell="rnn", hidden_size=4)
    shapes = settings.parameter_shapes()
    weights = {name: np.full(shape, number, np.float32) for name, shape in shapes.items()}
    return ModelFile(settings, vocab, weights, {"number": number})


def number_of(path):
    """The number of the model at ``path``, whose every part must agree."""
    model = read_model(path)
    for weight in model.weights.values():
        np.testing.assert_array_equal(weight, model.facts["number"])
    return model.facts["number"]


def writer(path, *, fault="fail", strike_at=0, under=()):
    here = Path(__file__).parent
    places = ":".join([str(here), *(p for p in sys.path if p)])
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*under, sys.executable, "-c", WRITER, places, str(path), fault, str(strike_at)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "run" / "model.safetensors"
    path.parent.mkdir()
    write_model(path, numbered(1))
    return path


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_whichever_call_fails_it_is_reported_and_a_model_stands_whole(stored, error):
    found = []
    for strike_at in range(1, 40):
        write_model(stored, numbered(1))
        with FaultFS(strike_at, error=error).installed() as fs:
            try:
                write_model(stored, numbered(2))
                told = False
            except OutputError:
                told = True
        assert told == fs.struck
        found.append(number_of(stored))
        assert [p.name for p in stored.parent.iterdir()] == [stored.name]
        if not fs.struck:
            break
    # open, write, fsync, close, replace leave the old; the directory's open, fsync, close come after; then all passes.
    assert found == [1] * 5 + [2] * 4


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_a_model_written_a_few_bytes_a_call_is_whole(stored, most):
    with FaultFS(most=most).installed() as fs:
        write_model(stored, numbered(2))
    assert number_of(stored) == 2
    assert fs.names.count("write") == -(-stored.stat().st_size // most)


@pytest.mark.parametrize("fault", ["kill", "kill-after"])
def test_killed_at_any_call_the_old_or_the_new_model_is_whole(stored, fault):
    found, left = [], 0
    for strike_at in range(1, 40):
        write_model(stored, numbered(1))
        process = writer(stored, fault=fault, strike_at=strike_at)
        found.append(number_of(stored))
        left += len(list(stored.parent.iterdir())) - 1
        remove_stale(stored.parent)
        assert [p.name for p in stored.parent.iterdir()] == [stored.name]
        if process.returncode == 0:
            break
        assert process.returncode == -9, process.stderr
    assert process.stdout == "written\n"
    old = 5 if fault == "kill" else 4  # calls up to the rename leave the old one
    assert found == [1] * old + [2] * (9 - old)
    assert left == 4


def traced(stored, log, *options):
    return writer(stored, under=["strace", "-qq", "-f", "-o", str(log), *options])


def test_killed_at_any_system_call_old_or_new_model_is_whole(stored, tmp_path):
    """No shim: strace kills at the call itself, wherever in the process it is made."""
    calls = ("openat", "write", "fsync", "close", "rename")
    log = tmp_path / "log"
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if traced(stored, log, "-e", f"trace={','.join(calls)}").returncode != 0:
        pytest.skip("strace may not trace here")
    # Which calls of each kind belong to the write: from the first that names the temporary file.
    seen, ours, begun = dict.fromkeys(calls, 0), [], False
    for line in log.read_text().splitlines():
        match = re.match(r"\d+\s+(\w+)\(", line)
        if match is None or match[1] not in seen:
            continue
        seen[match[1]] += 1
        begun = begun or ".tmp-" in line
        if begun and len(ours) < 8:
            ours.append((match[1], seen[match[1]]))
    assert [name for name, _ in ours] == ["openat", "write", "fsync", "close", "rename", "openat", "fsync", "close"]
    found, left = [], 0
    for name, number in ours:
        write_model(stored, numbered(1))
        process = traced(stored, log, "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}")
        assert process.returncode in (-9, 137), process.stderr
        found.append(number_of(stored))
        left += len(list(stored.parent.iterdir())) - 1
        remove_stale(stored.parent)
        assert [p.name for p in stored.parent.iterdir()] == [stored.name]
    # strace strikes as the call is entered: the rename that is struck is not made.
    assert found == [1] * 5 + [2] * 3
    assert left == 4


@contextmanager
def files_of_at_most(num_bytes):
    """No file grows beyond this, as on a full disk: the part that fits is written, then EFBIG (signal ignored)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_model_that_does_not_fit_leaves_the_old_one_whole(stored):
    needed = f"{stored.stat().st_size:,} bytes needed"
    with files_of_at_most(100), pytest.raises(OutputError, match=rf"File too large \({needed}, [\d,]+ bytes free\)"):
        write_model(stored, numbered(2))
    assert number_of(stored) == 1
    assert [p.name for p in stored.parent.iterdir()] == [stored.name]


def test_a_history_that_no_longer_fits_keeps_its_whole_lines(tmp_path):
    log = MetricsLog(tmp_path / "m", keep_until_step=0)
    with files_of_at_most(40):
        log.append({"step": 1})
        with pytest.raises(OutputError, match="File too large"):
            log.append({"step": 2, "nats": 1.25, "seconds": 3.5})
        log.append({"step": 3})
    log.close()
    assert (tmp_path / "m").stat().st_size == 40  # a torn line, which the next run cuts
    assert read_metrics(tmp_path / "m") == [{"step": 1}]
