"""The network against torch.nn stacked by hand, and its three recurrences against each other."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from charrnn.models.char_rnn import CharRNN, State
from charrnn.models.native.build import library, unavailable_reason
from charrnn.models.recurrence import UNROLLED, Backend
from charrnn.models.settings import ModelSettings

T, B, E, H, V = 3, 2, 5, 4, 7
SHAPES = [
    {"cell": cell, "num_layers": layers, "input": kind, "bias": bias}
    for cell in ("rnn", "lstm", "gru")
    for layers, kind, bias in ((1, "one-hot", True), (3, "embedding", True), (2, "one-hot", False))
]


def settings(**chosen):
    return ModelSettings(**{"vocab_size": V, "hidden_size": H, "embedding_size": E, **chosen})


def network(backend=UNROLLED, **chosen):
    model = CharRNN(settings(**chosen), backend).double()
    model.initialize(1)
    return model


def random_state(model):
    zero = model.zero_state(B)
    torch.manual_seed(5)
    return State(*(torch.randn_like(part) for part in zero))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_network_is_torch_nn_stacked(shape):
    model = network(**shape)
    ids, state = torch.randint(0, V, (T, B)), random_state(model)
    kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[shape["cell"]]
    outputs = torch.nn.functional.one_hot(ids, V).double()
    if shape["input"] == "embedding":
        outputs = model.embedding.weight[ids]
    for index, layer in enumerate(model.layers):
        oracle = kind(outputs.shape[-1], H, bias=shape["bias"]).double()
        oracle.load_state_dict({f"{name}_l0": value for name, value in layer.state_dict().items()})
        h = state.hidden[index][None]
        outputs, _ = oracle(outputs, (h, state.cell[index][None]) if shape["cell"] == "lstm" else h)
    expected = outputs @ model.output.weight.T + (model.output.bias if shape["bias"] else 0)
    logits, _ = model(ids, state)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-13)  # float64 rounding


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_torchs_fused_operators_and_the_unrolled_equations_agree_in_everything(shape):
    given = {}
    for path in ("unrolled", "fused"):
        model = network(Backend(path), **shape)
        state = State(*(part.requires_grad_() for part in random_state(model)))
        torch.manual_seed(6)
        logits, after = model(torch.randint(0, V, (T, B)), state)
        (logits.square().sum() + after.hidden.sum()).backward()
        given[path] = [logits, *after, state.hidden.grad, *(w.grad for w in model.weights().values())]
    for a, b in zip(given["unrolled"], given["fused"], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)  # float64 rounding through a backward pass


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_text_read_in_two_windows_gives_the_logits_of_one(cell):
    model = network(cell=cell, num_layers=2)
    ids = torch.randint(0, V, (2 * T, B))
    whole, end = model(ids, model.zero_state(B))
    first, between = model(ids[:T], model.zero_state(B))
    second, last = model(ids[T:], between)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(last.hidden, end.hidden, rtol=0, atol=1e-14)


def test_detaching_the_state_cuts_the_gradient_and_nothing_else():
    model = network()
    _, state = model(torch.randint(0, V, (T, B)), model.zero_state(B))
    cut = state.detach()
    assert torch.equal(cut.hidden, state.hidden)
    assert state.hidden.requires_grad
    assert not cut.hidden.requires_grad


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    first = network()
    torch.manual_seed(2)
    second = network()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    second.initialize(2)
    assert not torch.equal(first.output.weight, second.output.weight)


def test_an_lstm_starts_with_open_forget_gates():
    model = network(cell="lstm")
    layer = model.layers[0]
    forget = (layer.bias_ih + layer.bias_hh)[H : 2 * H]
    assert torch.equal(forget, torch.ones_like(forget))


def test_names_and_shapes_of_weights_are_those_the_settings_promise():
    for shape in SHAPES:
        model = network(**shape)
        found = {name: tuple(weight.shape) for name, weight in model.weights().items()}
        assert found == settings(**shape).parameter_shapes()
        assert set(found) == set(model.state_dict())
        assert sum(p.numel() for p in model.parameters()) == settings(**shape).num_parameters


def test_dropout_works_in_training_only():
    model = network(dropout=0.5)
    ids, state = torch.randint(0, V, (T, B)), model.zero_state(B)
    model.eval()
    assert torch.equal(model(ids, state)[0], model(ids, state)[0])
    model.train()
    assert not torch.equal(model(ids, state)[0], model(ids, state)[0])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("path", ["native", "fused", "unrolled"])
def test_recurrent_weights_dropped_in_training_get_no_gradient_and_come_back_in_evaluation(cell, path):
    if path == "native" and library() is None:
        pytest.skip(f"no kernels: {unavailable_reason()}")
    settings = ModelSettings(vocab_size=7, cell=cell, hidden_size=12, num_layers=2, weight_dropout=0.25)
    model = CharRNN(settings, Backend(path))
    model.initialize(0)
    ids = torch.randint(0, 7, (5, 3), generator=torch.Generator().manual_seed(1))
    state = State(*(torch.ones_like(part) for part in model.zero_state(3)))
    torch.manual_seed(2)
    dropped, _ = model.train()(ids, state)
    dropped.square().sum().backward()
    for name in ("layers.0.weight_hh", "layers.1.weight_hh"):
        gradient = model.weights()[name].grad
        # A share of exact zeros near the probability: 144 weights and more, three standard errors.
        share = float((gradient == 0).double().mean())
        assert share == pytest.approx(0.25, abs=3 * (0.25 * 0.75 / gradient.numel()) ** 0.5)
    plain = CharRNN(replace(settings, weight_dropout=0.0), Backend(path))
    plain.set_weights(model.weights())
    assert torch.equal(model.eval()(ids, state)[0], plain.eval()(ids, state)[0])
    assert not torch.equal(dropped, plain(ids, state)[0])
