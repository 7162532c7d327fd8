"""Runs of counts and of mixtures are runs like others: whole, listed, described, scored beside baselines."""

import json
import shutil

import numpy as np
import pytest
from command import invoke, libraries_of, run

from charrnn.models.counts.settings import CountsSettings
from charrnn.storage.model_file import read_model

TEXT = "abc feed face; add a cafe, bad decade. " * 40
KNOWN = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "runs", "away"]
WORDS = " ".join(np.random.default_rng(0).choice(KNOWN, 800)) + "\n"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A directory with a text, a network of it, counts of it, and a mixture of both."""
    here = tmp_path_factory.mktemp("counted")
    (here / "text.txt").write_text(TEXT)
    (here / "new.txt").write_text("a bad cafe; add decade, face feed abc. " * 4)
    short = ("--steps", 2, "--hidden-size", 4, "--batch-size", 2, "--bptt", 5, "--threads", 1, "--quiet")
    assert invoke("train", "text.txt", *short, cwd=here).code == 0
    assert invoke("count", "text.txt", "--memory", 1, "--quiet", cwd=here).code == 0
    assert invoke("mix", "text", "text-counts", "--quiet", cwd=here).code == 0
    return here


@pytest.mark.parametrize("name", ["text-counts", "text-mix"])
def test_a_run_without_training_is_whole_when_its_model_is(here, name):
    code, out, _ = invoke("verify", name, cwd=here)
    assert code == 0
    assert "model.safetensors" in out
    assert "MISSING" not in out
    assert "NOT WHOLE" not in out
    assert ("run.toml" in out) == (name == "text-counts")


def test_a_damaged_model_of_counts_is_not_whole(here, tmp_path):
    whole = (here / "checkpoints" / "text-counts" / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    code, out, _ = invoke("verify", tmp_path)
    assert (code, "NOT WHOLE" in out) == (3, True)


def test_runs_lists_the_score_and_time_of_counts(here):
    counts = json.loads(invoke("runs", "text-counts", "--json", cwd=here).out)["runs"][0]
    said = json.loads(invoke("inspect", "text-counts", "--json", cwd=here).out)["claims"]
    assert counts["state"] == "finished"
    assert counts["held_out"]["nats"] == said["held_out"]["nats"] > 0
    assert counts["seconds"] == said["seconds"] >= 0
    assert counts["settings"]["memory"] == 1
    shown = invoke("runs", cwd=here).out
    assert f"{counts['held_out']['bits_per_char']:.4f}" in shown
    mixture = json.loads(invoke("runs", "text-mix", "--json", cwd=here).out)["runs"][0]
    assert (mixture["texts"], mixture["state"]) == (["text.txt"], "finished")


def test_inspect_tells_score_memory_and_members(here):
    counts = invoke("inspect", "text-counts", cwd=here).out
    assert "scored 0." in counts or "scored 1." in counts
    assert "with at most 1 MiB" in counts
    mixture = invoke("inspect", "text-mix", cwd=here).out
    assert "LSTM 1x4: scored" in mixture
    assert "counts: scored" in mixture


def test_the_better_by_held_out_score_counts_more(here):
    out = invoke("mix", "text", "text-counts", "--name", "again", cwd=here).out
    shares = [float(line.split(" for ")[0].split()[-1]) for line in out.splitlines() if " for text" in line]
    assert shares[0] < 0.1 < 0.9 < shares[1]


def test_models_beside_stand_among_the_baselines(here):
    code, out, err = invoke(
        *("perplexity", "text", "new.txt", "--with", "text-counts", "--baselines", "--dynamic", "--json"), cwd=here
    )
    assert code == 0, err
    found = json.loads(out)
    rows = {row["name"]: row for row in found["baselines"]["scores"]}
    names = ["counts", "dynamic counts", "LSTM 1x4", "dynamic", "text-counts alone", "mixture", "dynamic mixture"]
    assert list(rows)[-7:] == names
    assert rows["mixture"]["nats"] == found["mixture"]["total"]["nats"]
    assert rows["text-counts alone"]["nats"] == found["text-counts alone"]["total"]["nats"]
    learned = [rows[name]["learning_seconds"] for name in ("LSTM 1x4", "text-counts alone")]
    assert rows["mixture"]["learning_seconds"] == pytest.approx(sum(learned))


def test_the_text_of_counts_is_found_through_their_run(here):
    code, out, err = invoke("perplexity", "text-counts", "new.txt", "--baselines", "--json", cwd=here)
    assert code == 0, err
    found = json.loads(out)["baselines"]
    assert found["training_text"] == {"names": ["text.txt"], "num_symbols": len(TEXT) * 9 // 10}
    # The default memory and one MiB both lose nothing of so short a text.
    rows = {row["name"]: row["nats"] for row in found["scores"]}
    assert rows["this model"] == pytest.approx(rows["counts"], rel=1e-6)


def test_a_limit_to_copying_holds_for_mixtures_too(here):
    code, out, err = invoke(
        *("sample", "text", "--with", "text-counts", "--max-copy", 5, "--copying", "-n", 80, "--seed", 1, "--json"),
        cwd=here,
    )
    assert code == 0, err
    text = json.loads(out)["samples"][0]["text"]
    assert not any(text[at : at + 6] in TEXT[: len(TEXT) * 9 // 10] for at in range(75))


# ---- made ----


def counted(*arguments, cwd):
    code, out, err = invoke("count", *arguments, cwd=cwd)
    assert code == 0, err
    return out


@pytest.fixture
def fresh(tmp_path):
    (tmp_path / "text.txt").write_text(WORDS)
    return tmp_path


def test_a_text_is_counted_into_a_run_named_after_it(fresh):
    shown = counted("text.txt", cwd=fresh)
    names = {path.name for path in (fresh / "checkpoints" / "text-counts").iterdir()}
    assert names == {"model.safetensors", "run.toml", ".lock"}
    assert "charrnn sample text-counts" in shown
    assert "held-out loss" in shown
    again = counted("text.txt", cwd=fresh)  # beside the first
    assert "charrnn sample text-counts-" in again


def test_json_tells_the_run_and_the_score_that_its_file_states(fresh):
    told = json.loads(counted("text.txt", "--json", cwd=fresh))
    model = read_model(told["model"] if told["model"].startswith("/") else fresh / told["model"])
    assert told["nats_per_char"] == model.facts["held_out"]["nats_per_char"]
    assert told["num_predictions"] == len(WORDS) - len(WORDS) * 9 // 10 - 1
    assert isinstance(model.settings, CountsSettings)
    assert model.settings.title == told["shape"]
    assert 0 < told["nats_per_char"] < 2.0 < np.log(model.vocab.size)


def test_quiet_prints_the_path_alone(fresh):
    ended = invoke("count", "text.txt", "--quiet", "--name", "some", cwd=fresh)
    assert ended == (0, "checkpoints/some/model.safetensors\n", "")


def same(one, other):
    """Makes sure that the arrays of two stored models are equal."""
    first, second = read_model(one).weights, read_model(other).weights
    assert list(first) == list(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_the_same_text_gives_the_same_model(fresh):
    first, second = (fresh / counted("text.txt", "-q", "--name", name, cwd=fresh).strip() for name in ("a", "b"))
    same(first, second)


def test_the_stored_model_scores_as_the_one_that_was_made(fresh):
    told = json.loads(counted("text.txt", "--json", cwd=fresh))
    held_out = WORDS[len(WORDS) - told["num_predictions"] - 1 :]
    code, out, err = invoke("perplexity", "text-counts", "-", "--json", stdin=held_out.encode(), cwd=fresh)
    assert code == 0, err
    assert json.loads(out)["total"]["nats"] == pytest.approx(told["nats"], rel=1e-12)


@pytest.mark.parametrize(("memory", "most"), [("1", 1 << 20), ("2", 2 << 20)])
def test_memory_bounds_the_table(fresh, memory, most):
    path = fresh / counted("text.txt", "-q", "--memory", memory, cwd=fresh).strip()
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
        assert 0 <= found.get("total", found)["nats"] < 300


def test_a_text_of_bytes_is_counted_and_writes_utf_8(fresh):
    (fresh / "text.txt").write_text("größer wäre schöner, meinte der Käfer\n" * 30)
    counted("text.txt", "--level", "byte", cwd=fresh)
    code, out, err = invoke("sample", "text-counts", "größ", "--length", 200, "--seed", 3, "-q", cwd=fresh)
    assert code == 0, err
    assert out.startswith("größ")
    assert "\ufffd" not in out
    code, out, err = invoke("perplexity", "text-counts", "text.txt", "--dynamic", cwd=fresh)
    assert code == 0, err
    assert "byte" in out


def test_a_separate_held_out_text_is_scored(fresh):
    (fresh / "other.txt").write_text("the lazy cat\n" * 4)  # with a letter that is not in the text
    told = json.loads(counted("text.txt", "--val", "other.txt", "--json", cwd=fresh))
    assert told["num_predictions"] == 13 * 4 - 1


def test_a_run_that_was_counted_is_shown_checked_and_described(here):
    for command in (["runs"], ["runs", "text-counts"], ["inspect", "text-counts"], ["inspect", "text-counts", "--all"]):
        code, out, err = invoke(*command, cwd=here)
        assert code == 0, err
        assert "counts" in out
    code, out, _ = invoke("inspect", "text-counts", "--json", cwd=here)
    assert (code, json.loads(out)["model"]["form"]) == (0, "counts")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "name at least one TEXT"),
        (["nowhere.txt"], 3, "nowhere.txt"),
        (["text.txt", "--memory", "0"], 2, "from 1 to"),
        (["text.txt", "--level", "word"], 2, "char"),
        (["empty.txt"], 3, "at least 2 symbols"),
    ],
)
def test_what_cannot_be_counted_is_refused_and_leaves_nothing(fresh, arguments, code, told):
    (fresh / "empty.txt").write_text("")
    ended = invoke("count", *arguments, cwd=fresh)
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert not (fresh / "checkpoints").exists() or not list((fresh / "checkpoints").iterdir())


def test_what_needs_a_network_refuses_counts_by_name(here, tmp_path):
    shutil.copytree(here, tmp_path, dirs_exist_ok=True)
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


def test_counting_scoring_and_writing_load_no_torch(fresh):
    assert libraries_of("count", "text.txt", "-q", cwd=fresh) <= {"numpy", "tqdm"}
    assert libraries_of("sample", "text-counts", "-q", "--length", 5, cwd=fresh) == {"numpy"}
    assert libraries_of("sample", "text-counts", "-q", "--length", 5, "--dynamic", cwd=fresh) == {"numpy"}
    assert libraries_of("sample", "text-counts", "--with", "text-counts", "-q", "-n", 5, cwd=fresh) == {"numpy"}
    assert "torch" not in libraries_of("perplexity", "text-counts", "text.txt", "--dynamic", "-q", cwd=fresh)


@pytest.mark.long
def test_without_a_compiler_all_numbers_are_the_same(tmp_path):
    (tmp_path / "text.txt").write_text(WORDS[:2000])
    found = []
    for native in ("1", "0"):
        variables = {"CHARRNN_NATIVE": native} if native == "0" else {}
        arguments = ("count", "text.txt", "--quiet", "--name", f"with-{native}")
        ended = run(*arguments, cwd=tmp_path, fresh=True, environment=variables)
        assert ended.code == 0, ended.err
        path = tmp_path / ended.out.strip()
        arguments = ("perplexity", f"with-{native}", "-", "--dynamic", "--json")
        scored = run(*arguments, stdin=WORDS[2000:2300].encode(), cwd=tmp_path, fresh=True, environment=variables)
        assert scored.code == 0, scored.err
        found.append((path, json.loads(scored.out)["total"], json.loads(scored.out)["dynamic"]["total"]))
    same(found[0][0], found[1][0])
    assert found[0][1:] == found[1][1:]
