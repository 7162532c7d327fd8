"""Stored models mixed into one, fitted, stored and read back."""

from dataclasses import asdict

import numpy as np
import pytest
from small_counts import ids_for, learned

from charrnn.errors import InputError, SettingsError
from charrnn.inference.mixing import MAX_FITTED, mixed, require_same_vocab, shares
from charrnn.inference.scoring import score_ids
from charrnn.models.counts.settings import CountsSettings
from charrnn.models.counts.stored import to_arrays
from charrnn.models.mixture.predictor import Mixture, MixtureWeights
from charrnn.models.open import open_model
from charrnn.models.settings import ModelSettings
from charrnn.models.shape import shape_from_json, shape_to_json
from charrnn.models.tree import Tree
from charrnn.storage.model_file import ModelFile, read_model, write_model
from charrnn.text.vocab import Vocab
from charrnn.units import Score

VOCAB = Vocab.of_text("abcdefg")
V = VOCAB.size
IDS = ids_for(V, 500)


def facts_of(nats):
    return {} if nats is None else {"held_out": asdict(Score(10 * nats, 20 * nats**2, 10, 10, 10))}


def network(*, seed=0, vocab=VOCAB, **facts):
    settings = ModelSettings(vocab_size=vocab.size, hidden_size=4, cell="gru")
    random = np.random.default_rng(seed)
    weights = {n: random.normal(0, 0.7, s).astype(np.float32) for n, s in settings.parameter_shapes().items()}
    return ModelFile(settings, vocab, weights, facts)


def counts(**facts):
    found = learned(V, length=300)
    settings = CountsSettings(vocab_size=V, num_lines=len(found.tables.lines), num_text=300)
    return ModelFile(settings, VOCAB, to_arrays(found.tables, found.fixed_weights), facts)


def nats_of(model, ids=IDS):
    return score_ids(open_model(model.settings, model.weights, num_threads=1), ids, vocab=VOCAB).nats


def test_a_mixture_comes_back_from_its_file_as_it_was(tmp_path):
    made = mixed([network(a=1), counts(b=2)])
    write_model(tmp_path / "m", made)
    found = read_model(tmp_path / "m")
    assert (found.settings, found.vocab) == (made.settings, made.vocab)
    assert found.facts == {"members": [{"a": 1}, {"b": 2}]}
    assert shape_from_json(shape_to_json(made.settings)) == made.settings
    assert {n: (str(a.dtype), a.shape) for n, a in made.weights.items()} == made.settings.tensors()
    assert nats_of(found) == nats_of(made)
    assert made.settings.num_parameters > counts().settings.num_parameters


def test_fitting_lowers_the_loss_on_the_text_it_is_fitted_on():
    models = [network(), counts()]
    plain, fitted = mixed(models), mixed(models, fit_on=IDS)
    assert nats_of(fitted) < nats_of(plain)
    assert nats_of(fitted) < min(map(nats_of, models))
    assert not plain.weights["mixer.by_node"].any()
    assert fitted.weights["mixer.by_node"].any()


def test_fitting_leaves_the_models_as_they_were():
    models = [network(), counts()]
    before = [{name: array.copy() for name, array in model.weights.items()} for model in models]
    mixed(models, fit_on=IDS)
    for model, weights in zip(models, before, strict=True):
        assert all(np.array_equal(model.weights[name], weight) for name, weight in weights.items())


def test_fitting_tells_of_every_symbol_and_stops_at_the_most(monkeypatch):
    told = []
    mixed([network(), counts()], fit_on=IDS[:90], progress=told.append)
    assert sum(told) == 90
    assert len(IDS) < MAX_FITTED
    monkeypatch.setattr("charrnn.inference.mixing.MAX_FITTED", 50)
    short = mixed([network(), counts()], fit_on=IDS)
    same = mixed([network(), counts()], fit_on=IDS[:50])
    assert all(np.array_equal(short.weights[name], weight) for name, weight in same.weights.items())


