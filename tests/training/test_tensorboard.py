"""TensorBoard's events say what the history says, each step once, also after a resume and after a crash."""

import signal
import struct
import sys
from collections import defaultdict

import pytest
from command import end_of, invoke, start, wait_for
from tiny_run import StopAfter, make_run, make_task, never

from charrnn.storage.metrics import read_metrics
from charrnn.training import event
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.tensorboard import DIRECTORY, EventLog

pytest.importorskip("tensorboardX", reason="tensorboardX, which writes events, is not installed")
TASK = {"training": {"steps": 12, "eval_every": 4}}
SESSION = "charrnn train play.txt --steps 1000000 --eval-every 50 --patience 1000000 --hidden-size 4 --threads 1"


def masked_crc(data):
    """CRC-32C as TensorFlow's records have it (Castagnoli, bit by bit; masked as in tensorflow/core/lib/hash)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events_of(run):
    """The events of a run's only file, each record checked."""
    from tensorboardX.proto.event_pb2 import Event

    [path] = (run / DIRECTORY).iterdir()
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack_from("<Q", data)
        (crc_of_length, body, crc_of_body), data = (
            struct.unpack_from(f"<I{length}sI", data, 8),
            data[16 + length :],
        )
        assert (crc_of_length, crc_of_body) == (masked_crc(struct.pack("<Q", length)), masked_crc(body))
        found.append(Event.FromString(body))
    return found


def series(run):
    """(step, value) of each name, in the order in which they were written."""
    found = defaultdict(list)
    for each in events_of(run):
        for value in each.summary.value:
            number = value.tensor.string_val[0].decode() if value.tag.endswith("summary") else value.simple_value
            found[value.tag].append((each.step, number))
    return dict(found)


def told(run):
    """The same of the run's history."""
    lines = read_metrics(run / "metrics.jsonl")
    of = {what: [line for line in lines if line["event"] == what] for what in ("updated", "evaluated", "sampled")}

    def column(what, key):
        return [(line["step"], pytest.approx(line[key], rel=1e-6)) for line in of[what]]  # float32

    samples = [(line["step"], "\n".join(f"    {part}" for part in line["text"].splitlines())) for line in of["sampled"]]
    return {
        "loss/update": column("updated", "nats"),
        "gradient_norm": column("updated", "gradient_norm"),
        "learning_rate": column("updated", "learning_rate"),
        "loss/training": column("evaluated", "train_nats"),
        "loss/held-out": column("evaluated", "nats_per_symbol"),
        "bits_per_char/held-out": column("evaluated", "bits_per_char"),
        "sample/text_summary": samples,
    }


def test_the_events_are_the_history(tmp_path):
    list(make_run(make_task(**TASK), tmp_path, tensorboard=True).events(never))
    assert series(tmp_path) == told(tmp_path)
    first, second, *_ = events_of(tmp_path)
    assert first.file_version == "brain.Event:2"
    assert second.session_log.status == second.session_log.START
    times = [each.wall_time for each in events_of(tmp_path)[1:]]
    assert times == sorted(times)


def test_without_the_setting_there_are_none(tmp_path):
    list(make_run(make_task(**TASK), tmp_path).events(never))
    assert not (tmp_path / DIRECTORY).exists()


@pytest.mark.parametrize("is_first_with", [True, False], ids=["from the beginning", "from the second part on"])
@pytest.mark.parametrize("num_updates", [1, 4, 6, 11])
def test_a_run_that_goes_on_has_each_step_once(tmp_path, num_updates, is_first_with):
    task = make_task(**TASK)
    list(make_run(task, tmp_path, tensorboard=is_first_with).events(StopAfter(num_updates)))
    again = make_run(task, tmp_path, checkpoint=read_checkpoint(tmp_path / "training.safetensors"), tensorboard=True)
    list(again.events(never))
    found = series(tmp_path)
    assert found == told(tmp_path)
    assert [step for step, _ in found["loss/update"]] == list(range(1, 13))
    assert [step for step, _ in found["loss/held-out"]] == [4, 8, 12]


def test_a_killed_run_that_goes_on_has_each_step_once(tmp_path):
    (tmp_path / "play.txt").write_text("to be or not to be, that is the question\n" * 10)
    process = start(*SESSION.split()[1:], "--tensorboard", cwd=tmp_path)
    wait_for(process, "step 200/")
    process.kill()
    end_of(process)
    run = tmp_path / "checkpoints" / "play"
    at = read_checkpoint(run / "training.safetensors").step
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] > 0
    process = start("train", "--resume", "play", "--tensorboard", cwd=tmp_path)
    wait_for(process, f"step {at + 50}/")
    process.send_signal(signal.SIGTERM)
    assert end_of(process).code == 143
    found = series(run)
    assert found == told(run)
    for points in found.values():
        steps = [step for step, _ in points]
        assert steps == sorted(set(steps))
    assert [step for step, _ in found["loss/held-out"]][:4] == [50, 100, 150, 200]


def test_a_file_that_is_not_ours_stays(tmp_path):
    (tmp_path / DIRECTORY).mkdir()
    other = tmp_path / DIRECTORY / "events.out.tfevents.1.elsewhere"
    other.write_bytes(b"other")
    log = EventLog(tmp_path, seconds=0.0)
    log.add({"event": "updated", "step": 1, "nats": 2.0, "seconds": 0.5})
    log.close()
    assert other.read_bytes() == b"other"
    assert len(list((tmp_path / DIRECTORY).iterdir())) == 2


def test_a_line_without_numbers_makes_no_event(tmp_path):
    log = EventLog(tmp_path, seconds=0.0)
    for line in ({"event": "saved", "step": 3}, {"event": "updated", "step": 3, "nats": None}, {"step": 1}):
        log.add(line)
    log.close()
    assert not (tmp_path / DIRECTORY).exists()


def test_training_goes_on_without_events_that_cannot_be_written(tmp_path):
    tmp_path.joinpath(DIRECTORY).write_text("in the way")
    events = list(make_run(make_task(**TASK), tmp_path, tensorboard=True).events(never))
    warnings = [each.message for each in events if isinstance(each, event.Warned)]
    assert warnings == ["cannot write events for TensorBoard: File exists; training goes on without them"]
    assert events[-1].reason == "end"


def test_without_what_writes_them_the_command_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "play.txt").write_text("to be or not to be\n" * 10)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    code, out, err = invoke("train", "play.txt", "--steps", "2", "--tensorboard", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert "pip install 'charrnn[tensorboard]'" in err
    assert not (tmp_path / "checkpoints").exists()
