"""Updates one by one: what each depends on, and what none may do."""

import math

import numpy as np
import pytest
import torch
from cells import CELLS
from tiny_run import ON_ONE_THREAD, make_task

from charrnn.training.checkpoint import Checkpoint
from charrnn.training.device import place
from charrnn.training.learner import Learner
from charrnn.training.settings import learning_rate_at
from charrnn.training.world import ALONE


def make_learner(task, **more):
    return Learner(task, placement=place(task.model, ON_ONE_THREAD), **{"weights": None, "world": ALONE, **more})


def learned(learner):
    """Copies of all but the averages and the interval."""
    tensors = learner.tensors()
    return {name: tensor for name, tensor in tensors.items() if name.startswith(("weight/", "mean/", "square/"))}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("num_layers", [1, 2], ids=["by kernels", "by torch"])
def test_a_gradient_that_is_not_finite_never_reaches_weights_or_moments(monkeypatch, num_layers):
    learner = make_learner(make_task(model={"num_layers": num_layers}, training={"steps": 6, "eval_every": 100}))
    compute = learner._set_gradients

    def spoiled(*window):
        found = compute(*window)
        if learner.step == 3:
            learner._model.output.weight.grad[0, 0] = math.nan
        return found

    monkeypatch.setattr(learner, "_set_gradients", spoiled)
    seen = []
    for _ in range(6):
        before = learned(learner)
        update = learner.update(num_steps=6)
        seen.append(not same(learned(learner), before))
        assert torch.isfinite(update.gradient_norm) == seen[-1]
    assert seen == [True, True, True, False, True, True]
    assert all(np.isfinite(tensor).all() for tensor in learner.tensors().values())
    assert all(np.isfinite(weight).all() for weight in learner.averaged_weights().values())


@pytest.mark.parametrize("cell", CELLS)
def test_the_tensors_are_those_that_a_checkpoint_expects(cell):
    task = make_task(model={"cell": cell, "num_layers": 2})
    learner = make_learner(task)
    learner.update(num_steps=12)
    checkpoint = Checkpoint({}, task.model, task.training, task.vocab, task.text, task.source, 1, 12, 1, None, 0, 0, {})
    found = {name: (tensor.dtype.name, tensor.shape) for name, tensor in learner.tensors().items()}
    assert found == checkpoint.expected()


@pytest.mark.parametrize("cell", CELLS)
def test_from_its_tensors_a_learner_goes_on_to_the_last_bit(cell):
    task = make_task(model={"cell": cell, "dropout": 0.3, "weight_dropout": 0.2}, training={"steps": 9})
    straight, stopped = make_learner(task), make_learner(task)
    for _ in range(4):
        straight.update(num_steps=9)
        stopped.update(num_steps=9)
    other = make_learner(task)
    other.restore(stopped.tensors(), step=4)
    torch.manual_seed(99)  # whatever else draws in between
    for _ in range(5):
        one, two = straight.update(num_steps=9), other.update(num_steps=9)
        assert torch.equal(one.loss, two.loss)
    assert other.step == straight.step == 9
    assert same(other.tensors(), straight.tensors())


def test_an_update_is_told_with_its_loss_norm_and_rate():
    task = make_task(training={"steps": 20, "learning_rate": 0.02})
    learner = make_learner(task)
    for step in range(5):
        update = learner.update(num_steps=20)
        assert update.learning_rate == learning_rate_at(step, task.training, num_steps=20)
        assert update.loss.dtype == torch.float64
        # Fresh weights know next to nothing of their symbols.
        assert 0.5 * math.log(task.vocab.size) < float(update.loss) < 2 * math.log(task.vocab.size)
        assert float(update.gradient_norm) > 0
    assert learner.symbols_per_update == 14
    # Each of two streams is the half of the text; windows of seven symbols pass over it from an offset of its own.
    assert learner.windows_per_epoch == pytest.approx(len(task.train_ids) / 14, abs=2)


