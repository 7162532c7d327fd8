"""The order of system calls, and what stands on disk when one of them fails."""

import errno
import os
import subprocess

import pytest

from charrnn.errors import OutputError
from charrnn.files import describe, probe_writable, remove_stale, replacing, temporary_beside, write_atomically

CALLS = ("open", "write", "fsync", "replace", "close")


@pytest.fixture
def calls(monkeypatch):
    """Records calls of the os module by name, and fails the one numbered ``fail_at`` with ``error``."""

    class Recorder:
        names: list = []
        fail_at = None
        error = errno.EIO

    recorder = Recorder()
    recorder.names = []
    for name in CALLS:
        original = getattr(os, name)

        def call(*arguments, name=name, original=original, **options):
            recorder.names.append(name)
            if recorder.fail_at == len(recorder.names):
                raise OSError(recorder.error, os.strerror(recorder.error))
            return original(*arguments, **options)

        monkeypatch.setattr(os, name, call)
    return recorder


def test_data_is_synced_before_it_is_renamed_and_the_directory_after(tmp_path, calls):
    write_atomically(tmp_path / "file", b"content")
    assert calls.names == ["open", "write", "fsync", "close", "replace", "open", "fsync", "close"]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_whichever_call_fails_old_or_new_stands_whole_and_alone(tmp_path, calls, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    calls.error = error
    failures = 0
    for fail_at in range(1, 30):
        calls.names.clear()
        calls.fail_at = fail_at
        told = None
        try:
            write_atomically(path, b"new")
        except OutputError as failure:
            told = str(failure)
        if told is None:
            break
        failures += 1
        assert os.strerror(error) in told
        assert ("3 bytes needed" in told) == (error != errno.EIO)
        assert path.read_bytes() in (b"old", b"new")
        assert [child.name for child in tmp_path.iterdir()] == ["file"]
    assert failures == 8
    assert path.read_bytes() == b"new"


def test_no_rename_follows_a_failed_sync(tmp_path, calls):
    (tmp_path / "file").write_bytes(b"old")
    calls.names.clear()
    calls.fail_at = 3
    with pytest.raises(OutputError):
        write_atomically(tmp_path / "file", b"new")
    assert "replace" not in calls.names
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("most", [1, 2, 5])
def test_writes_cut_short_are_gone_on_with(tmp_path, monkeypatch, most):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:most]))
    write_atomically(tmp_path / "file", b"a longer content")
    assert (tmp_path / "file").read_bytes() == b"a longer content"


def test_files_of_dead_writers_are_removed_and_those_of_the_living_kept(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    dead = tmp_path / f".model.tmp-{process.pid}-0a"
    living = tmp_path / f".model.tmp-{os.getpid()}-0a"
    other = tmp_path / ".model.tmp-x"
    for path in (dead, living, other):
        path.touch()
    remove_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([living, other])


def test_the_mode_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_directory_that_cannot_be_made_or_written_is_told_beforehand(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="`out`"):
        probe_writable(tmp_path / "file" / "run")
    probe_writable(tmp_path / "new" / "run")
    assert list((tmp_path / "new" / "run").iterdir()) == []


def test_a_name_that_only_looks_like_a_writers_is_left_alone(tmp_path):
    odd = tmp_path / f".model.tmp-{'9' * 30}-0a"
    odd.touch()
    remove_stale(tmp_path)
    assert odd.exists()


def test_a_write_that_takes_nothing_is_an_error_and_no_endless_loop(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda fd, data: 0)
    with pytest.raises(OutputError, match="took no byte"):
        write_atomically(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_file_written_in_pieces_takes_its_place_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as file:
        for piece in (b"one ", memoryview(b"two "), b"three"):
            file.write(piece)
            assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"one two three"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_beside(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half():
        with replacing(path) as file:
            file.write(b"half of the ")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_name_is_hidden_and_tells_its_writer(tmp_path):
    names = {temporary_beside(tmp_path / "a file.txt").name for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith(f".a file.txt.tmp-{os.getpid()}-") for name in names)


def test_what_went_wrong_tells_the_room_only_where_it_is_the_matter(tmp_path):
    full = describe(OSError(errno.ENOSPC, "No space left on device"), tmp_path, 1234)
    assert full.startswith("No space left on device (1,234 bytes needed, ")
    assert full.endswith(" bytes free): free some room")
    assert "unknown number" in describe(OSError(errno.ENOSPC, "full"), tmp_path / "gone", 1)
    assert describe(OSError(errno.EACCES, "Permission denied"), tmp_path, 1) == "Permission denied"
