"""Texts drawn from small networks: repeatable, of the length asked for, valid, and ended where they should."""

import time

import numpy as np
import pytest
from cells import CELLS
from hypothesis import given, settings
from hypothesis import strategies as st
from small_network import numpy_network, random_weights

from charrnn.errors import InputError, NonFiniteError
from charrnn.inference.generation import generate, start_text
from charrnn.inference.settings import GenerationSettings
from charrnn.models.dynamic import DynamicNetwork
from charrnn.models.numpy_network import NumpyNetwork
from charrnn.models.open import open_network
from charrnn.models.settings import DynamicSettings, ModelSettings
from charrnn.text.vocab import Vocab

VOCAB = Vocab.of_text("\nabcdefgh é€😀")


def chunks(predictor, vocab, *, prompt="", **options):
    return generate(predictor, vocab, GenerationSettings(**options), prompt=prompt)


def texts(predictor, vocab, **options):
    joined = [""] * options.get("num_samples", 1)
    for chunk in chunks(predictor, vocab, **options):
        joined[chunk.sample] += chunk.text
    return joined


@pytest.fixture
def network():
    return numpy_network(vocab_size=VOCAB.size, cell="gru", num_layers=2, hidden_size=9)


@pytest.fixture
def byte_network():
    # Weights this large make some bytes far likelier than others, among them those that begin long characters.
    return numpy_network(vocab_size=256, cell="lstm", hidden_size=5, scale=1.5)


def chain(vocab, follows):
    """A model that goes from each symbol to one other for certain: follows maps characters to characters."""
    size = vocab.size
    shape = ModelSettings(vocab_size=size, cell="rnn", hidden_size=size, bias=False)
    output = np.zeros((size, size))
    for before, after in follows.items():
        output[vocab.encode(after)[0], vocab.encode(before)[0]] = 1e4
    weights = {
        "layers.0.weight_ih": np.eye(size),
        "layers.0.weight_hh": np.zeros((size, size)),
        "output.weight": output,
    }
    return NumpyNetwork(shape, weights)


def test_the_same_seed_gives_the_same_text_and_another_seed_another(network):
    first = texts(network, VOCAB, length=300, seed=5)
    assert first == texts(network, VOCAB, length=300, seed=5)
    assert first != texts(network, VOCAB, length=300, seed=6)


@pytest.mark.parametrize("opened", ["numpy", "fastest"])
@pytest.mark.parametrize("level", ["char", "byte"])
@pytest.mark.parametrize("cell", CELLS)
def test_sample_i_is_the_same_text_however_many_are_made(level, opened, cell):
    vocab = VOCAB if level == "char" else Vocab.bytes()
    shape = ModelSettings(vocab_size=vocab.size, cell=cell, hidden_size=19)
    weights = random_weights(shape)
    network = NumpyNetwork(shape, weights) if opened == "numpy" else open_network(shape, weights, num_threads=2)
    many = texts(network, vocab, length=150, seed=3, num_samples=9)
    assert len(set(many)) == 9
    for num_samples in (1, 2, 5):
        assert texts(network, vocab, length=150, seed=3, num_samples=num_samples) == many[:num_samples]


def test_length_counts_characters(network, byte_network):
    for length in (0, 1, 2, 3, 64, 1000):
        assert [len(text) for text in texts(network, VOCAB, length=length, num_samples=2)] == [length] * 2
        assert [len(text) for text in texts(byte_network, Vocab.bytes(), length=length, num_samples=2)] == [length] * 2


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    length=st.integers(0, 40),
    temperature=st.sampled_from([0, 0.3, 1.0, 30.0]),
    prompt=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5),
)
def test_what_a_model_of_bytes_writes_is_valid_utf_8(seed, length, temperature, prompt):
    shape = ModelSettings(vocab_size=256, cell="rnn", hidden_size=6)
    random = np.random.default_rng(seed)
    weights = {name: 2 * random.standard_normal(s) for name, s in shape.parameter_shapes().items()}
    weights["output.bias"][0xBD] = -1e9  # the last byte of U+FFFD, which is never drawn then
    [text] = texts(
        NumpyNetwork(shape, weights),
        Vocab.bytes(),
        prompt=prompt,
        length=length,
        seed=seed,
        temperature=temperature,
    )
    assert len(text) == length
    assert text.encode("utf-8").decode("utf-8") == text
    assert "\ufffd" not in text  # nor put in where bytes are no character


def test_the_first_chunk_is_one_character_and_the_chunks_grow(network):
    sizes = [len(chunk.text) for chunk in chunks(network, VOCAB, length=5000)]
    assert sizes[:5] == [1, 2, 4, 8, 16]
    assert sum(sizes) == 5000
    assert max(sizes) == 512


def test_only_the_last_chunk_of_a_sample_says_that_it_ended(network):
    ended = {}
    for chunk in chunks(network, VOCAB, length=40, num_samples=3):
        assert chunk.sample not in ended
        if chunk.ended:
            ended[chunk.sample] = chunk.ended
    assert ended == {0: "length", 1: "length", 2: "length"}


def test_the_prompt_is_read_and_not_repeated():
    network = chain(VOCAB, {"a": "b", "b": "c", "c": "d", "d": "a"})
    assert texts(network, VOCAB, prompt="ab", length=6) == ["cdabcd"]


