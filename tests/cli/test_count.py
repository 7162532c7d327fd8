"""``charrnn count``: a run like any other, made in a moment."""

import json
import math
import shutil

import numpy as np
import pytest
from command import invoke, libraries_of, run

from charrnn.models.counts.settings import CountsSettings
from charrnn.storage.model_file import read_model

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "runs", "away"]
TEXT = " ".join(np.random.default_rng(0).choice(WORDS, 800)) + "\n"


def counted(*arguments, cwd):
    code, out, err = invoke("count", *arguments, cwd=cwd)
    assert code == 0, err
    return out


@pytest.fixture
def here(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with a text and its counts; to be read, never changed."""
    here = tmp_path_factory.mktemp("counted")
    (here / "text.txt").write_text(TEXT)
    counted("text.txt", cwd=here)
    return here


def test_a_text_is_counted_into_a_run_named_after_it(here):
    shown = counted("text.txt", cwd=here)
    assert {path.name for path in (here / "checkpoints" / "text-counts").iterdir()} == {"model.safetensors", "run.toml"}
    assert "charrnn sample text-counts" in shown
    assert "held-out loss" in shown
    again = counted("text.txt", cwd=here)  # beside the first
    assert "charrnn sample text-counts-" in again


def test_json_tells_the_run_and_the_score_that_its_file_states(here):
    told = json.loads(counted("text.txt", "--json", cwd=here))
    model = read_model(told["model"] if told["model"].startswith("/") else here / told["model"])
    assert told["nats_per_char"] == model.facts["held_out"]["nats_per_char"]
    assert told["num_predictions"] == math.floor(0.1 * len(TEXT)) - 1 or told["num_predictions"] > 0
    assert isinstance(model.settings, CountsSettings)
    assert model.settings.title == told["shape"]
    assert 0 < told["nats_per_char"] < 2.0 < np.log(model.vocab.size)


def test_quiet_prints_the_path_alone(here):
    ended = invoke("count", "text.txt", "--quiet", "--name", "some", cwd=here)
    assert ended == (0, "checkpoints/some/model.safetensors\n", "")


def test_the_same_text_gives_the_same_bytes(here):
    first, second = (here / counted("text.txt", "-q", "--name", name, cwd=here).strip() for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_a_score_of_the_file_is_that_of_the_model_that_was_made(here):
    told = json.loads(counted("text.txt", "--json", cwd=here))
    held_out = TEXT[len(TEXT) - told["num_predictions"] - 1 :]
    code, out, err = invoke("perplexity", "text-counts", "-", "--json", stdin=held_out.encode(), cwd=here)
    assert code == 0, err
    assert json.loads(out)["total"]["nats"] == pytest.approx(told["nats"], rel=1e-12)


@pytest.mark.parametrize(("memory", "most"), [("1", 1 << 20), ("2", 2 << 20)])
def test_memory_bounds_the_table(here, memory, most):
    path = here / counted("text.txt", "-q", "--memory", memory, cwd=here).strip()
    assert read_model(path).weights["lines"].nbytes <= most


@pytest.mark.parametrize(
    "text", ["ab", "aa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abc", "a\nb\nc\nd\n", "x" * 70 + "\n"]
)
def test_the_shortest_texts_are_counted_scored_and_written(tmp_path, text):
    (tmp_path / "t.txt").write_text(text)
    counted("t.txt", cwd=tmp_path)
    for command in (["sample", "t-counts", "--length", 9], ["perplexity", "t-counts", "t.txt", "--dynamic", "--json"]):
        code, out, err = invoke(*command, cwd=tmp_path)
        assert code == 0, err
        assert out
    for key in ("total", "dynamic"):
        found = json.loads(out)[key]
        assert np.isfinite(found.get("total", found)["nats"])


def test_a_text_of_bytes_is_counted_and_writes_utf_8(here):
    (here / "text.txt").write_text("größer wäre schöner, meinte der Käfer\n" * 30)
    counted("text.txt", "--level", "byte", cwd=here)
    code, out, err = invoke("sample", "text-counts", "größ", "--length", 200, "--seed", 3, "-q", cwd=here)
    assert code == 0, err
    assert out.startswith("größ")
    assert "\ufffd" not in out
    code, out, err = invoke("perplexity", "text-counts", "text.txt", "--dynamic", cwd=here)
    assert code == 0, err
    assert "byte" in out


def test_a_separate_held_out_text_is_scored(here):
    (here / "other.txt").write_text("the lazy cat\n" * 4)  # with a letter that is not in the text
    told = json.loads(counted("text.txt", "--val", "other.txt", "--json", cwd=here))
    assert told["num_predictions"] == 13 * 4 - 1


def test_a_run_that_was_counted_is_shown_checked_and_described(place):
    code, out, err = invoke("runs", "--json", cwd=place)
    assert code == 0, err
    (listed,) = json.loads(out)
    assert listed["state"] == "finished"
    for command in (["runs"], ["runs", "text-counts"], ["inspect", "text-counts"], ["inspect", "text-counts", "--all"]):
        code, out, err = invoke(*command, cwd=place)
        assert code == 0, err
        assert "counts" in out
    code, out, _ = invoke("inspect", "text-counts", "--json", cwd=place)
    assert (code, json.loads(out)["model"]["form"]) == (0, "counts")
    code, out, err = invoke("verify", "text-counts", cwd=place)
    assert code == 0, (out, err)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "name at least one TEXT"),
        (["nowhere.txt"], 3, "nowhere.txt"),
        (["text.txt", "--memory", "0"], 2, "from 1 to"),
        (["text.txt", "--level", "word"], 2, "char"),
        (["empty.txt"], 3, "0 symbols"),
    ],
)
def test_what_cannot_be_counted_is_refused_and_leaves_nothing(here, arguments, code, told):
    (here / "empty.txt").write_text("")
    ended = invoke("count", *arguments, cwd=here)
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert not (here / "checkpoints").exists() or not list((here / "checkpoints").iterdir())


def test_what_needs_a_network_refuses_counts_by_name(place, tmp_path):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    for command in (
        ["train", "text.txt", "--init-from", "text-counts", "--steps", "2"],
        ["perplexity", "text-counts", "text.txt", "--fit-temperature", "text.txt"],
        ["train", "--resume", "text-counts"],
    ):
        code, out, err = invoke(*command, cwd=tmp_path)
        assert code in (2, 3), (command, err)
        assert out == ""
        assert "Traceback" not in err
        assert len(err.strip().splitlines()) <= 3


def test_counting_scoring_and_writing_load_no_torch(here):
    assert libraries_of("count", "text.txt", "-q", cwd=here) <= {"numpy", "tqdm"}
    assert libraries_of("sample", "text-counts", "-q", "--length", 5, cwd=here) == {"numpy"}
    assert libraries_of("sample", "text-counts", "-q", "--length", 5, "--dynamic", cwd=here) == {"numpy"}
    assert libraries_of("sample", "text-counts", "--with", "text-counts", "-q", "-n", 5, cwd=here) == {"numpy"}
    assert "torch" not in libraries_of("perplexity", "text-counts", "text.txt", "--dynamic", "-q", cwd=here)


@pytest.mark.long
def test_without_a_compiler_all_numbers_are_the_same(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT[:2000])
    found = []
    for native in ("1", "0"):
        variables = {"CHARRNN_NATIVE": native} if native == "0" else {}
        arguments = ("count", "text.txt", "--quiet", "--name", f"with-{native}")
        ended = run(*arguments, cwd=tmp_path, fresh=True, environment=variables)
        assert ended.code == 0, ended.err
        path = tmp_path / ended.out.strip()
        arguments = ("perplexity", f"with-{native}", "-", "--dynamic", "--json")
        scored = run(*arguments, stdin=TEXT[2000:2300].encode(), cwd=tmp_path, fresh=True, environment=variables)
        assert scored.code == 0, scored.err
        assert ("no compiled kernels" in scored.err) == (native == "0")
        found.append((path.read_bytes(), json.loads(scored.out)["total"], json.loads(scored.out)["dynamic"]))
    assert found[0] == found[1]


# ---- mixed with others ----


@pytest.fixture(scope="module")
def both(place):
    """The directory with a network of the same text too."""
    sizes = ["--hidden-size", "6", "--batch-size", "2", "--bptt", "5", "--threads", "1", "--steps", "8"]
    ended = invoke("train", "text.txt", *sizes, "--quiet", cwd=place)
    assert ended.code == 0, ended.err
    (place / "other.txt").write_text(TEXT[::-1][:400] + TEXT[:500])
    return place


def told(*arguments, cwd, **options):
    code, out, err = invoke("perplexity", *arguments, "--json", cwd=cwd, **options)
    assert code == 0, err
    return json.loads(out)


def nats(found):
    return found["total"]["nats"]


def test_a_mixture_is_scored_apart_beside_each_model(both):
    found = told("text", "other.txt", "--with", "text-counts", cwd=both)
    assert nats(found) == nats(told("text", "other.txt", cwd=both))
    assert nats(found["text-counts"]) == pytest.approx(nats(told("text-counts", "other.txt", cwd=both)), rel=1e-12)
    assert nats(found["mixture"]) < nats(found)
    assert "dynamic" not in found
    shown = invoke("perplexity", "text", "other.txt", "--with", "text-counts", cwd=both).out
    assert "mixed with text-counts" in shown


def test_a_mixture_is_fitted_and_goes_on_learning(both):
    options = ("text", "other.txt", "--with", "text-counts")
    plain = told(*options, cwd=both)
    fitted = told(*options, "--fit", "other.txt", "--dynamic", cwd=both)
    assert nats(fitted["mixture"]) < nats(plain["mixture"])
    assert nats(fitted["dynamic mixture"]) < nats(fitted["mixture"])
    assert nats(fitted["dynamic"]) > nats(fitted["dynamic mixture"])
    assert "fitted on other.txt" in fitted["mixture"]["protocol"]


def test_a_stored_mixture_scores_as_the_one_beside(both):
    code, out, err = invoke("mix", "text", "text-counts", "--name", "both", cwd=both)
    assert code == 0, err
    assert "charrnn sample both" in out
    beside = told("text", "other.txt", "--with", "text-counts", "--dynamic", cwd=both)
    stored = told("both", "other.txt", "--dynamic", cwd=both)
    assert nats(stored) == pytest.approx(nats(beside["mixture"]), rel=1e-12)
    assert nats(stored["dynamic"]) == pytest.approx(nats(beside["dynamic mixture"]), rel=1e-12)
    for command in (["inspect", "both"], ["verify", "both"], ["runs", "both"], ["inspect", "both", "--all"]):
        code, out, err = invoke(*command, cwd=both)
        assert code == 0, (command, out, err)


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
    if not (both / "checkpoints" / "letters").exists():
        (both / "letters.txt").write_text("xyz" * 30)
        counted("letters.txt", "--name", "letters", "-q", cwd=both)
    before = {path.name for path in (both / "checkpoints").iterdir()}
    ended = invoke(*arguments, cwd=both)
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert named in ended.err
    assert {path.name for path in (both / "checkpoints").iterdir()} == before
