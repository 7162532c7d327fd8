"""Units are found by correlation, and judged on text that had no say in the choice."""

import numpy as np
import pytest

from charrnn.explaining.unit import FoundUnit, Sums, Unit, balanced_accuracy, best_threshold, choose


def test_correlations_in_parts_are_those_of_the_whole():
    random = np.random.default_rng(0)
    values = random.standard_normal((500, 4)).astype(np.float32)
    values[:, 1] += 5
    features = random.random((500, 3)) < 0.3
    values[:, 2] += features[:, 1]
    values[:, 3] = 0.7  # a unit that never moves
    sums = Sums(4, 3)
    for begin in range(0, 500, 130):
        sums.add(values[begin : begin + 130], features[begin : begin + 130].astype(np.float32))
    found = sums.correlations()
    expected = np.corrcoef(values[:, :3].astype(np.float64), features.astype(float), rowvar=False)[:3, 3:]
    np.testing.assert_allclose(found[:3], expected, rtol=0, atol=1e-10)  # float64 sums of 500
    assert (found[3] == 0).all()


def test_the_closest_state_and_the_closest_gate_are_chosen():
    units = [Unit(0, "hidden", 0), Unit(0, "cell", 1), Unit(0, "forget", 0), Unit(1, "hidden", 2)]
    correlations = np.array([[0.3, 0.1], [-0.9, 0.1], [0.5, -0.4], [0.2, 0.15]])
    assert choose(correlations, units, least=0.2) == [(1, 0), (2, 0), (2, 1)]


@pytest.mark.parametrize("rises", [True, False])
def test_the_threshold_is_the_best_of_all(rises):
    random = np.random.default_rng(4)
    is_true = random.random(200) < 0.2
    values = random.standard_normal(200) + (2 if rises else -2) * is_true
    threshold = best_threshold(values, is_true, rises=rises)
    found = balanced_accuracy(values, is_true, threshold=threshold, rises=rises)
    ordered = np.sort(values)
    every = (ordered[1:] + ordered[:-1]) / 2
    assert found == max(balanced_accuracy(values, is_true, threshold=each, rises=rises) for each in every)
    assert 0.8 < found < 1


def test_values_that_are_all_the_same_tell_nothing():
    is_true = np.array([True, False, False])
    threshold = best_threshold(np.ones(3), is_true, rises=True)
    assert balanced_accuracy(np.ones(3), is_true, threshold=threshold, rises=True) == 0.5


def test_a_unit_is_named_as_people_count():
    assert str(Unit(1, "cell", 17)) == "cell 17 of layer 2"
    assert str(FoundUnit(Unit(0, "forget", 3), "x", 0.5, 0.4, None, 9).unit) == "forget gate 3 of layer 1"
