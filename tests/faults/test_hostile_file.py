"""Files that are damaged, forged or no checkpoint at all: one line, exit code 3, nothing executed, little memory."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from command import invoke, run
from tiny_run import make_task, make_trainer, never

from charrnn.errors import InputError
from charrnn.storage import container
from charrnn.storage.model_file import ModelFile, read_model, write_model
from charrnn.storage.training_file import TrainingFile, read_training, write_training
from charrnn.training.checkpoint import read_checkpoint

HOSTILE = [
    None, True, -1, 0, 1.5, 2**61, 1e308, "", "x" * 10_000, "\x1b[2J\n", "../../x", [], ["\x1b]0;x\x07"], {}, {"a": {}},
]  # fmt: skip


def refused(path, read):
    """Whether reading it is refused, in one line."""
    try:
        read(path)
    except InputError as error:
        return "\n" not in str(error)
    return False


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """The bytes of a training state, as few as can be: each of them is tried."""
    directory = tmp_path_factory.mktemp("small") / "run"
    task = make_task("ab\n" * 20, model={"cell": "rnn", "hidden_size": 1}, training={"steps": 2})
    list(make_trainer(task, directory).run(never))
    read_checkpoint(directory / "training.safetensors")  # it is whole
    return (directory / "training.safetensors").read_bytes()


def test_a_training_state_cut_at_any_byte_is_refused(state, tmp_path):
    path = tmp_path / "cut"
    path.write_bytes(state)
    for length in reversed(range(len(state))):
        os.truncate(path, length)
        assert refused(path, read_checkpoint), length


def test_a_training_state_with_any_one_byte_changed_is_refused(state, tmp_path):
    path = tmp_path / "changed"
    path.write_bytes(state)
    bits = np.random.default_rng(0).integers(0, 8, len(state))
    with path.open("r+b", buffering=0) as file:
        for place, bit in enumerate(bits):
            os.pwrite(file.fileno(), bytes([state[place] ^ 1 << int(bit)]), place)
            assert refused(path, read_checkpoint), (place, bit)
            os.pwrite(file.fileno(), state[place : place + 1], place)
    assert path.read_bytes() == state


def is_listed(run):
    """Whether the run is shown, whatever its files say, in one harmless line."""
    code, out, _ = invoke("runs", "--out", run.parent)
    assert json.loads(invoke("runs", run, "--json").out)
    return (code, len(out.splitlines()), "\x1b" in out) == (0, 2, False)


def leaves(value, path=()):
    """Paths of all values in nested JSON, inner ones too."""
    yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, (*path, key))
    elif isinstance(value, list) and value:
        yield from leaves(value[0], (*path, 0))


def with_value(facts, path, value):
    changed = json.loads(json.dumps(facts))
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def test_a_forged_training_state_with_any_fact_replaced_never_ends_unexpectedly(run_of, tmp_path):
    """The digest is right: only what the facts say is wrong."""
    path = run_of / "training.safetensors"
    file = read_training(path)
    num_taken = 0
    for place in leaves(file.facts):
        if not place:
            continue
        for value in HOSTILE:
            write_training(path, TrainingFile(file.tensors, with_value(file.facts, place, value)))
            assert is_listed(run_of)
            if refused(path, read_checkpoint):
                continue
            num_taken += 1
            code, out, err = invoke("train", "--resume", run_of, "--quiet", "--threads", "1")
            assert code in (2, 3), (place, value, out, err)  # the text of this run is not there to be found
            assert len(err.splitlines()) == 1, (place, value, err)
            assert "\x1b" not in err
    assert num_taken > 0  # some facts are free, as a name of a text is


@pytest.mark.long
def test_a_forged_model_with_any_fact_replaced_is_refused_or_works(run_of):
    path = run_of / "model.safetensors"
    data = path.read_bytes()
    whole = container.from_bytes(data, kind="model", name="model")
    tensors = {name: whole.array(name) for name in whole.entries}
    for place in leaves(whole.facts):
        if not place:
            continue
        for value in HOSTILE:
            path.unlink()  # a file written over goes to the disk at once, which takes long
            path.write_bytes(container.to_bytes(tensors, with_value(whole.facts, place, value), kind="model"))
            assert is_listed(run_of)
            for command in (["sample", run_of, "--length", "3"], ["inspect", run_of], ["verify", run_of]):
                code, _, err = invoke(*command)
                assert code in (0, 3), (place, value, err)
                assert "Traceback" not in err
                assert code == 0 or command[0] == "verify" or len(err.splitlines()) == 1


def test_a_file_that_shrank_since_it_was_opened_is_refused(run_of, monkeypatch):
    path = run_of / "model.safetensors"
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-100])

    def before(descriptor):
        return status

    monkeypatch.setattr(os, "fstat", before)
    with pytest.raises(InputError, match="damaged"):
        read_model(path)


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def forged(kind, path, run_of):
    """Writes a hostile file of a kind; returns what must not exist afterwards."""
    marker = str(path) + ".executed"
    model = read_model(run_of)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(marker)))
    elif kind == "zip of a pickle":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Payload(marker)))
    elif kind == "header of 2^63 bytes":
        path.write_bytes((2**63).to_bytes(8, "little") + b"{}" + b"\0" * 100)
    elif kind == "header of spaces":
        size = 100 << 20
        with path.open("wb") as file:
            file.write(size.to_bytes(8, "little") + b"{" + b" " * (size - 2) + b"}")
    elif kind == "deep JSON":
        deep = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
        path.write_bytes(len(deep).to_bytes(8, "little") + deep)
    elif kind == "a million tensors":
        header = ",".join(f'"{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(300_000))
        header = ("{" + header + "}").encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)
    elif kind == "a large file of zeros":
        with path.open("wb") as file:
            file.truncate(1 << 32)
    elif kind == "a large file with a good start":
        data = (run_of / "model.safetensors").read_bytes()
        with path.open("wb") as file:
            file.write(data)
            file.truncate(120 << 20)
    elif kind == "weights that are no numbers":
        weights = {name: np.full_like(weight, np.nan) for name, weight in model.weights.items()}
        write_model(path, ModelFile(model.settings, model.vocab, weights, {}))
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "cut short":
        path.write_bytes((run_of / "model.safetensors").read_bytes()[:-1])
    return marker


KINDS = [
    "pickle",
    "zip of a pickle",
    "header of 2^63 bytes",
    "header of spaces",
    "deep JSON",
    "a million tensors",
    "a large file of zeros",
    "a large file with a good start",
    "weights that are no numbers",
    "FIFO",
    "device",
    "cut short",
]
# Runs the command, then tells the most memory this process has held (kB): of itself alone, not of whoever forked it.
MEASURED = """
import sys
from pathlib import Path
from charrnn.__main__ import main
try:
    main()
except SystemExit as end:
    status = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(status, file=sys.stderr)
    raise
"""


@pytest.mark.parametrize("command", ["sample", "perplexity", "train"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_costs_one_line_and_little_memory(run_of, tmp_path, kind, command):
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc to read the memory from")
    directory = tmp_path / "run"
    directory.mkdir()
    name = "training" if command == "train" else "model"
    marker = forged(kind, directory / f"{name}.safetensors", run_of)
    more = {"sample": [], "perplexity": [__file__], "train": []}[command]
    arguments = ["train", "--resume", directory] if command == "train" else [command, directory, *more]
    ended = run(*arguments, fresh=True, program=("-c", MEASURED))
    message, memory = ended.err.splitlines()
    assert ended.code == 3, message
    assert message.startswith("charrnn: ")
    assert ended.out == ""
    assert int(memory) < 200_000
    assert not Path(marker).exists()
