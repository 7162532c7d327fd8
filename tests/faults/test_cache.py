"""The cache of encoded texts: evidence, not truth; bounded, and cleared of what killed processes leave."""

import os
import subprocess
import sys
import time

import pytest
from command import invoke
from processes import TINY

from charrnn.storage.model_file import read_model
from charrnn.text import cache, corpus

TEXT = "the quick brown fox jumps over the lazy dog; " * 60


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(corpus, "IN_MEMORY_BYTES", 100)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def train(here, name):
    code, _, err = invoke("train", "text.txt", *TINY, "--steps", "3", "--precision", "float32", "--name", name)
    assert code == 0, err
    return read_model(here / "checkpoints" / name)


def kept(here):
    return sorted((here / "cache" / "corpora").iterdir())


@pytest.mark.parametrize("damage", [lambda data: bytes(len(data)), lambda data: b"\xff" * len(data), lambda data: b"",
                                    lambda data: data[:-1], lambda data: data[:40] + b"\1" + data[41:]])  # fmt: skip
def test_a_damaged_cache_is_made_anew_and_changes_no_result(here, damage):
    first = train(here, "first")
    (path,) = kept(here)
    good = path.read_bytes()
    path.write_bytes(damage(good))
    second = train(here, "second")
    assert path.read_bytes() == good
    assert all((first.weights[name] == weight).all() for name, weight in second.weights.items())


def test_what_killed_processes_and_earlier_versions_left_goes_when_a_text_is_added(here):
    directory = here / "cache" / "corpora"
    directory.mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    key = "0" * 32
    old = [
        directory / f".{key}.ids.tmp-{ended.pid}-0011aabb",
        directory / f".{key}.ids.a1b2c3d4",
        directory / f"{key}.count",
    ]
    running = directory / f".{key}.ids.tmp-{os.getpid()}-0011aabb"
    for path in [*old, running]:
        path.write_bytes(b"half")
        os.utime(path, (time.time() - 7200,) * 2)
    train(here, "run")
    assert not any(path.exists() for path in old)
    assert running.exists()


def test_the_cache_keeps_to_its_bound_and_the_newest_text(here, monkeypatch):
    monkeypatch.setattr(cache, "MAX_CACHE_BYTES", 6000)
    for number in range(4):
        (here / "text.txt").write_text(TEXT + str(number))
        train(here, f"run{number}")
        (newest,) = [path for path in kept(here) if path.stat().st_mtime >= max(p.stat().st_mtime for p in kept(here))]
        assert newest.stat().st_size < 6000
    assert len(kept(here)) == 3  # the newest, and two of 2.7 kB beside it


def test_the_cache_can_be_emptied_and_no_corpus_is_touched(here):
    train(here, "run")
    (path,) = kept(here)
    size = path.stat().st_size
    code, out, _ = invoke("corpus", "--clean")
    assert (code, f"removed 1 files, {size:,} bytes" in out) == (0, True)
    assert kept(here) == []
    assert (here / "text.txt").read_text() == TEXT
    assert invoke("corpus", "--clean", "c")[0] == 2
