"""What is shown of models and texts is computed, each figure under its own name."""

import json
import os

import numpy as np
import pytest
from command import invoke
from processes import TINY
from small_model import TEXT, make_model

from charrnn.inference import text_scores
from charrnn.inference.temperature import HIGHEST, LOWEST
from charrnn.storage.model_file import read_model, write_model

LIES = {"file": "/etc/passwd", "num_parameters": 3, "num_nonfinite": 7, "vocab": "lie", "model": {"cell": "x"},
        "weights": {"a": {"shape": 1}}, "x": {"num_nonfinite": 1}, "claims": {}}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def test_what_a_file_claims_replaces_nothing_that_is_computed(here):
    honest, lying = make_model(here / "honest"), make_model(here / "lying", facts=LIES)
    shown = [json.loads(invoke("inspect", path, "--json")[1]) for path in (honest, lying)]
    assert shown[1].pop("claims") == LIES
    del shown[0]["claims"]
    assert shown[0] | {"file": shown[1]["file"]} == shown[1]
    code, out, _ = invoke("inspect", lying, "--all")
    assert (code, "claims.num_parameters" in out) == (0, True)
    assert f"\nnum_parameters              {shown[0]['num_parameters']}\n" in out
    shown = [invoke("inspect", path)[1].splitlines() for path in (honest, lying)]
    assert shown[0][:3] == shown[1][:3]  # the model, its alphabet, and that nothing usable is claimed


def test_unknown_characters_rank_last_and_lines_without_predictions_not_at_all(here):
    make_model(here / "m")
    lines = "that is the question\n\x06\x07\nto b\x06\nto be\n\n\x06"
    code, out, _ = invoke("perplexity", "m", "-", "--by-line", "--unknown", "skip", "--json", stdin=lines.encode())
    assert code == 0
    ranks = {line["text"]: line["rank"] for line in json.loads(out)["files"][0]["lines"]}
    assert ranks == {"": 1, "to be": 2, "that is the question": 3, "to b\x06": 4, "\x06\x07": 5, "\x06": None}


def test_a_line_of_one_given_character_has_no_rank(here):
    make_model(here / "m", text="abc")
    _, out, _ = invoke("perplexity", "m", "-", "--by-line", "--json", stdin=b"a\nab\nc\nabc\n")
    ranks = [(line["text"], line["rank"]) for line in json.loads(out)["files"][0]["lines"]]
    assert [text for text, rank in ranks if rank is None] == ["a", "c"]
    assert sorted(rank for _, rank in ranks if rank) == [1, 2]


def test_a_byte_model_reports_bytes_and_counts_characters(here):
    code, out, err = invoke("train", "text.txt", "--level", "byte", "--steps", "2", *TINY)
    assert code == 0
    assert "bits/byte" in out
    assert "bits/byte" in err
    assert "/char" not in out + err
    shown = json.loads(invoke("perplexity", "checkpoints/text", "-", "--json", stdin="é".encode())[1])["total"]
    assert (shown["num_predictions"], shown["num_chars"]) == (1, 1)
    assert shown["perplexity"] == pytest.approx(np.exp(shown["nats"]))


def test_a_run_of_standard_input_is_named_so_however_it_is_given(here):
    for name, run in (("-", "stdin"), ("/dev/stdin", "stdin-2")):
        code, out, _ = invoke("train", name, "--steps", "2", "--quiet", *TINY, stdin=TEXT.encode())
        assert (code, out) == (0, f"checkpoints/{run}/model.safetensors\n")


def make_odds(path, odds):
    """A model of "a" and "b" that gives "a" these odds whatever came before."""
    model = read_model(make_model(path, text="ab"))
    weights = {name: np.zeros_like(weight) for name, weight in model.weights.items()}
    weights["output.bias"] = np.array([np.log(odds), 0], np.float32)
    write_model(path, type(model)(model.settings, model.vocab, weights, {}))


@pytest.mark.parametrize(("text", "bound"), [("a" * 200, LOWEST), ("b" * 200, HIGHEST)])
def test_a_temperature_at_the_border_of_those_tried_is_said_to_be(here, text, bound):
    make_odds(here / "m", 100)
    (here / "other.txt").write_text(text)
    code, out, _ = invoke("perplexity", "m", "-", "--fit-temperature", "other.txt", stdin=b"abab")
    assert (code, f"temperature {bound:.4f} (the border of those tried: 0.25 to 4)" in out) == (0, True)


def test_a_fitted_temperature_inside_the_bounds_says_no_more(here):
    make_odds(here / "m", 4)
    (here / "other.txt").write_text("b" + "aab" * 500)  # odds of 2: the best temperature is ln 4 / ln 2
    _, out, _ = invoke("perplexity", "m", "-", "--fit-temperature", "other.txt", "--json", stdin=b"abab")
    apart = json.loads(out)["temperature"]
    assert apart["temperature"] == pytest.approx(2.0, rel=2e-3)
    assert "border" not in apart["protocol"]


def test_dynamic_evaluation_is_of_the_very_model_that_was_scored(here, monkeypatch):
    """The file is replaced by another model once it has been read, as a training would."""
    path = make_model(here / "m")

    def replaced(source, vocab, **more):
        make_model(path, hidden_size=9, facts={"step": 2})
        return encode(source, vocab, **more)

    encode = text_scores.encode_source
    expected = json.loads(invoke("perplexity", "m", "text.txt", "--dynamic", "--json")[1])
    monkeypatch.setattr(text_scores, "encode_source", replaced)
    assert json.loads(invoke("perplexity", "m", "text.txt", "--dynamic", "--json")[1]) == expected
    assert read_model(path).settings.hidden_size == 9


@pytest.mark.parametrize("threads", [1, 2])
def test_several_texts_are_scored_by_no_more_threads_than_asked_for(here, monkeypatch, threads):
    import threading

    make_model(here / "m")
    names = [f"part-{number}.txt" for number in range(6)]
    for name in names:
        (here / name).write_text(TEXT)
    used = set()

    def noted(*arguments, **more):
        used.add(threading.get_ident())
        assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == str(threads)
        return score(*arguments, **more)

    score = text_scores.score_exact
    monkeypatch.setattr(text_scores, "score_exact", noted)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    assert invoke("perplexity", "m", *names, "--threads", threads)[0] == 0
    assert 1 <= len(used) <= threads


def test_a_link_to_a_directory_is_passed_over_with_a_note(here):
    (here / "texts").mkdir()
    (here / "texts" / "one.txt").write_text(TEXT)
    (here / "more").mkdir()
    (here / "more" / "two.txt").write_text(TEXT)
    (here / "texts" / "linked").symlink_to(here / "more")
    code, _, err = invoke("train", "texts", "--steps", "2", *TINY)
    assert (code, "passed over 1 link to a directory: 'linked'" in err) == (0, True)
    assert read_model(here / "checkpoints" / "texts").facts["corpus"]["names"] == ["one.txt"]
    (here / "top").symlink_to(here / "texts")
    assert invoke("train", "top", "--steps", "2", *TINY)[0] == 0  # named itself, it is read
