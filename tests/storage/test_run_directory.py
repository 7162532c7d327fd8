import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import InputError, LockedError, OutputError, SettingsError
from charrnn.storage.run_directory import RunLock, checked_name, is_taken

HOLD = """
import pathlib, sys
from charrnn.storage.run_directory import RunLock
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
    with pytest.raises(SettingsError, match="name is"):
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
