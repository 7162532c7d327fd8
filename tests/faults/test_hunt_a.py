"""Runs at odd moments: saves that fail at the end, files of other runs, settings and directories that do not fit."""

import json
import resource
import signal
import time
import tomllib

import pytest
from command import end_of, invoke, start, wait_for

from charrnn.errors import ExitCode
from charrnn.storage.metrics import read_metrics
from charrnn.training.checkpoint import read_checkpoint

TEXT = "the quick brown fox jumps over the lazy dog; " * 60
SIZES = ["--hidden-size", "6", "--batch-size", "4", "--bptt", "16", "--threads", "1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def train(*arguments):
    return invoke("train", *arguments, *SIZES)


def resume(*arguments):
    return invoke("train", "--resume", *arguments)


def test_a_run_whose_model_cannot_be_written_at_its_end_does_not_succeed(here):
    assert train("text.txt", "--steps", "2", "--eval-every", "2", "--name", "run")[0] == 0
    directory = here / "checkpoints" / "run"
    whole = {name: (directory / name).read_bytes() for name in ("model.safetensors", "training.safetensors")}
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors").mkdir()  # nothing can take its place
    code, out, err = resume("checkpoints/run")
    assert code == ExitCode.OUTPUT, err
    assert out == ""
    assert err.count("the model could not be saved at step 2") == 2
    (directory / "model.safetensors").rmdir()
    assert read_checkpoint(directory / "training.safetensors").step == 2
    assert resume("checkpoints/run")[0] == 0
    assert {name: (directory / name).read_bytes() for name in whole} == whole


def test_a_run_that_stops_and_cannot_be_saved_does_not_say_that_it_can_go_on(here):
    # The training state does not fit, the model does.
    options = ["--steps", "100000", "--eval-every", "100000", "--name", "run"]
    limits = {resource.RLIMIT_FSIZE: 6_000}
    with start("train", "text.txt", *SIZES, *options, limits=limits, cwd=here) as process:
        wait_for(process, "warning: the training state could not be saved at step 0")
        process.send_signal(signal.SIGINT)
        ended = end_of(process)
    assert ended.code == ExitCode.OUTPUT, ended.err
    assert "go on with: charrnn" not in ended.err
    assert not (here / "checkpoints" / "run" / "training.safetensors").exists()


def test_resume_leaves_nothing_in_a_directory_that_holds_no_run(here):
    (here / "texts").mkdir()
    (here / "texts" / "text.txt").write_text(TEXT)
    code, _, err = resume("texts")
    assert code == ExitCode.INPUT
    assert "'texts' has no run to resume (training.safetensors is missing)" in err
    assert [path.name for path in (here / "texts").iterdir()] == ["text.txt"]
    assert train("texts", "--steps", "2")[0] == 0  # still a directory of texts, not a run


def test_resume_of_a_name_that_no_directory_can_have_is_an_input_error(here):
    code, _, err = resume("x" * 300)
    assert code == ExitCode.INPUT
    assert "there is no run" in err


def test_the_settings_of_a_fine_tuned_run_serve_from_another_directory(here, monkeypatch):
    assert train("text.txt", "--steps", "2", "--name", "old")[0] == 0
    fine_tuned = ["--init-from", "checkpoints/old", "--steps", "2", "--threads", "1"]
    assert invoke("train", "text.txt", *fine_tuned, "--name", "new")[0] == 0
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    code, _, err = invoke("train", "--config", "../checkpoints/new/run.toml", "--name", "again")
    assert code == 0, err
    models = [here / "checkpoints" / "new", here / "elsewhere" / "checkpoints" / "again"]
    assert len({(run / "model.safetensors").read_bytes() for run in models}) == 1


@pytest.mark.parametrize(
    ("file", "options", "expected"),
    [
        ("val-fraction = 0.2", ["--val", "val.txt"], {"val_fraction": None}),
        ('val = ["val.txt"]', ["--val-fraction", "0.3"], {"val": None, "val_fraction": 0.3}),
        ('encoding = "latin-1"', ["--level", "byte"], {"level": "byte", "encoding": "utf-8"}),
        ("embedding-size = 4", ["--input", "one-hot"], {"input": "one-hot", "embedding_size": None}),
        ('input = "one-hot"', ["--embedding-size", "4"], {"input": "embedding", "embedding_size": 4}),
        ('cell = "lstm"', ["--reset", "before"], {"cell": "gru-before"}),
        ("samples = true", ["--quiet"], {}),
        ("quiet = true", ["--samples"], {}),
    ],
)
def test_options_win_over_what_does_not_go_with_them_in_a_file(here, file, options, expected):
    (here / "val.txt").write_text(TEXT[::-1])
    (here / "file.toml").write_text(f'texts = ["text.txt"]\n{file}\n')
    code, _, err = train("--config", "file.toml", *options, "--steps", "2", "--name", "run")
    assert code == 0, err
    settings = tomllib.loads((here / "checkpoints" / "run" / "run.toml").read_text())
    assert {name: settings.get(name) for name in expected} == expected


def test_the_model_of_another_run_is_not_taken_for_that_of_this_one(here):
    (here / "other.txt").write_text(TEXT.upper() * 2 + "0123456789")
    assert train("text.txt", "--steps", "2", "--name", "run")[0] == 0
    assert train("other.txt", "--steps", "2", "--name", "other")[0] == 0
    models = [here / "checkpoints" / name / "model.safetensors" for name in ("run", "other")]
    own, foreign = (path.read_bytes() for path in models)
    models[0].write_bytes(foreign)
    code, _, err = resume("checkpoints/run")
    assert code == ExitCode.INPUT
    assert "belongs to another run" in err
    assert models[0].read_bytes() == foreign  # it may be the only copy
    models[0].unlink()
    assert resume("checkpoints/run")[0] == 0
    assert len(models[0].read_bytes()) == len(own)


def test_the_time_before_a_stop_between_two_evaluations_counts(here):
    options = ["--steps", "1000000", "--eval-every", "1000000", "--name", "run"]

    def seconds_until_stopped(*arguments, seconds):
        with start("train", *arguments, "--json", cwd=here) as process:
            wait_for(process, "plan:")
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            return json.loads(end_of(process).out)["seconds"]

    first = seconds_until_stopped("text.txt", *SIZES, *options, seconds=1.0)
    assert first >= 0.9
    assert seconds_until_stopped("--resume", "checkpoints/run", seconds=0.1) > first
    assert read_metrics(here / "checkpoints" / "run" / "metrics.jsonl")[-1]["event"] == "stopped"


def test_a_run_that_patience_ended_stays_ended_where_its_model_is_lost(here):
    (here / "text.txt").write_text("a" * 3000)  # soon learned: no evaluation is better than the first ones
    options = ["--steps", "3000", "--eval-every", "5", "--patience", "1", "--learning-rate", "0.5", "--name", "run"]
    assert train("text.txt", *options)[0] == 0
    directory = here / "checkpoints" / "run"
    step = read_checkpoint(directory / "training.safetensors").step
    assert step < 3000
    for _ in range(2):
        (directory / "model.safetensors").unlink()
        code, _, err = resume("checkpoints/run")
        assert code == 0, err
        assert "the best model is lost" in err
        assert read_checkpoint(directory / "training.safetensors").step == step
        assert (directory / "model.safetensors").exists()


def test_a_file_of_settings_may_begin_with_a_byte_order_mark(here):
    (here / "file.toml").write_bytes(b'\xef\xbb\xbftexts = ["text.txt"]\r\nseed = 3\r\n')
    code, _, err = train("--config", "file.toml", "--steps", "2", "--name", "run")
    assert code == 0, err
    assert read_checkpoint(here / "checkpoints" / "run" / "training.safetensors").training.seed == 3
