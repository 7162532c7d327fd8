"""A run's history as numbers: all of it for a run of today, what there is of an older one, nothing that is not one."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from command import invoke

from charrnn.storage.metrics import read_metrics
from charrnn.storage.run_history import RunHistory, history_of
from charrnn.storage.run_summary import RunSummary, summarized
from charrnn.units import Score

TRAIN = [
    "--steps",
    "6",
    "--eval-every",
    "3",
    "--hidden-size",
    "3",
    "--batch-size",
    "4",
    "--bptt",
    "5",
    "--threads",
    "1",
]


def written(tmp_path, *lines, **known):
    """A run whose history has these lines."""
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return RunSummary(name="run", directory=tmp_path, state="stopped", **known)


@pytest.mark.parametrize("level", ["char", "byte"])
def test_a_run_keeps_its_updates_evaluations_and_samples(tmp_path, level):
    (tmp_path / "text.txt").write_text("naïve fox jumps; " * 40, encoding="utf-8")
    assert invoke("train", "text.txt", *TRAIN, "--level", level, cwd=tmp_path).code == 0
    run = summarized(tmp_path / "checkpoints" / "text")
    history = history_of(run)
    assert [each.step for each in history.updates] == [1, 2, 3, 4, 5, 6]
    assert [each.step for each in history.evaluations] == [each.step for each in history.samples] == [3, 6]
    assert history.symbols_per_step == 20
    lowest = min(each.nats for each in history.evaluations)
    # The best model is scored again in float32 at the end: bfloat16, where there is one, has eight bits.
    assert lowest == pytest.approx(run.score.nats_per_symbol, rel=2**-8)
    seconds = [each.seconds for each in history.updates]
    assert seconds == sorted(seconds)
    assert all(each.gradient_norm > 0 and each.learning_rate > 0 for each in history.updates)
    assert all(each.text for each in history.samples)


def test_an_older_run_of_bytes_gives_its_loss_per_byte(tmp_path):
    score = Score(nats=30.0, nats_squared=1.0, num_predictions=20, num_chars=10, num_bytes=20)
    run = written(tmp_path, {"event": "evaluated", "step": 5, "seconds": 1, "nats_per_char": 3.0}, level="byte")
    assert history_of(replace(run, score=score)).evaluations[0].nats == 1.5
    assert history_of(replace(run, score=score, level="char")).evaluations[0].nats == 3.0


def test_what_is_no_number_is_left_out(tmp_path):
    good = {"event": "updated", "step": 1, "seconds": 0.5, "nats": 2.0, "gradient_norm": None, "learning_rate": "1"}
    wrong = [
        good | {"step": step, "seconds": seconds}
        for step, seconds in ((True, 1), (0, 1), (-1, 1), (1 << 62, 1), (2, math.nan), (2, -1), (2, "1"), (2, None))
    ]
    more = [
        {"event": "sampled", "step": 1, "seconds": 1, "text": 5},
        {"event": "evaluated", "step": 1, "seconds": 1, "nats_per_symbol": 1e300},
        {"event": []},
    ]
    run = written(tmp_path, *wrong, good, *more, settings={"batch_size": "8", "bptt": 2})
    [update] = history_of(run).updates
    assert (update.nats, update.gradient_norm, update.learning_rate) == (2.0, None, None)
    assert history_of(run) == RunHistory(updates=(update,))


def test_a_run_of_an_earlier_version_has_evaluations_alone():
    golden = Path(__file__).parent / "golden"
    for stopped in sorted(golden.glob("form-*-stopped")):
        run = summarized(stopped)
        num_evaluated = sum(line.get("event") == "evaluated" for line in read_metrics(stopped / "metrics.jsonl"))
        history = history_of(run)
        assert (len(history.evaluations), history.updates, history.samples) == (num_evaluated, (), ())
        assert history.symbols_per_step == run.settings["batch_size"] * run.settings["bptt"]


def test_a_run_without_a_history_has_none(tmp_path):
    run = written(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    assert history_of(run) == RunHistory()
