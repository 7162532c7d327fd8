"""Runs of counts and of mixtures are runs like others: whole, listed, described, scored beside baselines."""

import json

import pytest
from command import invoke

TEXT = "abc feed face; add a cafe, bad decade. " * 40


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
