"""Numbers and texts: what is scored, written and shown is what was asked for, and what is not is said."""

from dataclasses import replace

import numpy as np
import pytest
from command import invoke, run
from processes import TINY
from small_model import TEXT, make_model

import charrnn
from charrnn.errors import SettingsError
from charrnn.inference import text_scores
from charrnn.inference.scoring import score_lines
from charrnn.storage.model_file import read_model, write_model


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    make_model(tmp_path / "m")
    return tmp_path


@pytest.mark.parametrize("protocol", [[], ["--windowed", "4"], ["--streams", "2"], ["--by-line"]])
@pytest.mark.parametrize(
    "names", [["-", "-"], ["-", "text.txt", "/dev/stdin"], ["/dev/fd/0", "-"], ["-", "/proc/self/fd/0"]]
)
def test_standard_input_is_not_scored_twice(here, names, protocol):
    code, out, err = invoke("perplexity", "m", *names, *protocol, stdin=b"to be or not")
    assert (code, out) == (3, "")
    assert "standard input (-) can be read only once" in err


@pytest.mark.parametrize(("scored", "fitted_on"), [("-", "-"), ("-", "/dev/stdin"), ("/dev/stdin", "-")])
def test_the_temperature_is_not_fitted_on_the_standard_input_that_is_scored(here, scored, fitted_on):
    code, out, err = invoke("perplexity", "m", scored, "--fit-temperature", fitted_on, stdin=b"to be or not")
    assert (code, out) == (2, "")
    assert "standard input is named both to be scored and with --fit-temperature" in err


@pytest.mark.parametrize("protocol", [[], ["--by-line"]])
def test_what_is_passed_over_while_scoring_is_said(here, protocol):
    (here / "texts").mkdir()
    (here / "texts" / "whole.txt").write_text(TEXT)
    (here / "texts" / "latin.txt").write_bytes(TEXT.encode() + b"\xe9")
    code, _, err = invoke("perplexity", "m", "texts", *protocol)
    assert (code, err) == (0, "note: 'texts': passed over 1 file that is not text: 'latin.txt'\n")


def test_a_text_named_twice_is_scored_twice_and_said(here):
    code, out, err = invoke("perplexity", "m", "text.txt", "./text.txt")
    assert (code, out.count("text.txt")) == (0, 2)
    assert "'text.txt' is named 2 times and read each time" in err


@pytest.mark.parametrize(("alphabet", "unpredicted"), [("abc", ["", "c", "a"]), ("abc\n", [""])])
def test_texts_of_which_nothing_is_predicted_rank_last(here, alphabet, unpredicted):
    model = charrnn.load(make_model(here / "other", text=alphabet))
    predicted = [text for text in ("ab", "c", "a", "abcabc") if text not in unpredicted]
    ranked = model.rank([*unpredicted, *predicted])
    assert ranked[len(predicted) :] == unpredicted
    assert sorted(ranked) == sorted([*unpredicted, *predicted])
    nats = [score.nats for score in model.score_lines(ranked[: len(predicted)])]
    assert nats == sorted(nats)
    assert min(nats) > 0


def test_numbers_of_numpy_are_numbers(here):
    model = charrnn.load(here / "m")
    given = {"length": np.int64(9), "temperature": np.float32(0.5), "top_p": np.float64(0.9), "seed": np.uint8(3)}
    assert model.sample("to", **given) == model.sample("to", length=9, temperature=0.5, top_p=0.9, seed=3)
    for wrong in ({"length": np.float64(9)}, {"temperature": np.float32("nan")}, {"top_k": np.bool_(True)}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            model.sample("to", **wrong)


def test_a_stream_is_one_text_and_says_so(here):
    model = charrnn.load(here / "m")
    with pytest.raises(SettingsError, match="num_samples is 3"):
        model.stream(num_samples=3)
    assert "".join(model.stream(num_samples=1, length=7, seed=1)) == model.sample(length=7, seed=1)[0]


@pytest.mark.parametrize("native", ["0", "1"])
def test_weights_that_overflow_cost_one_line(here, native):
    path = make_model(here / "hot")
    model = read_model(path)
    weights = {name: np.full_like(weight, 3e38) for name, weight in model.weights.items()}
    write_model(path, replace(model, weights=weights))
    for command in (["perplexity", "hot", "text.txt"], ["sample", "hot", "--length", "9"]):
        code, out, err = run(*command, cwd=here, environment={"CHARRNN_NATIVE": native})
        assert (code, out) == (3, "")
        assert err.startswith("charrnn: the model's probabilities are not finite")
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("other", "said"), [("none.txt", "cannot read 'none.txt'"), ("one.txt", "at least two symbols")]
)
def test_a_text_that_no_temperature_can_be_fitted_on_is_refused_before_the_scoring(here, monkeypatch, other, said):
    (here / "one.txt").write_text("t")
    scored = []
    monkeypatch.setattr(text_scores, "score_exact", lambda *arguments, **more: scored.append(arguments))
    code, out, err = invoke("perplexity", "m", "text.txt", "--fit-temperature", other)
    assert (code, out, scored) == (3, "", [])
    assert said in err


@pytest.mark.parametrize(("stop", "is_known"), [("o b", True), ("be\u00fc", False)])
def test_a_stop_text_that_the_model_cannot_write_is_said_to_have_no_effect(here, stop, is_known):
    code, out, err = invoke("sample", "m", "--stop", stop, "--length", "9", "--seed", "1")
    assert (code, bool(out)) == (0, True)
    assert err == (
        "" if is_known else "note: --stop ends no sample: the model does not know 'ü' (U+00FC), and never writes it\n"
    )


def test_a_model_of_bytes_can_write_any_stop_text(here):
    make_model(here / "bytes", level="byte")
    assert invoke("sample", "bytes", "--stop", "be\u00fc", "--length", "9").err == ""


@pytest.mark.parametrize("at", [0, 1, -1])
def test_a_damaged_line_of_the_history_is_not_whole_until_the_run_goes_on(here, at):
    assert invoke("train", "text.txt", "--steps", "2", "--name", "run", *TINY).code == 0
    path = here / "checkpoints" / "run" / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + b'{"event')
    assert invoke("verify", "checkpoints/run").code == 0
    lines[at] = b"\xff" + lines[at][1:]
    path.write_bytes(b"".join(lines))
    code, out, _ = invoke("verify", "checkpoints/run")
    assert (code, out.count("NOT WHOLE")) == (3, 1)
    assert f"1 of its {len(lines)} lines are damaged" in out
    assert invoke("train", "--resume", "checkpoints/run").code == 0
    assert invoke("verify", "checkpoints/run").code == 0


def test_short_lines_are_not_computed_to_the_end_of_a_long_one(here):
    model = charrnn.load(here / "m")
    lines = [model.vocab.encode(text) for text in ["to be\n"] * 63 + ["to be " * 1000 + "\n"]]
    expected = [score_lines(model.predictor, [line], vocab=model.vocab)[0] for line in lines]
    sizes = []

    class Counted(type(model.predictor)):
        def score(self, ids, targets, state):
            sizes.append(ids.size)
            return super().score(ids, targets, state)

    model.predictor.__class__ = Counted
    found = score_lines(model.predictor, lines, vocab=model.vocab)
    assert [score.nats for score in found] == pytest.approx([score.nats for score in expected], rel=1e-6)
    assert sum(sizes) <= 2 * sum(map(len, lines))
