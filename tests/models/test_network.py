"""The network against torch.nn stacked by hand."""

import math

import numpy as np
import pytest
import torch
from cells import CELLS, OF_TORCH, torch_layer
from small_network import SHAPES, B, H, T, V, name_of, plain_logits, shape_of

from charrnn.models.cells import CELLS as TABLE
from charrnn.models.layer import UNROLLED
from charrnn.models.network import CharRNN, TorchNetwork

FORMS = [
    {"num_layers": layers, "input": kind, "bias": bias}
    for layers, kind, bias in ((1, "one-hot", True), (3, "embedding", True), (2, "one-hot", False))
]


def network(settings, **options):
    model = CharRNN(settings, UNROLLED, **options).double()
    model.initialize(1)
    return model


def random_state(model):
    torch.manual_seed(5)
    return model.zero_state(B).map(torch.randn_like)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("cell", OF_TORCH)
def test_the_network_is_torch_nn_stacked(cell, form):
    model = network(shape_of(cell=cell, **form))
    ids, state = torch.randint(0, V, (T, B)), random_state(model)
    outputs = torch.nn.functional.one_hot(ids, V).double()
    if form["input"] == "embedding":
        outputs = model.embedding.weight[ids]
    for index, layer in enumerate(model.layers):
        oracle = torch_layer(cell, outputs.shape[-1], H, bias=form["bias"]).double()
        oracle.load_state_dict({f"{name}_l0": value for name, value in layer.state_dict().items()})
        first = tuple(part[None] for part in state.of_layer(index))
        outputs, _ = oracle(outputs, first if len(first) > 1 else first[0])
    expected = outputs @ model.output.weight.T + (model.output.bias if form["bias"] else 0)
    logits, _ = model(ids, state)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-13)  # float64 rounding


@pytest.mark.parametrize("settings", SHAPES, ids=name_of)
def test_the_network_follows_the_equations_written_out_plainly(settings):
    model = network(settings)
    ids = np.random.default_rng(1).integers(0, V, (T, B))
    logits, _ = model(torch.from_numpy(ids), model.zero_state(B))
    weights = {name: w.detach().numpy() for name, w in model.weights().items()}
    for stream in range(B):
        expected = plain_logits(settings, weights, ids[:, stream].tolist())
        np.testing.assert_allclose(logits[:, stream].detach(), expected, rtol=0, atol=1e-13)  # float64 rounding


@pytest.mark.parametrize("cell", CELLS)
def test_a_text_read_in_two_windows_gives_the_logits_of_one(cell):
    model = network(shape_of(cell=cell, num_layers=2))
    ids = torch.randint(0, V, (2 * T, B))
    whole, end = model(ids, model.zero_state(B))
    first, between = model(ids[:T], model.zero_state(B))
    second, last = model(ids[T:], between)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-14)
    for found, expected in zip(last, end, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_detaching_the_state_cuts_the_gradient_and_nothing_else(cell):
    model = network(shape_of(cell=cell))
    _, state = model(torch.randint(0, V, (T, B)), model.zero_state(B))
    cut = state.map(torch.Tensor.detach)
    for part, whole in zip(cut, state, strict=True):
        assert torch.equal(part, whole)
        assert whole.requires_grad
        assert not part.requires_grad


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    first = network(shape_of())
    torch.manual_seed(2)
    second = network(shape_of())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    second.initialize(2)
    assert not torch.equal(first.output.weight, second.output.weight)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_start_as_the_cells_entry_says(cell):
    entry = TABLE[cell]
    settings = shape_of(cell=cell, num_layers=2, hidden_size=25, vocab_size=90)
    model = CharRNN(settings, UNROLLED)
    model.initialize(3)
    bound = 1 / math.sqrt(25)
    started = dict(entry.initial_bias)
    model.requires_grad_(False)
    for index, layer in enumerate(model.layers):
        one_hot = entry.one_hot_bound if index == 0 else None
        # Of 2,250 and more uniform draws the largest comes within a hundredth of the bound.
        assert float(layer.weight_ih.abs().max()) == pytest.approx(one_hot or bound, rel=0.01)
        assert float(layer.weight_hh.abs().max()) == pytest.approx(bound, rel=0.01)
        biases = (layer.bias_ih + layer.bias_hh).reshape(-1, 25)
        for gate, bias in enumerate(biases):
            if gate in started:
                assert torch.equal(bias, torch.full_like(bias, started[gate]))
            else:
                assert 0 < float(bias.abs().max()) <= 2 * bound


def test_an_lstm_starts_with_open_forget_gates():
    model = network(shape_of(cell="lstm"))
    layer = model.layers[0]
    forget = (layer.bias_ih + layer.bias_hh)[H : 2 * H]
    assert torch.equal(forget, torch.ones_like(forget))


@pytest.mark.parametrize("settings", SHAPES, ids=name_of)
def test_names_and_shapes_of_weights_are_those_the_settings_promise(settings):
    model = network(settings)
    found = {name: tuple(weight.shape) for name, weight in model.weights().items()}
    assert found == settings.parameter_shapes()
    assert set(found) == set(model.state_dict())
    assert sum(p.numel() for p in model.parameters()) == settings.num_parameters
    assert [part.shape for part in model.zero_state(B)] == list(settings.state_shapes(B).values())


def test_dropout_works_in_training_only():
    model = network(shape_of(), dropout=0.5)
    ids, state = torch.randint(0, V, (T, B)), model.zero_state(B)
    model.eval()
    assert torch.equal(model(ids, state)[0], model(ids, state)[0])
    model.train()
    first = model(ids, state, noise=1)[0]
    assert torch.equal(first, model(ids, state, noise=1)[0])
    assert not torch.equal(first, model(ids, state, noise=2)[0])


def test_as_a_predictor_the_network_is_left_in_evaluation_mode_without_gradients():
    model = network(shape_of(cell="gru"), dropout=0.5, weight_dropout=0.5).train()
    predictor = TorchNetwork(model)
    assert not model.training
    ids = np.array([1, 3])
    logits, state = predictor.step(ids, predictor.zero_state(2))
    np.testing.assert_array_equal(logits, predictor.step(ids, predictor.zero_state(2))[0])
    assert not any(part.requires_grad for part in state)


@pytest.mark.parametrize(("limit", "value"), [("_LOGITS_AT_ONCE", 60), ("_ROWS_AT_ONCE", 9)])
def test_long_texts_are_scored_in_blocks_without_a_change(monkeypatch, limit, value):
    predictor = TorchNetwork(network(shape_of(cell="lstm", num_layers=2)))
    ids = np.random.default_rng(4).integers(0, V, (41, 3))
    whole, state = predictor.score(ids[:-1], ids[1:], predictor.zero_state(3))
    monkeypatch.setattr(f"charrnn.models.network.{limit}", value)
    blocks, blocks_state = predictor.score(ids[:-1], ids[1:], predictor.zero_state(3))
    np.testing.assert_allclose(blocks, whole, rtol=1e-6)  # logits in float32
    for found, expected in zip(blocks_state, state, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)  # float64 products of other heights
