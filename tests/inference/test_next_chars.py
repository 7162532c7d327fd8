import numpy as np
import pytest
from small_counts import fixed_counts
from small_model import TEXT, make_model
from small_network import V, numpy_network

import charrnn
from charrnn.errors import NonFiniteError
from charrnn.inference.next_chars import most_likely
from charrnn.text.vocab import UnknownCharacterError, Vocab

VOCAB = Vocab.of_text("\nabcdef")


def exact(predictor, vocab, text):
    """Probability of each symbol after a text: one step after the other."""
    state = predictor.zero_state(1)
    for symbol in vocab.encode(text):
        logits, state = predictor.step(np.array([symbol]), state)
    p = np.exp(logits[0].astype(np.float64) - logits[0].max())
    return p / p.sum()


@pytest.mark.parametrize("make", [lambda: numpy_network(num_layers=2), lambda: fixed_counts(V)], ids=["net", "counts"])
def test_the_most_likely_characters_come_in_order_with_their_probabilities(make):
    predictor = make()
    shares = exact(predictor, VOCAB, "abcab")
    found = most_likely(predictor, VOCAB, "abcab", count=4)
    assert [each.char for each in found] == [VOCAB.symbols[i] for i in np.argsort(-shares)[:4]]
    assert [each.probability for each in found] == pytest.approx(np.sort(shares)[::-1][:4], rel=1e-6)


def test_there_are_no_more_choices_than_symbols_and_they_add_up_to_one():
    found = most_likely(numpy_network(), VOCAB, "", count=50)
    assert len(found) == V
    assert sum(each.probability for each in found) == pytest.approx(1)


def test_without_a_text_the_model_has_read_a_newline():
    predictor = numpy_network()
    assert most_likely(predictor, VOCAB, "", count=3) == most_likely(predictor, VOCAB, "\n", count=3)


def test_bytes_are_chosen_as_whole_characters_by_the_product_of_their_probabilities(tmp_path):
    model = charrnn.load(make_model(tmp_path / "m.safetensors", level="byte"))
    found = most_likely(model.predictor, model.vocab, "é", count=300)
    assert len(found) == len({each.char for each in found}) == 300
    chances = [each.probability for each in found]
    assert chances == sorted(chances, reverse=True)
    longer = [each for each in found if len(each.char.encode()) > 1]
    assert longer  # of a model that knows nothing, two-byte characters are among the first 300
    # After the bytes that may begin a character come those that may go on with it: the rest share what is left.
    first, second = longer[0].char.encode()[:2]
    leads = exact(model.predictor, model.vocab, "é")
    leads[[*range(0x80, 0xC2), *range(0xF5, 0x100)]] = 0
    after = exact_of_bytes(model.predictor, "é".encode() + bytes([first]))
    after[[*range(0x80), *range(0xC0, 0x100)]] = 0
    expected = leads[first] / leads.sum() * after[second] / after.sum()
    assert len(longer[0].char.encode()) == 2
    assert longer[0].probability == pytest.approx(expected, rel=1e-6)


def exact_of_bytes(predictor, read):
    state = predictor.zero_state(1)
    for symbol in read:
        logits, state = predictor.step(np.array([symbol]), state)
    p = np.exp(logits[0].astype(np.float64) - logits[0].max())
    return p / p.sum()


def test_a_text_with_an_unknown_character_is_refused(tmp_path):
    model = charrnn.load(make_model(tmp_path / "m.safetensors", text=TEXT))
    with pytest.raises(UnknownCharacterError, match="'Z'"):
        most_likely(model.predictor, model.vocab, "Zoo", count=3)


def test_a_model_whose_logits_are_not_finite_has_no_most_likely_characters():
    with np.errstate(all="ignore"):
        predictor = numpy_network(scale=np.inf)
        with pytest.raises(NonFiniteError):
            most_likely(predictor, VOCAB, "abc", count=3)
