"""Models stored and read back; whatever was changed, cut or put in their place is refused in one line."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cells import CELLS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn.errors import InputError, OutputError
from charrnn.models.settings import ModelSettings
from charrnn.storage import container
from charrnn.storage.model_file import ModelFile, read_model, write_model
from charrnn.storage.training_file import TrainingFile, read_training, write_training
from charrnn.text.vocab import Vocab

in_any_directory = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def small_model(seed=0, **shape):
    vocab = Vocab.of_text("ab\n")
    model = ModelSettings(vocab_size=vocab.size, **{"hidden_size": 2, "cell": "rnn", **shape})
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(size=s).astype(np.float32) for name, s in model.parameter_shapes().items()}
    return ModelFile(model, vocab, weights, {"step": 3, "score": 1.5})


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "model.safetensors"
    write_model(path, small_model())
    return path


def refused(path):
    with pytest.raises(InputError) as caught:
        read_model(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@in_any_directory
@given(st.sampled_from(CELLS), st.integers(1, 3), st.sampled_from(["one-hot", "embedding"]), st.booleans())
def test_a_model_comes_back_as_it_was_written(tmp_path, cell, layers, kind, bias):
    model = small_model(cell=cell, num_layers=layers, input=kind, bias=bias, embedding_size=5)
    write_model(tmp_path / "m", model)
    found = read_model(tmp_path / "m")
    assert (found.settings, found.vocab, found.facts) == (model.settings, model.vocab, model.facts)
    for name, weight in model.weights.items():
        np.testing.assert_array_equal(found.weights[name], weight)


def test_the_same_model_gives_the_same_bytes_and_the_library_reads_them(stored, tmp_path):
    from safetensors.numpy import load_file

    write_model(tmp_path / "again", small_model())
    assert (tmp_path / "again").read_bytes() == stored.read_bytes()
    np.testing.assert_array_equal(load_file(stored)["output.weight"], small_model().weights["output.weight"])


def test_a_run_directory_stands_for_its_model(stored):
    assert read_model(stored.parent).facts["step"] == 3


def test_every_truncation_is_refused(stored):
    for length in reversed(range(stored.stat().st_size)):
        os.truncate(stored, length)
        refused(stored)


def test_every_flipped_bit_is_noticed(stored):
    data = stored.read_bytes()
    with stored.open("r+b", buffering=0) as file:
        for place, byte in enumerate(data):
            for mask in (1, 2, 4, 8, 16, 32, 64, 128):
                os.pwrite(file.fileno(), bytes([byte ^ mask]), place)
                refused(stored)
            os.pwrite(file.fileno(), bytes([byte]), place)
    assert stored.read_bytes() == data


def test_bytes_after_the_end_are_refused(stored):
    stored.write_bytes(stored.read_bytes() + b"\0")
    refused(stored)


class Marker:
    """Leaves a mark wherever it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_are_never_opened_whatever_they_are_called_or_wrapped_in(tmp_path):
    import pickle

    mark = str(tmp_path / "executed")
    payload = pickle.dumps(Marker(mark))
    (tmp_path / "a.safetensors").write_bytes(payload)
    (tmp_path / "b.safetensors").write_bytes(pickle.dumps(Marker(mark), protocol=0))
    with zipfile.ZipFile(tmp_path / "c.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", payload)
    for name in "abc":
        refused(tmp_path / f"{name}.safetensors")
    assert not Path(mark).exists()


