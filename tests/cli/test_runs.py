"""``charrnn runs`` on directories of runs, whole and broken."""

import json
import shutil
import time

import pytest
from command import invoke, libraries_of, run
from processes import TINY
from small_model import make_model

from charrnn.storage.model_file import read_model
from charrnn.storage.run_lock import RunLock


@pytest.fixture
def here(tmp_path, text, monkeypatch):
    """Three runs of a text, each of another size; the last is of its bytes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARRNN_RUNS", raising=False)
    for name, more in (("small", []), ("large", ["--hidden-size", "9"]), ("bytes", ["--level", "byte"])):
        ended = invoke("train", "text.txt", "--steps", "4", "--name", name, "--quiet", *TINY, *more)
        assert ended.code == 0, ended.err
        time.sleep(0.02)  # so that the next one is later
    return tmp_path / "checkpoints"


def rows_of(out):
    heading, *rows = out.splitlines()
    ends = [heading.index(name) for name in ("model", "text", "held-out", "steps")]
    return {row[: ends[0]].strip(): row for row in rows}


def test_all_runs_are_listed_with_what_their_models_scored(here):
    code, out, err = invoke("runs")
    assert (code, err) == (0, "")
    rows = rows_of(out)
    assert list(rows) == ["small", "large", "bytes"]
    for name, row in rows.items():
        model = read_model(here / name)
        nats = model.facts["held_out"]["nats"] / model.facts["held_out"]["num_predictions"]
        assert f"{nats / 0.6931471805599453:.4f}/{model.vocab.level}" in row
        assert f"LSTM 1x{model.settings.hidden_size}" in row
        assert row.endswith("finished")


def test_the_same_is_had_as_json(here):
    code, out, _ = invoke("runs", "--json")
    listed = json.loads(out)["runs"]
    assert (code, [run["name"] for run in listed]) == (0, ["small", "large", "bytes"])
    assert [run["held_out"]["nats"] for run in listed] == [
        read_model(here / name).facts["held_out"]["nats"] for name in ("small", "large", "bytes")
    ]
    assert {run["state"] for run in listed} == {"finished"}


def test_two_runs_stand_side_by_side_with_what_differs(here):
    code, out, err = invoke("runs", "large", "checkpoints/small")
    assert (code, out.splitlines()[0].split()) == (0, ["large", "small"])
    assert ["hidden_size", "9", "6"] in [line.split() for line in out.splitlines()]
    assert "seed" not in out
    assert "other settings are the same; charrnn runs large shows them" in err
    assert "cannot be compared" not in err
    compared = json.loads(invoke("runs", "large", "small", "--json").out)
    assert [run["name"] for run in compared["runs"]] == ["large", "small"]
    assert compared["differs"]["hidden_size"] == [9, 6]
    assert "seed" not in compared["differs"]


def test_scores_of_characters_and_bytes_are_not_compared(here):
    assert "the scores cannot be compared" in invoke("runs", "small", "bytes").err


def test_one_run_is_shown_with_all_its_settings(here):
    code, out, _ = invoke("runs", "small")
    assert code == 0
    assert {"hidden_size", "seed", "learning_rate", "cell"} <= {line.split()[0] for line in out.splitlines()[1:]}
    assert "differs" not in json.loads(invoke("runs", "small", "--json").out)


def test_whatever_state_a_run_is_in_it_is_shown(here):
    shutil.copytree(here / "small", here / "cut")
    data = (here / "cut" / "model.safetensors").read_bytes()
    (here / "cut" / "model.safetensors").write_bytes(data[:-1])
    (here / "shared").mkdir()
    make_model(here / "shared" / "model.safetensors")
    shutil.copytree(here / "small", here / "a\x1b[2J\nb")
    with RunLock(here / "large"):
        code, out, err = invoke("runs")
    assert code == 0
    states = {name: row.split()[-1] for name, row in rows_of(out).items()}
    assert states == {
        "cut": "damaged",
        "shared": "only",
        "large": "running",
        "small": "finished",
        "bytes": "finished",
        "a\\x1b[2J\\nb": "finished",
    }
    assert len(err.splitlines()) == 1
    assert err.startswith("note: cut: ")
    code, out, err = invoke("runs", "cut", "shared")
    assert (code, "damaged" in out, "model only" in out) == (0, True, True)


def test_without_runs_the_way_to_one_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke("runs") == (0, "", "checkpoints holds no runs yet: make one with charrnn train TEXT\n")
    assert json.loads(invoke("runs", "--json").out) == {"runs": []}


def test_runs_kept_elsewhere_are_listed_and_named(here, tmp_path):
    shutil.move(here, tmp_path / "elsewhere")
    assert list(rows_of(invoke("runs", "--out", "elsewhere").out)) == ["small", "large", "bytes"]
    assert invoke("runs", "-o", "elsewhere", "small").out.split()[0] == "small"
    assert run("runs", environment={"CHARRNN_RUNS": "elsewhere"}).out.count("finished") == 3
    assert invoke("runs").out == ""


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["smal"], 3, "did you mean small?"),
        ([""], 2, "'' names no run"),
        (["text.txt"], 3, "'text.txt' is not a run's directory"),
        (["checkpoints/small/model.safetensors"], 3, "is not a run's directory"),
        (["--out", ""], 2, "--out '': must be a path"),
        (["--out", "text.txt"], 3, "cannot look into 'text.txt'"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(here, given, code, said):
    ended = invoke("runs", *given)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (code, "", 1)
    assert said in ended.err


def test_hundreds_of_runs_are_listed_without_torch(here):
    for number in range(200):
        shutil.copytree(here / "small", here / f"copy-{number}")
    began = time.monotonic()
    assert "torch" not in libraries_of("runs")
    # On a usual machine half a second: others may be at work.
    assert time.monotonic() - began < 5
    assert invoke("runs").out.count("finished") == 203
