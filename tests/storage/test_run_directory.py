import errno
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import InputError, LockedError, OutputError, SettingsError
from charrnn.storage.model_file import read_model
from charrnn.storage.run_directory import checked_name, is_taken, name_of_text, new_run
from charrnn.storage.run_lock import RunLock

HOLD = """
import pathlib, sys
from charrnn.storage.run_lock import RunLock
with RunLock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(directory):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_second_process_is_refused_by_name_until_the_first_is_killed(tmp_path):
    with holder(tmp_path) as process:
        with pytest.raises(LockedError, match=f"process {process.pid} on {socket.gethostname()}"), RunLock(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with RunLock(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_a_lock_can_be_taken_again_after_its_holder_left(tmp_path):
    for _ in range(2):
        with RunLock(tmp_path), pytest.raises(LockedError), RunLock(tmp_path):
            pass


def test_a_directory_that_is_not_there_is_no_run(tmp_path):
    with pytest.raises(InputError, match="no run"), RunLock(tmp_path / "nowhere"):
        pass


@given(st.text(max_size=12))
def test_a_name_that_is_accepted_names_one_plain_visible_directory(name):
    try:
        accepted = checked_name(name)
    except SettingsError:
        return
    assert accepted == name
    assert Path(name).name == name
    assert name not in ("", ".", "..")
    assert not name.startswith((".", "-"))


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", ".hidden", "a b", "é", "x" * 101, "a\n"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(SettingsError, match="`name` is"):
        checked_name(name)


def test_a_directory_with_anything_visible_in_it_is_taken(tmp_path):
    assert not is_taken(tmp_path / "new")
    (tmp_path / ".lock").touch()
    assert not is_taken(tmp_path)
    (tmp_path / "notes").touch()
    assert is_taken(tmp_path)
    assert is_taken(tmp_path / "notes")


def test_a_lock_that_is_a_link_leaves_its_target_alone(tmp_path):
    (tmp_path / "precious").write_text("precious")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="lock"), RunLock(run):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_disk_without_locks_is_not_mistaken_for_a_run_in_use(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(OutputError, match="cannot lock"), RunLock(tmp_path):
        pass


def test_a_holder_that_is_no_name_is_not_shown(tmp_path):
    with RunLock(tmp_path):
        (tmp_path / ".lock").write_bytes(b"\x1b]52;c;aaaa\x07")
        with pytest.raises(LockedError, match="in use by another process"), RunLock(tmp_path):
            pass


def test_a_name_too_long_for_a_directory_is_no_run():
    with pytest.raises(InputError, match="no run"), RunLock(Path("x" * 300)):
        pass
    assert not is_taken(Path("x" * 300))


def test_a_name_that_was_not_chosen_gives_way_to_runs_and_to_processes(tmp_path):
    (tmp_path / "play").mkdir()
    (tmp_path / "play" / "model.safetensors").touch()
    with new_run(tmp_path, "play", is_chosen=False) as second, new_run(tmp_path, "play", is_chosen=False) as third:
        assert (second.name, third.name) == ("play-2", "play-3")
    with pytest.raises(OutputError, match="already holds files"), new_run(tmp_path, "play", is_chosen=True):
        pass


def test_a_chosen_name_that_a_process_uses_is_refused(tmp_path):
    with (
        new_run(tmp_path, "play", is_chosen=True),
        pytest.raises(LockedError),
        new_run(tmp_path, "play", is_chosen=True),
    ):
        pass


def test_a_start_that_fails_leaves_nothing_behind(tmp_path):
    out = tmp_path / "new" / "runs"
    with pytest.raises(InputError), new_run(out, "play", is_chosen=False):
        raise InputError("no text")
    assert list(tmp_path.iterdir()) == []


def fail_after_writing(directory, *names, history=""):
    for name in names:
        (directory / name).write_text(history if name == "metrics.jsonl" else "new")
    raise InputError("no memory")


def test_a_start_that_fails_after_its_first_files_leaves_nothing_either(tmp_path):
    with pytest.raises(InputError), new_run(tmp_path / "runs", "play", is_chosen=True) as directory:
        fail_after_writing(directory, "run.toml", "metrics.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_keeps_what_was_there_or_can_be_resumed(tmp_path):
    with pytest.raises(InputError), new_run(tmp_path / "runs", "play", is_chosen=True) as directory:
        fail_after_writing(directory, "run.toml", "metrics.jsonl", "training.safetensors")
    assert len(list((tmp_path / "runs" / "play").iterdir())) == 4  # with the lock
    with pytest.raises(InputError), new_run(tmp_path / "runs", "history", is_chosen=True) as directory:
        fail_after_writing(directory, "run.toml", "metrics.jsonl", history="{}\n")
    assert len(list((tmp_path / "runs" / "history").iterdir())) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError), new_run(tmp_path / "empty", "play", is_chosen=True):
        raise InputError("no text")
    assert list((tmp_path / "empty").iterdir()) == []
    mine = tmp_path / "empty" / "mine"
    mine.mkdir()
    (mine / "run.toml").write_text("steps = 3")
    with pytest.raises(InputError), new_run(tmp_path / "empty", "mine", is_chosen=True) as directory:
        fail_after_writing(directory, "metrics.jsonl")
    assert {path.name for path in mine.iterdir()} == {"run.toml", ".lock"}


def test_a_name_that_is_taken_is_told_with_the_score_of_its_holder(tmp_path, trained):
    shutil.copytree(trained, tmp_path / "play")
    bits = read_model(trained).facts["held_out"]["nats_per_char"] / math.log(2)
    holder = f"already holds a run (finished, LSTM 1x5, {bits:.4f} bits/char held out)"
    with pytest.raises(OutputError) as caught, new_run(tmp_path, "play", is_chosen=True):
        pass
    assert f"{holder}; go on with `resume={tmp_path}/play`, give another `name`, or remove it" in str(caught.value)
    with RunLock(tmp_path / "play"), pytest.raises(OutputError, match=r"\(running, .*\); wait for it, give another"):
        new_run(tmp_path, "play", is_chosen=True).__enter__()


def test_a_run_killed_before_its_first_checkpoint_begins_anew_under_its_name(tmp_path):
    directory = tmp_path / "play"
    directory.mkdir()
    for name in ("metrics.jsonl", "run.toml", ".lock"):
        (directory / name).touch()
    with new_run(tmp_path, "play", is_chosen=True) as found:
        assert found == directory
    (directory / "training.safetensors").touch()
    assert is_taken(directory)


def test_a_lock_removed_by_its_owner_while_another_waits_is_not_used(tmp_path, monkeypatch):
    import fcntl

    locked = fcntl.flock
    removed = []

    def remove_first(descriptor, how):
        if not removed:
            removed.append((tmp_path / ".lock").unlink())
        return locked(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with RunLock(tmp_path), pytest.raises(LockedError), RunLock(tmp_path):
        pass
    assert (tmp_path / ".lock").exists()


@given(st.text(min_size=1, max_size=30))
def test_the_name_made_of_any_texts_name_can_name_a_run(text):
    assert checked_name(name_of_text(text.replace("\0", "x")))
