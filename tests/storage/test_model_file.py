"""Models stored and read back; whatever was changed, cut or put in their place is refused in one line."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn.errors import InputError
from charrnn.models.settings import ModelSettings
from charrnn.storage import container
from charrnn.storage.model_file import ModelFile, read_model, write_model
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
@given(
    st.sampled_from(["rnn", "lstm", "gru"]), st.integers(1, 3), st.sampled_from(["one-hot", "embedding"]), st.booleans()
)
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


def test_every_truncation_is_refused(stored, tmp_path):
    data = stored.read_bytes()
    cut = tmp_path / "cut"
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        refused(cut)


def test_every_flipped_bit_is_noticed(stored, tmp_path):
    data = bytearray(stored.read_bytes())
    flipped = tmp_path / "flipped"
    rng = np.random.default_rng(1)
    for position in range(len(data)):
        mask = 1 << int(rng.integers(8))
        data[position] ^= mask
        flipped.write_bytes(data)
        refused(flipped)
        data[position] ^= mask


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
    ],
    ids=range(21),
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