def test_the_mean_loss_is_that_since_it_was_taken_last():
    learner = make_learner(make_task(training={"steps": 20}))
    assert math.isnan(learner.take_mean_loss())
    for count in (3, 1, 4):
        losses = [float(learner.update(num_steps=20).loss) for _ in range(count)]
        assert learner.take_mean_loss() == pytest.approx(sum(losses) / count, rel=1e-12)  # float64
    assert math.isnan(learner.take_mean_loss())


def test_a_loss_that_is_no_number_is_in_no_mean():
    learner = make_learner(make_task(training={"steps": 20}))
    first = float(learner.update(num_steps=20).loss)
    kept = learner._model.weights()["output.bias"].detach().clone()
    with torch.no_grad():
        learner._model.output.bias.fill_(math.nan)
    assert math.isnan(float(learner.update(num_steps=20).loss))
    with torch.no_grad():
        learner._model.output.bias.copy_(kept)
    assert np.isfinite(learner.tensors()["interval"]).all()
    second = float(learner.update(num_steps=20).loss)
    assert math.isfinite(second)  # the state began anew
    assert learner.take_mean_loss() == pytest.approx((first + second) / 2, rel=1e-12)


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_the_averaged_network_computes_with_the_averages(averaging):
    task = make_task(training={"steps": 9, "averaging": averaging})
    learner = make_learner(task)
    for _ in range(6):
        learner.update(num_steps=9)
    averages = learner.averaged_weights()
    for name, weight in learner.averaged().weights().items():
        np.testing.assert_array_equal(weight.numpy(), averages[name])
        exact = learner.tensors()[f"average/{name}"]
        wanted = exact.astype(np.float16).astype(np.float32) if exact.ndim > 1 else exact
        np.testing.assert_array_equal(averages[name], wanted)
        assert np.array_equal(exact, learner.tensors()[f"weight/{name}"]) == (averaging == 0)
    averages["output.bias"][:] = 7  # a copy
    assert not (learner.averaged_weights()["output.bias"] == 7).any()


def test_matrices_beyond_half_precision_are_kept_as_they_are():
    task = make_task()
    given = {name: torch.full(shape, 0.1) for name, shape in task.model.parameter_shapes().items()}
    given["output.weight"][0, 0] = 70000.0
    averages = make_learner(task, weights=given).averaged_weights()
    np.testing.assert_array_equal(averages["output.weight"], given["output.weight"])
    assert (averages["layers.0.weight_hh"] == np.float32(np.float16(0.1))).all()


def test_weights_to_start_from_take_the_place_of_fresh_ones():
    task = make_task()
    given = {name: torch.full(shape, 0.25) for name, shape in task.model.parameter_shapes().items()}
    learner = make_learner(task, weights=given)
    assert all((weight == 0.25).all() for weight in learner.averaged_weights().values())
    assert not same(learner.tensors(), make_learner(task).tensors())


def test_another_seed_draws_other_weights_and_windows():
    one, two = (make_learner(make_task(training={"steps": 9, "seed": seed})) for seed in (1, 2))
    assert not np.array_equal(one.tensors()["weight/output.weight"], two.tensors()["weight/output.weight"])
    assert float(one.update(num_steps=9).loss) != float(two.update(num_steps=9).loss)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_streams_begin_anew_at_the_share_of_windows_asked_for(monkeypatch, share):
    learner = make_learner(make_task(training={"steps": 80, "restart": share, "batch_size": 9, "eval_every": 80}))
    seen, compute = [], learner._set_gradients

    def spied(*window):
        seen.append((learner._state[0] == 0).all(dim=2)[0])
        return compute(*window)

    monkeypatch.setattr(learner, "_set_gradients", spied)
    for _ in range(80):
        learner.update(num_steps=80)
    within = torch.stack([zero for step, zero in enumerate(seen) if step % learner.windows_per_epoch])
    # Some 600 draws: three standard errors are 0.06.
    assert float(within.double().mean()) == pytest.approx(share, abs=0.06 if 0 < share < 1 else 0)
