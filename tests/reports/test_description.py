"""A model in ten lines: true to the weights, and sceptical of what its file says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.models.settings import ModelSettings
from charrnn.reports.description import description_rows
from charrnn.storage.run_summary import stated_score
from charrnn.text.vocab import Vocab
from charrnn.training.settings import TrainingSettings

SHAPE = ModelSettings(vocab_size=7, cell="gru", hidden_size=4)
VOCAB = Vocab.of_text("\n abcde")
RECIPE = TrainingSettings(epochs=2.5, batch_size=3, bptt=5, learning_rate=0.0125, dropout=0.25, seed=9)
CLAIMS = {
    "corpus": {"names": ["a.txt", "b.txt"], "num_symbols": 1000, "num_held_out": 101, "num_texts": 2},
    "held_out": {
        "nats": 100 * math.log(2),
        "nats_squared": 101 * math.log(2) ** 2,
        "num_predictions": 100,
        "num_chars": 100,
        "num_bytes": 100,
        "num_unknown": 0,
    },
    "training": RECIPE.to_json(),
    "step": 1234,
}


def rows(claims=CLAIMS, vocab=VOCAB, **more):
    return description_rows(SHAPE, vocab, claims, file="m.safetensors", use="m", **more)


def test_the_lines_tell_what_it_is_of_what_how_good_how_made_and_how_to_use():
    error = math.log(2) / math.sqrt(99) / 10  # n equal figures but for one bit of variance
    assert rows() == [
        ("model", f"GRU 1x4, one-hot input: {SHAPE.num_parameters:,} weights, 0.0 MB"),
        ("alphabet", r"7 characters: \n space a-e"),
        ("claims", "it learned from a.txt, b.txt: 1,000 characters, 101 held out"),
        ("", f"scored 0.6931 nats/char ± {error:.4f}, 1.0000 bits/char, perplexity 2.000"),
        ("", "on all 101 held-out characters, by the model of step 1,234"),
        ("", "in 2.5 epochs, seed 9, batch size 3, bptt 5, learning rate 0.0125"),
        ("file", "m.safetensors"),
        ("use", "charrnn sample m"),
        ("", "charrnn perplexity m TEXT"),
        ("more", "charrnn inspect m --all"),
    ]


def test_the_lines_fit_a_terminal_of_eighty_columns():
    claims = {**CLAIMS, "corpus": {**CLAIMS["corpus"], "names": ["shakespeare.txt"], "num_symbols": 1_115_394}}
    claims["training"] = {**CLAIMS["training"], "batch_size": 128, "bptt": 128}
    assert all(len("alphabet  ") + len(value) <= 80 for _, value in rows(claims))


def test_a_model_of_bytes_speaks_of_bytes():
    claims = {**CLAIMS, "held_out": {**CLAIMS["held_out"], "num_chars": 50}}
    told = "\n".join(value for _, value in rows(claims, Vocab.bytes()))
    assert "the 256 bytes" in told
    assert "0.6931 nats/byte" in told
    assert "on all 101 held-out bytes" in told
    assert "char" not in told.replace("charrnn", "")


def test_weights_that_are_not_finite_are_told():
    assert rows(num_nonfinite=3)[1] == ("", "3 weights are not finite: it can neither write nor score; train again")


@pytest.mark.parametrize("name", [*CLAIMS, "all"])
def test_what_a_file_does_not_say_is_left_out(name):
    claims = {} if name == "all" else {key: value for key, value in CLAIMS.items() if key != name}
    found = rows(claims)
    assert found[:2] == rows()[:2]
    assert found[-4:] == rows()[-4:]
    assert [label for label, _ in found if label] == [label for label, _ in rows() if label]
    if name == "all":
        assert found[2] == ("claims", "nothing of its text, its score or its training")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*CLAIMS, "names", "nats"]), inner),
    max_leaves=9,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(CLAIMS, plain)), st.booleans())
def test_any_claim_is_taken_or_passed_over(claims, is_inside):
    if is_inside:  # one wrong value among right ones
        claims = {
            name: {**value, **{key: claims.get(name) for key in list(value)[:1]}} if isinstance(value, dict) else value
            for name, value in CLAIMS.items()
        }
    found = rows(claims)
    assert 7 <= len(found) <= 10
    assert all(len(value) < 500 for _, value in found)


def test_many_symbols_and_long_names_are_cut():
    vocab = Vocab.of_text("".join(map(chr, range(0x4E00, 0x5E00, 3))))
    claims = {"corpus": {"names": ["x" * 10_000] * 5}}
    found = dict(rows(claims, vocab))
    assert len(found["alphabet"]) < 120
    assert found["alphabet"].endswith("...")
    assert len(found["claims"]) < 300
    assert found["claims"].endswith(" ...")


@pytest.mark.parametrize("name", ["nats", "nats_squared"])
@pytest.mark.parametrize("value", [10**400, 1e300, math.inf])
def test_a_sum_too_large_to_reckon_with_is_no_score(name, value):
    assert stated_score({**CLAIMS["held_out"], name: value}) is None
    assert "scored" not in str(rows({**CLAIMS, "held_out": {**CLAIMS["held_out"], name: value}}))
