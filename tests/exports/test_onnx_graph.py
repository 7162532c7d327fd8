"""Graphs run by onnxruntime, which shares no code with charrnn."""

import json
import sys

import numpy as np
import pytest
from small_network import SHAPES, B, V, name_of, plain_logits, random_weights, shape_of

from charrnn.errors import InputError, OutputError, SettingsError
from charrnn.exports import onnx_graph
from charrnn.exports.onnx_graph import OPSET, onnx_bytes
from charrnn.models.settings import ModelSettings
from charrnn.models.shape import shape_from_json
from charrnn.storage.model_file import ModelFile
from charrnn.text.vocab import Vocab

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")

VOCAB = Vocab.of_text("\nabcdef")
IDS = np.random.default_rng(1).integers(0, V, (40, B))


def model_of(settings, vocab=VOCAB, **more):
    return ModelFile(settings, vocab, random_weights(settings, **more), {})


def session_of(model):
    return onnxruntime.InferenceSession(onnx_bytes(model, version="1"), providers=["CPUExecutionProvider"])


def zero_state(settings, num_streams):
    shapes = settings.state_shapes(num_streams)
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def run(session, ids, state):
    """What the graph gives: logits, probabilities, and the state by the names of the inputs."""
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"ids": ids, **state}), strict=True))
    return found["logits"], found["probabilities"], {name: found[f"next_{name}"] for name in state}


@pytest.mark.parametrize("settings", SHAPES, ids=name_of)
def test_onnxruntime_gives_the_same_probabilities(settings):
    model = model_of(settings)
    session = session_of(model)
    state = zero_state(settings, B)
    expected = [plain_logits(settings, model.weights, column) for column in IDS.T]
    for t, ids in enumerate(IDS):
        logits, probabilities, state = run(session, ids, state)
        for stream in range(B):
            z = expected[stream][t]
            p = np.exp(z - z.max())
            # float32 against float64: a step is good to some 1e-7, and forty of them lose little.
            assert probabilities[stream] == pytest.approx(p / p.sum(), abs=1e-5)
            assert logits[stream] == pytest.approx(z, abs=1e-4)


@pytest.mark.parametrize("settings", SHAPES, ids=name_of)
def test_onnxruntime_writes_the_same_greedy_text(settings, tmp_path):
    import charrnn
    from charrnn.storage.model_file import write_model

    model = model_of(settings, seed=3)
    write_model(tmp_path / "m.safetensors", model)
    session = session_of(model)
    state = zero_state(settings, 1)
    text = "abc"
    for id_ in VOCAB.encode(text)[:-1]:
        _, _, state = run(session, np.array([id_], np.int64), state)
    for _ in range(60):
        logits, _, state = run(session, VOCAB.encode(text)[-1:].astype(np.int64), state)
        text += VOCAB.symbols[logits[0].argmax()]
    assert text == "abc" + charrnn.load(tmp_path / "m.safetensors").sample("abc", length=60, temperature=0)[0]


def test_an_embedding_too_large_to_fold_is_read_from_its_own_table(monkeypatch):
    settings = shape_of(input="embedding")
    folded = onnx.load_from_string(onnx_bytes(model_of(settings), version="1"))
    monkeypatch.setattr(ModelSettings, "folds_input", False)
    model = model_of(settings)
    plain = onnx.load_from_string(onnx_bytes(model, version="1"))
    rows = [next(each for each in g.graph.initializer if each.name == "rows").dims for g in (folded, plain)]
    assert [list(dims) for dims in rows] == [[V, 4 * settings.hidden_size], [V, settings.embedding_size]]
    session = onnxruntime.InferenceSession(plain.SerializeToString(), providers=["CPUExecutionProvider"])
    logits, _, _ = run(session, IDS[0, :1], zero_state(settings, 1))
    assert logits[0] == pytest.approx(plain_logits(settings, model.weights, IDS[0, :1])[0], abs=1e-5)


@pytest.mark.parametrize("vocab", [VOCAB, Vocab.bytes()], ids=["characters", "bytes"])
def test_the_metadata_hold_vocabulary_and_settings(vocab):
    settings = shape_of(vocab_size=vocab.size, cell="gru", num_layers=2)
    proto = onnx.load_from_string(onnx_bytes(model_of(settings, vocab), version="4.5"))
    told = {each.key: each.value for each in proto.metadata_props}
    assert Vocab.from_json(json.loads(told["vocab"])) == vocab
    assert shape_from_json(json.loads(told["settings"])) == settings
    assert told["start_text"] == "\n"
    assert told["title"] == settings.title
    assert (proto.producer_name, proto.producer_version) == ("charrnn", "4.5")
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", OPSET)]


def test_inputs_and_outputs_have_the_names_and_shapes_that_are_documented():
    session = session_of(model_of(shape_of(num_layers=3)))
    state = [3, "streams", 4]
    assert [(each.name, each.type, each.shape) for each in session.get_inputs()] == [
        ("ids", "tensor(int64)", ["streams"]),
        ("hidden", "tensor(float)", state),
        ("cell", "tensor(float)", state),
    ]
    assert [(each.name, each.shape) for each in session.get_outputs()] == [
        ("logits", ["streams", V]),
        ("probabilities", ["streams", V]),
        ("next_hidden", state),
        ("next_cell", state),
    ]


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingsError, match="pip install onnx"):
        onnx_bytes(model_of(shape_of()), version="1")


def test_what_is_no_network_or_too_large_is_refused(monkeypatch):
    from charrnn.models.shape import MixtureSettings

    member = shape_of()
    mixture = ModelFile(MixtureSettings((member, member)), VOCAB, {}, {})
    with pytest.raises(InputError, match="an ONNX graph needs a network"):
        onnx_bytes(mixture, version="1")
    monkeypatch.setattr(onnx_graph, "_MAX_BYTES", 100)
    with pytest.raises(OutputError, match="at most 100"):
        onnx_bytes(model_of(member), version="1")