def test_a_long_prompt_leaves_the_state_that_reading_it_leaves():
    network = numpy_network(vocab_size=VOCAB.size, cell="lstm", dtype=np.float64)
    prompt = "abc\nfgh" * 5
    state = network.zero_state(1)
    ids = VOCAB.encode(prompt)
    want = []
    for symbol in ids:
        logits, state = network.step(np.array([symbol]), state)
    for _ in range(20):
        want.append(int(logits.argmax()))
        logits, state = network.step(np.array(want[-1:]), state)
    assert texts(network, VOCAB, prompt=prompt, length=20, temperature=0) == [VOCAB.decode(np.array(want))]


def test_without_a_prompt_a_text_begins_after_a_line_end():
    network = chain(VOCAB, {"\n": "h", "h": "e", "e": "\n"})
    assert texts(network, VOCAB, length=4) == ["he\nh"]
    assert start_text(VOCAB) == start_text(Vocab.bytes()) == "\n"


def test_without_a_newline_in_the_vocabulary_a_text_begins_after_its_first_symbol():
    vocab = Vocab.of_text("helo")
    assert start_text(vocab) == "e"
    assert texts(chain(vocab, {"e": "l", "l": "o", "o": "h", "h": "e"}), vocab, length=5) == ["lohel"]


@pytest.mark.parametrize("stop", ["a", "cd", "dabcdabcdabcdabc", "bcdabcdabcdabcdabcdabcdabcdabcdabcdabcd"])
def test_the_stop_text_ends_a_sample_wherever_chunks_meet(stop):
    network = chain(VOCAB, {"a": "b", "b": "c", "c": "d", "d": "a"})
    [text] = texts(network, VOCAB, prompt="a", length=1000, stop=stop)
    endless = "bcda" * 250
    assert text == endless[: endless.index(stop) + len(stop)]
    *_, last = chunks(network, VOCAB, prompt="a", length=1000, stop=stop)
    assert last.ended == "stop"


def test_each_sample_stops_for_itself_as_it_would_alone(network):
    many = texts(network, VOCAB, length=200, num_samples=6, stop="a", seed=2)
    free = texts(network, VOCAB, length=200, num_samples=6, seed=2)
    assert len({len(text) for text in many}) > 1
    for stopped, whole in zip(many, free, strict=True):
        assert stopped == (whole[: whole.index("a") + 1] if "a" in whole else whole)


def test_the_stop_text_is_not_looked_for_in_the_prompt():
    network = chain(VOCAB, {"a": "b", "b": "c", "c": "d", "d": "a"})
    assert texts(network, VOCAB, prompt="abc", length=9, stop="bcd") == ["dabcd"]


def test_a_stop_text_of_several_bytes_ends_a_sample_of_a_model_of_bytes(byte_network):
    [whole] = texts(byte_network, Vocab.bytes(), length=60, seed=1)
    stop = next(character for character in whole if ord(character) > 0x7F)
    [text] = texts(byte_network, Vocab.bytes(), length=60, seed=1, stop=stop)
    assert text == whole[: whole.index(stop) + 1]


def test_all_unknown_characters_of_a_prompt_are_named(network):
    with pytest.raises(InputError) as caught:
        generate(network, VOCAB, prompt="abXcYX\x1b")
    message = str(caught.value)
    assert all(name in message for name in ("U+0058", "U+0059", "U+001B"))
    assert "\x1b" not in message


def test_a_network_that_learns_writes_as_its_steps_do():
    shape = ModelSettings(vocab_size=VOCAB.size, cell="gru", hidden_size=9)
    learning = DynamicNetwork(shape, random_weights(shape), DynamicSettings(segment=4, learning_rate=0.5))
    ids = VOCAB.encode("abcabcabc")
    state = learning.zero_state(1)
    for symbol in ids:
        logits, state = learning.step(np.array([symbol]), state)
    want = []
    for _ in range(30):
        want.append(int(logits.argmax()))
        logits, state = learning.step(np.array(want[-1:]), state)
    assert texts(learning, VOCAB, prompt="abcabcabc", length=30, temperature=0) == [VOCAB.decode(np.array(want))]


def test_without_settings_a_text_has_the_defaults(network):
    joined = "".join(chunk.text for chunk in generate(network, VOCAB))
    assert [joined] == texts(network, VOCAB)
    assert len(joined) == GenerationSettings().length == 1000


def test_a_model_that_gives_no_numbers_writes_nothing():
    with pytest.raises(NonFiniteError, match="train again"):
        texts(numpy_network(vocab_size=VOCAB.size, scale=float("nan")), VOCAB, length=3)


def test_text_that_is_slow_to_make_comes_in_small_pieces_and_is_the_same(network):
    class Slow(NumpyNetwork):
        def step(self, ids, state):
            time.sleep(0.02)
            return super().step(ids, state)

    slow = Slow(network.settings, random_weights(network.settings))
    pieces = [chunk.text for chunk in chunks(slow, VOCAB, length=24, seed=2)]
    assert ["".join(pieces)] == texts(network, VOCAB, length=24, seed=2)
    assert max(map(len, pieces)) <= 4  # four steps take longer than the twentieth of a second that may pass
