"""Summaries of runs agree with the files they are made of, and bad files are told, never raised."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_model import make_model
from tiny_run import StopAfter, make_run, make_task, never

from charrnn.storage.metrics import read_metrics
from charrnn.storage.model_file import read_model
from charrnn.storage.run_lock import RunLock
from charrnn.storage.run_name import run_directories, runs_directory
from charrnn.storage.run_summary import all_runs, summarized
from charrnn.training.checkpoint import read_checkpoint

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def stopped(tmp_path):
    """A run stopped after five of its twelve steps."""
    list(make_run(make_task(training={"steps": 12, "eval_every": 2}), tmp_path / "stopped").events(StopAfter(5)))
    return tmp_path / "stopped"


def test_a_summary_says_what_the_files_of_a_finished_run_hold(trained):
    run, checkpoint, model = summarized(trained), read_checkpoint(trained / "training.safetensors"), read_model(trained)
    assert (run.name, run.directory, run.state, run.problem) == ("run", trained, "finished", "")
    assert (run.step, run.num_steps, run.best_step) == (checkpoint.step, checkpoint.num_steps, checkpoint.best_step)
    assert run.model == model.settings
    assert (run.level, run.texts, run.num_texts) == ("char", ("text",), 1)
    assert run.score.nats_per_char == model.facts["held_out"]["nats_per_char"]
    assert run.seconds == read_metrics(trained / "metrics.jsonl")[-1]["seconds"]
    assert run.settings["learning_rate"] == checkpoint.training.learning_rate
    assert "embedding_size" not in run.settings  # without effect
    assert abs(run.changed - (trained / "metrics.jsonl").stat().st_mtime) < 60


def test_a_summary_is_plain_json(trained):
    plain = json.loads(json.dumps(summarized(trained).to_json(), allow_nan=False))
    assert plain["held_out"]["bits_per_char"] == summarized(trained).score.bits_per_char
    assert plain["state"] == "finished"


def test_a_run_says_whether_it_is_stopped_running_or_without_patience(stopped, tmp_path):
    assert (summarized(stopped).state, summarized(stopped).step) == ("stopped", 5)
    with RunLock(stopped):
        assert summarized(stopped).state == "running"
    task = make_task(training={"steps": 400, "eval_every": 1, "patience": 1, "learning_rate": 9.0})
    list(make_run(task, tmp_path / "impatient").events(never))
    impatient = summarized(tmp_path / "impatient")
    assert impatient.step < 400
    assert impatient.state == "finished"


def test_a_model_alone_is_no_damage(tmp_path):
    (tmp_path / "shared").mkdir()
    make_model(tmp_path / "shared" / "model.safetensors", level="byte")
    run = summarized(tmp_path / "shared")
    assert (run.state, run.problem, run.level, run.step, run.score) == ("model only", "", "byte", None, None)


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_a_file_cut_short_is_damage_that_is_told(run_of, name, kept):
    path = run_of / name
    path.write_bytes(path.read_bytes()[:kept])
    run = summarized(run_of)
    assert run.state == "damaged"
    assert name in run.problem
    assert run.model is not None  # the other file still says it


def test_a_lost_model_is_damage_and_a_lost_history_costs_only_its_time(run_of):
    (run_of / "metrics.jsonl").unlink()
    assert (summarized(run_of).state, summarized(run_of).seconds) == ("finished", None)
    (run_of / "model.safetensors").unlink()
    run = summarized(run_of)
    assert run.state == "damaged"
    assert "model.safetensors is missing" in run.problem
    assert run.score is not None  # the training state knows it too


def test_what_is_no_file_where_one_should_be_is_damage(run_of):
    for name in ("model.safetensors", "training.safetensors", "metrics.jsonl"):
        (run_of / name).unlink()
    (run_of / "model.safetensors").mkdir()
    os.mkfifo(run_of / "training.safetensors")
    (run_of / "metrics.jsonl").symlink_to(run_of / "nowhere")
    run = summarized(run_of)
    assert run.state == "damaged"
    assert run.problem.count("not a regular file") == 2


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()))
def test_runs_of_every_version_are_summarized(name):
    run = summarized(GOLDEN / name)
    assert run.problem == ""
    assert run.state == ("stopped" if "stopped" in name else "model only")
    assert run.score.nats_per_char == read_model(GOLDEN / name).facts["held_out"]["nats_per_char"]
    assert run.model == read_model(GOLDEN / name).settings


def test_all_runs_are_listed_the_latest_last_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert all_runs() == []
    runs = tmp_path / "checkpoints"
    for age, name in enumerate(("b", "a", "c")):
        (runs / name).mkdir(parents=True)
        path = make_model(runs / name / "model.safetensors")
        os.utime(path, (1e9 - age, 1e9 - age))
    (runs / "empty").mkdir()
    (runs / ".hidden").mkdir()
    make_model(runs / ".hidden" / "model.safetensors")
    (runs / "README.md").touch()
    (runs / "dangling").symlink_to(runs / "nowhere")
    assert [run.name for run in all_runs()] == ["c", "a", "b"]
    assert [path.name for path in run_directories()] == ["c", "a", "b"]


def test_a_run_that_has_just_begun_is_listed(tmp_path):
    (tmp_path / "new").mkdir()
    assert all_runs(tmp_path) == []
    with RunLock(tmp_path / "new"):
        (run,) = all_runs(tmp_path)
        assert (run.state, run.model, run.step) == ("running", None, None)
        assert time.time() - run.changed < 60


def test_the_directory_of_runs_can_be_set(tmp_path, monkeypatch):
    monkeypatch.delenv("CHARRNN_RUNS", raising=False)
    assert runs_directory() == Path("checkpoints")
    monkeypatch.setenv("CHARRNN_RUNS", str(tmp_path))
    assert runs_directory() == tmp_path


def test_a_file_from_the_far_future_has_a_time_that_can_be_told(trained):
    assert replace(summarized(trained), changed=1e13).to_json()["changed"].startswith("9999")