def test_fitted_weights_are_the_mean_over_the_second_half(monkeypatch):
    monkeypatch.setattr("charrnn.inference.mixing._FITTED_AT_ONCE", 100)
    models = [network(), counts()]
    told = []
    fitted = mixed(models, fit_on=IDS[:400], progress=told.append)
    assert told == [100] * 4
    members = [open_model(model.settings, model.weights, num_threads=1) for model in models]
    tree = Tree(fitted.weights["cuts"])
    mixture = Mixture(members, tree, MixtureWeights.from_shares([0.5, 0.5], V), learns=True)
    state = mixture.zero_state(1)
    shared = []
    for end in (100, 200, 300, 399):
        begin = (end - 1) // 100 * 100
        _, state = mixture.score(IDS[begin:end, None], IDS[begin + 1 : end + 1, None], state)
        shared.append(state.weights.shared)
    np.testing.assert_allclose(fitted.weights["mixer.shared"], np.mean(shared[2:], axis=0), atol=1e-12)
    assert not np.allclose(shared[2], shared[3])


def test_a_mixture_can_be_mixed_again(tmp_path):
    inner = mixed([network(), counts()])
    write_model(tmp_path / "m", mixed([inner, network(seed=1)], fit_on=IDS))
    found = read_model(tmp_path / "m")
    assert found.settings.members[0] == inner.settings
    assert found.settings.title.count("mixture of") == 2
    assert np.isfinite(nats_of(found))


def test_a_model_mixed_with_itself_is_that_model():
    for model in (network(), counts()):
        # The kernel computes networks in float32: 500 numbers.
        assert nats_of(mixed([model, model])) == pytest.approx(nats_of(model), rel=1e-6)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [((None, None), (0.5, 0.5)), ((1.4, None), (0.5, 0.5)), ((1.4, 1.4), (0.5, 0.5))],
)
def test_without_scores_to_tell_them_apart_models_count_alike(scores, expected):
    assert shares([network(**facts_of(nats)) for nats in scores]) == pytest.approx(expected)


def test_the_better_its_score_the_more_a_model_counts():
    better, worse = shares([network(**facts_of(1.4)), network(**facts_of(1.65))])
    assert better + worse == pytest.approx(1)
    assert better / worse == pytest.approx(np.e)  # 0.25 nats apart


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (Vocab.of_text("abc"), Vocab.bytes(), "one model reads chars, the other bytes"),
        (Vocab.of_text("abc"), Vocab.of_text("abd"), "only the first knows 'c'.*only the second knows 'd'"),
        (Vocab.of_text("abc"), Vocab.of_text("ab"), "only the first knows 'c'"),
        (Vocab.of_text("a"), Vocab.of_text("abcdefgh"), "only the second knows 'b'.*, 'c'.*, 'd'.* and 4 more"),
    ],
)
def test_of_different_vocabularies_it_is_said_what_differs(one, other, told):
    with pytest.raises(InputError, match=told):
        require_same_vocab(one, other)
    with pytest.raises(InputError, match=told):
        mixed([network(vocab=one), network(vocab=other)])
    require_same_vocab(one, one)


def test_one_model_or_too_many_are_refused():
    for number in (1, 17):
        with pytest.raises(SettingsError, match="from 2 to 16 members"):
            mixed([network()] * number)


@pytest.mark.parametrize(
    "values",
    [
        {"members": []},
        {"members": [{"form": "counts"}]},
        {"members": "ab"},
        {},
        {"members": [], "more": 1},
        {"members": [{}] * 17},
        {"members": [None, None]},
    ],
    ids=str,
)
def test_settings_that_are_no_mixture_are_refused(values):
    with pytest.raises(SettingsError):
        shape_from_json({"form": "mixture", **values})


def test_members_of_different_sizes_are_refused():
    members = [shape_to_json(ModelSettings(vocab_size=size)) for size in (3, 4)]
    with pytest.raises(SettingsError, match="different numbers of symbols"):
        shape_from_json({"form": "mixture", "members": members})


def test_a_mixture_whose_cuts_make_no_tree_is_refused():
    made = mixed([network(), counts()])
    wrong = made.weights["cuts"].copy()
    wrong[-1] = 0
    with pytest.raises(InputError, match="cuts"):
        open_model(made.settings, {**made.weights, "cuts": wrong})


def test_what_a_member_holds_is_checked_too():
    made = mixed([network(), counts()])
    wrong = made.weights["member.1.fixed.ever"].copy()
    wrong[0] = 2
    with pytest.raises(InputError, match="ever"):
        open_model(made.settings, {**made.weights, "member.1.fixed.ever": wrong})