def with_header(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def signed(metadata, entries, data=b""):
    """A file with a right digest, so that what is refused is what it says."""
    header = {"__metadata__": {"digest": "0" * 64, **metadata}, **entries}
    raw = bytearray(with_header(header, data))
    where = raw.index(b"0" * 64)
    import hashlib

    raw[where : where + 64] = hashlib.sha256(raw).hexdigest().encode()
    return bytes(raw)


def facts_of(model, **changed):
    facts = {"settings": model.settings.to_json(), "vocab": model.vocab.to_json(), "facts": {}}
    return json.dumps({**facts, **changed})


PLAIN = {"format": "charrnn", "version": "1", "kind": "model"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        (2**63).to_bytes(8, "little") + b"{}",
        with_header({}),
        with_header({"__metadata__": {"format": "pt"}}),
        with_header(b"{" + b" " * 1000),
        with_header(b'{"a":' * 50_000),
        with_header(b'{"__metadata__":{"format":"charrnn","version":' + b"9" * 5000 + b"}}"),
        with_header(b'{"__metadata__":{"format":"charrnn"},"__metadata__":{}}'),
        with_header(b'{"__metadata__":{"format":"charrnn","version":NaN}}'),
        with_header(b'{"__metadata__":{"format":"\\ud800"}}'),
        with_header({"__metadata__": {**PLAIN, "version": "3", "facts": "{}", "digest": "0" * 64}}),
        signed({**PLAIN, "facts": "[]"}, {}),
        signed({**PLAIN, "facts": "{}"}, {}),
        signed({**PLAIN, "kind": "training", "facts": "{}"}, {}),
        signed({**PLAIN, "facts": "{}"}, {"w": {"dtype": "F32", "shape": [0, 2**61], "data_offsets": [0, 0]}}),
        signed({**PLAIN, "facts": "{}"}, {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        signed({**PLAIN, "facts": "{}"}, {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"\0" * 4),
        signed({**PLAIN, "facts": "{}"}, {"w": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        signed({**PLAIN, "facts": "{}"}, {"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8),
        signed({**PLAIN, "facts": "{}"}, {"w": 3}),
        signed({**PLAIN, "facts": "{}"}, {"w": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        signed({**PLAIN, "facts": "{}"}, {"w": {"dtype": "F32", "shape": [2**61] * 9, "data_offsets": [0, 0]}}),
        signed({**PLAIN, "kind": "\x1b]52;c\n", "facts": "{}"}, {}),
        signed({**PLAIN, "kind": {}, "facts": "{}"}, {}),
        signed({**PLAIN, "facts": '{"a":' + "9" * 4000 + "}"}, {}),
        signed({**PLAIN, "facts": '{"a":-9223372036854775809}'}, {}),
        signed({**PLAIN, "facts": '{"a":1e400}'}, {}),
        signed({**PLAIN, "facts": '{"a":"\\ud800"}'}, {}),
        signed({**PLAIN, "facts": "[" * 40 + "]" * 40}, {}),
        signed(
            {**PLAIN, "facts": "{}"},
            {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(5000)},
        ),
    ],
    ids=range(31),
)
def test_files_that_only_look_like_models_are_refused(tmp_path, data):
    (tmp_path / "odd").write_bytes(data)
    refused(tmp_path / "odd")


def test_a_header_larger_than_any_models_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "MAX_HEADER_BYTES", 100)
    (tmp_path / "odd").write_bytes(with_header(b"{" + b" " * 200))
    assert "claims 201 bytes" in refused(tmp_path / "odd")


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"settings": {"vocab_size": 3}}, "model settings"),
        ({"settings": {**small_model().settings.to_json(), "hidden_size": 2**31}}, "hidden_size"),
        (
            {"settings": {**small_model().settings.to_json(), "hidden_size": 3}},
            r"layers.0.weight_ih is float32 \[2, 3\]",
        ),
        ({"settings": {**small_model().settings.to_json(), "num_layers": 2}}, "layers.1.weight_ih is missing"),
        ({"vocab": {"level": "char", "symbols": [1, 2]}}, "vocabulary has 2 symbols, the model 3"),
        ({"vocab": None}, "vocabulary"),
        ({"facts": 3}, "facts"),
    ],
)
def test_facts_that_do_not_fit_the_tensors_are_refused_with_the_difference(tmp_path, changed, word):
    model = small_model()
    facts = json.loads(facts_of(model, **changed))
    (tmp_path / "odd").write_bytes(container.to_bytes(model.weights, facts, kind="model"))
    with pytest.raises(InputError, match=word):
        read_model(tmp_path / "odd")


def test_weights_that_are_not_finite_are_refused_unless_asked_for(tmp_path):
    model = small_model()
    model.weights["output.weight"][0, 0] = np.nan
    write_model(tmp_path / "m", model)
    assert "not finite" in refused(tmp_path / "m")
    assert np.isnan(read_model(tmp_path / "m", allow_nonfinite=True).weights["output.weight"][0, 0])


def test_numbers_that_json_cannot_hold_become_null(tmp_path):
    model = small_model()
    write_model(tmp_path / "m", ModelFile(model.settings, model.vocab, model.weights, {"a": [np.inf, {"b": np.nan}]}))
    assert read_model(tmp_path / "m").facts == {"a": [None, {"b": None}]}


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path / "missing", tmp_path):
        refused(path)


def test_a_directory_of_runs_names_them(stored):
    stored.parent.joinpath("run").mkdir()
    stored.rename(stored.parent / "run" / "model.safetensors")
    assert "name one of them: run" in refused(stored.parent)


@pytest.mark.parametrize("path", ["x" * 300, "a\0b"])
def test_a_path_that_no_file_can_have_is_refused(path):
    refused(path)


def test_names_found_in_a_directory_are_shown_inert(tmp_path):
    (tmp_path / "a\x1b[2J").touch()
    assert "\x1b" not in refused(tmp_path)


def test_a_run_that_has_no_model_yet_says_how_to_go_on(tmp_path):
    (tmp_path / "training.safetensors").touch()
    assert "--resume" in refused(tmp_path)


def test_a_hostile_value_is_quoted_no_longer_than_a_line(tmp_path):
    model = small_model()
    facts = json.loads(facts_of(model, settings={**model.settings.to_json(), "cell": "x" * 100_000}))
    (tmp_path / "odd").write_bytes(container.to_bytes(model.weights, facts, kind="model"))
    refused(tmp_path / "odd")


def test_a_huge_shape_without_elements_is_refused_before_an_array_is_made(tmp_path):
    entries = {"w": {"dtype": "F32", "shape": [0, 2**32, 2**32, 2**32], "data_offsets": [0, 0]}}
    (tmp_path / "odd").write_bytes(signed({**PLAIN, "kind": "training", "facts": "{}"}, entries))
    with pytest.raises(InputError, match="size of its shape"):
        read_training(tmp_path / "odd")


def test_names_that_are_no_utf8_are_kept_as_escapes_and_come_back(tmp_path):
    model = small_model()
    write_model(tmp_path / "m", ModelFile(model.settings, model.vocab, model.weights, {"names": ["caf\udce9"]}))
    assert read_model(tmp_path / "m").facts == {"names": ["caf\\udce9"]}


@pytest.mark.parametrize(
    "facts", [{"seed": 2**63}, {"names": [f"text-{i}" for i in range(250_000)]}], ids=["int", "many"]
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, facts):
    model = small_model()
    write_model(tmp_path / "m", model)
    with pytest.raises(OutputError, match="fewer"):
        write_model(tmp_path / "m", ModelFile(model.settings, model.vocab, model.weights, facts))
    assert read_model(tmp_path / "m").facts == model.facts


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab\\"\n', max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), json_values, max_size=4))
def test_any_plain_facts_come_back(facts):
    data = container.to_bytes({"w": np.arange(3.0)}, facts, kind="training")
    found = container.from_bytes(data, kind="training", name="m")
    assert found.facts == facts
    np.testing.assert_array_equal(found.array("w"), [0, 1, 2])


odd_values = st.none() | st.booleans() | st.integers(-2, 9) | st.sampled_from([2**32, 2**61, 2**64, 1.5, "F32", "F16"])
odd_lists = odd_values | st.lists(odd_values, max_size=4)


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.fixed_dictionaries({"dtype": odd_lists, "shape": odd_lists, "data_offsets": odd_lists}),
        max_size=3,
    )
)
def test_whatever_a_header_claims_it_is_taken_whole_or_refused(entries):
    data = signed({**PLAIN, "facts": "{}"}, entries, bytes(8))
    try:
        found = container.from_bytes(data, kind="model", name="odd")
    except InputError:
        return
    assert sum(found.array(name).nbytes for name in found.entries) == 8


def test_a_training_file_with_other_tensors_or_numbers_is_refused(tmp_path):
    path = tmp_path / "training.safetensors"
    write_training(path, TrainingFile({"a": np.ones(2, np.float32), "b": np.array([np.nan])}, {"step": 1}))
    file = read_training(path)
    with pytest.raises(InputError, match=r"c is missing; 'b' is not part of it"):
        file.check(path, {"a": ("float32", (2,)), "c": ("float32", ())})
    with pytest.raises(InputError, match=r"not finite \(b\)"):
        file.check(path, {"a": ("float32", (2,)), "b": ("float64", (1,))})
    with pytest.raises(InputError, match="is a training file"):
        read_model(path)
    with pytest.raises(InputError, match="no run to resume"):
        read_training(tmp_path / "other" / "training.safetensors")


READER = """
import resource, sys
sys.path[:0] = sys.argv[1].split(":")
from charrnn.errors import InputError
from charrnn.storage.model_file import read_model
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for path in sys.argv[2:]:
    try:
        read_model(path)
        print("READ", path)
    except InputError:
        pass
# Not ru_maxrss, which begins with what the parent held.
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_hostile_files_cost_little_memory(tmp_path):
    most = container.MAX_HEADER_BYTES
    claims = {
        "spaces": with_header(b"{" + b" " * (100 << 20)),
        "lists": with_header(b'{"a":[' + b"[]," * ((most - 20) // 3) + b"0]}"),
        "floats": with_header(b'{"a":[' + b"1e1," * ((most - 20) // 4) + b"0]}"),
        "keys": with_header(b"{" + b",".join(b'"%07d":0' % i for i in range(most // 13)) + b"}"),
        "deep": with_header(b'{"a":' * 200_000),
        "string": with_header(b'{"a":"' + b"\\u00e9" * (most // 6 - 20)),
        "length": (2**63).to_bytes(8, "little") + b"{}",
    }
    paths = []
    for name, data in claims.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    for name, start in {"hollow": b"", "hollow-header": (100).to_bytes(8, "little") + b"{}"}.items():
        paths.append(tmp_path / name)
        with paths[-1].open("wb") as file:
            file.write(start)
            file.truncate(8 << 30)  # no block of it is on disk
    os.mkfifo(tmp_path / "pipe")
    command = [sys.executable, "-c", READER, ":".join(p for p in sys.path if p)]
    process = subprocess.run(
        [*command, *map(str, paths), str(tmp_path / "pipe"), "/dev/zero"],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) < 200 * 1024  # kB; nothing else is printed: every file was refused
