"""``charrnn mix``, and what is mixed with ``--with`` to be scored and to write."""

import json

import numpy as np
import pytest
from command import invoke

KNOWN = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "runs", "away"]
TEXT = " ".join(np.random.default_rng(0).choice(KNOWN, 800)) + "\n"
OTHER = " ".join(np.random.default_rng(1).choice(KNOWN[::-1], 150)) + "\n"


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A directory with a text, another one, a network and counts of the text; and counts of another alphabet."""
    here = tmp_path_factory.mktemp("mixed")
    (here / "text.txt").write_text(TEXT)
    (here / "other.txt").write_text(OTHER)
    (here / "letters.txt").write_text("xyz" * 30)
    sizes = ["--hidden-size", "6", "--batch-size", "2", "--bptt", "5", "--threads", "1", "--steps", "8"]
    for command in (
        ["train", "text.txt", *sizes],
        ["count", "text.txt"],
        ["count", "letters.txt", "--name", "letters"],
    ):
        ended = invoke(*command, "--quiet", cwd=here)
        assert ended.code == 0, ended.err
    return here


def told(*arguments, cwd, **options):
    code, out, err = invoke("perplexity", *arguments, "--json", cwd=cwd, **options)
    assert code == 0, err
    return json.loads(out)


def nats(found):
    return found["total"]["nats"]


def test_a_mixture_is_scored_apart_beside_each_model(both):
    found = told("text", "other.txt", "--with", "text-counts", cwd=both)
    assert nats(found) == nats(told("text", "other.txt", cwd=both))
    assert nats(found["text-counts alone"]) == pytest.approx(
        nats(told("text-counts", "other.txt", cwd=both)), rel=1e-12
    )
    assert nats(found["mixture"]) < nats(found)
    assert "dynamic" not in found
    shown = invoke("perplexity", "text", "other.txt", "--with", "text-counts", cwd=both).out
    assert "mixed with text-counts" in shown


def test_a_mixture_that_is_fitted_predicts_the_text_better(both):
    options = ("text", "other.txt", "--with", "text-counts")
    plain, fitted = told(*options, cwd=both), told(*options, "--fit", "other.txt", cwd=both)
    assert nats(fitted["mixture"]) < nats(plain["mixture"])
    assert "fitted on other.txt" in fitted["mixture"]["protocol"]


def test_a_mixture_that_goes_on_learning_learns_what_is_new(both):
    text = "dog the over lazy jumps quick " * 25
    found = told("text", "-", "--with", "text-counts", "--dynamic", stdin=text.encode(), cwd=both)
    assert nats(found["dynamic mixture"]) < 0.6 * nats(found["mixture"])
    assert nats(found["dynamic mixture"]) < nats(found["dynamic"])


def test_a_stored_mixture_scores_as_the_one_beside(both):
    code, out, err = invoke("mix", "text", "text-counts", "--name", "both", cwd=both)
    assert code == 0, err
    assert "charrnn sample both" in out
    beside = told("text", "other.txt", "--with", "text-counts", "--dynamic", cwd=both)
    stored = told("both", "other.txt", "--dynamic", cwd=both)
    assert nats(stored) == pytest.approx(nats(beside["mixture"]), rel=1e-12)
    assert nats(stored["dynamic"]) == pytest.approx(nats(beside["dynamic mixture"]), rel=1e-12)


def test_a_mixture_is_fitted_by_the_command(both):
    code, out, err = invoke("mix", "text", "text-counts", "--fit", "other.txt", "--name", "fitted", cwd=both)
    assert code == 0, err
    assert "on other.txt" in out
    beside = told("text", "other.txt", "--with", "text-counts", "--fit", "other.txt", cwd=both)
    assert nats(told("fitted", "other.txt", cwd=both)) == pytest.approx(nats(beside["mixture"]), rel=1e-12)
    quiet = invoke("mix", "fitted", "text", "-q", "--name", "nested", cwd=both)
    assert quiet == (0, "checkpoints/nested/model.safetensors\n", "")
    assert np.isfinite(nats(told("nested", "other.txt", "--dynamic", cwd=both)))


def test_what_is_written_follows_the_seed_whatever_writes(both):
    for options in ([], ["--with", "text-counts"], ["--dynamic"], ["--with", "text-counts", "--dynamic"]):
        arguments = ("sample", "text", "the ", "-n", 30, "-q", *options)
        first, again = (invoke(*arguments, "--seed", 4, cwd=both) for _ in range(2))
        assert first == again
        assert first.code == 0, first.err
        assert len(first.out.removesuffix("\n")) >= 33
        assert invoke(*arguments, "--seed", 5, cwd=both).out != first.out
    samples = [
        invoke("sample", "text", "the ", "-n", 30, "-q", "--seed", 4, *o, cwd=both).out
        for o in ([], ["--with", "text-counts"])
    ]
    assert samples[0] != samples[1]


def test_a_prompt_is_learned_from_before_it_goes_on(both):
    """Words in an order that the text never has: whoever has learned them goes on as they did."""
    prompt = "dog the over lazy jumps quick " * 12
    options = ("-n", 60, "--temperature", 0.0, "-q")
    learning = invoke("sample", "text-counts", prompt, "--dynamic", *options, cwd=both)
    assert learning.code == 0, learning.err
    assert learning.out.removeprefix(prompt)[:60] == prompt[:60]


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["mix"], 2, "two or more models"),
        (["mix", "text"], 2, "two or more models"),
        (["mix", "text", "nowhere"], 3, "nowhere"),
        (["mix", "text", "letters"], 3, "only the first knows"),
        (["mix", "text", "text-counts", "--fit", "nowhere.txt"], 3, "nowhere.txt"),
        (["perplexity", "text", "other.txt", "--fit", "text.txt"], 2, "--with"),
        (["perplexity", "text", "other.txt", "--with", "letters"], 3, "only the first knows"),
        (["perplexity", "text", "other.txt", "--with", "text-counts", "--by-line"], 2, "--by-line"),
        (["perplexity", "text", "other.txt", "--with", "text-counts", "--windowed", "5"], 2, "--windowed"),
        (["sample", "text", "--dynamic", "--num-samples", "2"], 2, "--num-samples"),
        (["sample", "text", "--with", "letters"], 3, "only the first knows"),
    ],
)
def test_what_cannot_be_mixed_is_refused_by_name(both, arguments, code, named):
    before = {path.name for path in (both / "checkpoints").iterdir()}
    ended = invoke(*arguments, cwd=both)
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert named in ended.err
    assert {path.name for path in (both / "checkpoints").iterdir()} == before
