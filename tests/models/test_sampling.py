import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import InputError
from charrnn.models.sampling import choose, probabilities
from charrnn.models.settings import SamplingSettings

NO_DRAW = np.array([0.5])


def normalised(logits, **settings):
    p = probabilities(np.array([logits], np.float32), SamplingSettings(**settings))[0]
    return p / p.sum()


def logits_of(*shares):
    return [math.log(share) for share in shares]


def test_without_options_the_probabilities_are_the_softmax():
    logits = [1.0, 2.2, -3.0, 4.1]
    want = np.exp(np.float32(logits).astype(np.float64))
    np.testing.assert_allclose(normalised(logits), want / want.sum(), rtol=1e-15)  # float64 throughout


def test_draws_follow_the_softmax():
    logits = np.array([1.0, 0.2, -1.0, 0.5, 2.0])
    num_draws = 20_000
    uniforms = np.random.default_rng(7).random(num_draws)
    drawn = choose(np.tile(logits, (num_draws, 1)), uniforms, sampling=SamplingSettings())
    expected = num_draws * np.exp(logits) / np.exp(logits).sum()
    chi_square = ((np.bincount(drawn, minlength=5) - expected) ** 2 / expected).sum()
    # Four degrees of freedom: above 23.5 with probability 1e-4; the seed is fixed.
    assert chi_square < 23.5


def test_a_draw_is_the_first_symbol_whose_summed_probability_exceeds_the_uniform():
    logits = np.tile(logits_of(0.25, 0.5, 0.25), (5, 1))
    uniforms = np.array([0.0, 0.2499, 0.2501, 0.7501, 1 - 2**-53])
    np.testing.assert_array_equal(choose(logits, uniforms, sampling=SamplingSettings()), [0, 0, 1, 2, 2])


def test_a_uniform_next_to_one_never_draws_an_impossible_last_symbol():
    allowed = np.array([[True, True, False]])
    for share in (0.1, 0.3, 0.7):
        drawn = choose(
            np.array([logits_of(share, 1 - share, 9.0)]),
            np.array([1 - 2**-53]),
            sampling=SamplingSettings(),
            allowed=allowed,
        )
        assert drawn[0] == 1


def test_temperature_divides_the_logits():
    np.testing.assert_allclose(normalised([0.5, 1.5, -1.0], temperature=0.5), normalised([1.0, 3.0, -2.0]))


def test_temperature_zero_takes_the_most_probable_and_of_ties_the_lowest_id():
    logits = np.array([[1.0, 5.0, 5.0], [2.0, 1.0, 0.0]])
    drawn = choose(logits, np.array([0.99, 0.99]), sampling=SamplingSettings(temperature=0))
    np.testing.assert_array_equal(drawn, [1, 0])


def test_a_tiny_temperature_is_greedy_and_no_overflow():
    assert choose(np.array([[3.0, 4.0, -2.0]]), NO_DRAW, sampling=SamplingSettings(temperature=1e-300))[0] == 1


def test_top_k_keeps_the_k_most_probable():
    np.testing.assert_allclose(normalised(logits_of(0.1, 0.4, 0.2, 0.3), top_k=2), [0, 4 / 7, 0, 3 / 7], rtol=1e-6)


def test_top_k_keeps_all_that_tie_with_the_kth():
    kept = normalised([1.0, 3.0, 2.0, 2.0, 0.0], top_k=2) > 0
    np.testing.assert_array_equal(kept, [False, True, True, True, False])


def test_top_k_beyond_the_vocabulary_keeps_everything():
    assert (normalised([1.0, 2.0, 3.0], top_k=8) > 0).all()


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.5, [1]), (0.51, [1, 3]), (0.8, [1, 3]), (0.81, [1, 2, 3]), (0.999999, [0, 1, 2, 3]), (1e-9, [1])],
)
def test_top_p_keeps_the_fewest_that_reach_it(top_p, kept):
    p = probabilities(np.array([logits_of(0.05, 0.5, 0.15, 0.3)]), SamplingSettings(top_p=top_p))[0]
    np.testing.assert_array_equal(np.flatnonzero(p), kept)


def test_top_p_takes_lower_ids_first_among_equals():
    p = probabilities(np.zeros((1, 4)), SamplingSettings(top_p=0.5))[0]
    np.testing.assert_array_equal(np.flatnonzero(p), [0, 1])


def test_min_p_drops_what_is_less_than_its_share_of_the_best():
    kept = normalised(logits_of(0.6, 0.29, 0.07, 0.04), min_p=0.1) > 0
    np.testing.assert_array_equal(kept, [True, True, True, False])


def test_each_part_narrows_what_the_parts_before_it_left():
    # top-k leaves 0.4, 0.3 and 0.2; renormalised, the first two reach 7/9, which is less than 0.8.
    kept = normalised(logits_of(0.4, 0.3, 0.2, 0.1), top_k=3, top_p=0.8) > 0
    np.testing.assert_array_equal(kept, [True, True, True, False])
    kept = normalised(logits_of(0.4, 0.3, 0.2, 0.1), top_k=3, top_p=0.75) > 0
    np.testing.assert_array_equal(kept, [True, True, False, False])


@given(
    st.lists(st.floats(-30, 30), min_size=1, max_size=9),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([0, 0.01, 0.7, 1.0, 5.0]),
    st.integers(0, 10),
    st.floats(0.001, 1),
    st.floats(0, 1),
    st.integers(0, 2**9 - 1),
)
def test_only_allowed_symbols_are_ever_drawn(logits, uniform, temperature, top_k, top_p, min_p, mask):
    allowed = np.array([[bool(mask >> i & 1) for i in range(len(logits))]])
    if not allowed.any():
        allowed[0, 0] = True
    drawn = choose(
        np.array([logits], np.float32),
        np.array([uniform]),
        sampling=SamplingSettings(temperature, top_k, top_p, min_p),
        allowed=allowed,
    )
    assert allowed[0, drawn[0]]


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(bad, temperature):
    with pytest.raises(InputError, match="not finite"):
        choose(np.array([[0.0, bad]]), NO_DRAW, sampling=SamplingSettings(temperature=temperature))
