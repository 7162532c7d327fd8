"""What this machine offers, as this process may use it."""

import os

import pytest

from charrnn.machine import from_torchrun, num_cores, num_memory_bytes


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_the_cores_are_those_that_this_process_may_use(monkeypatch):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system tells no process which cores it may use")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7, 9, 11})
    assert num_cores() == 5


def test_where_no_affinity_is_known_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert num_cores() == expected


@pytest.mark.parametrize(("num_processes", "expected"), [("1", 8), ("2", 4), ("3", 2), ("100", 1)])
def test_processes_on_one_machine_share_its_cores(monkeypatch, num_processes, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", num_processes)
    assert num_cores() == 8  # without a rank nobody started several
    monkeypatch.setenv("RANK", "0")
    assert num_cores() == expected


@pytest.mark.parametrize("value", ["", "two", "-1", "1.5"])
def test_what_torchrun_did_not_write_is_passed_over(monkeypatch, value):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", value)
    assert from_torchrun("LOCAL_RANK", 7) == 7
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert from_torchrun("LOCAL_RANK", 7) == 3


def test_the_memory_is_that_of_the_machine(monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert num_memory_bytes() == 4_096_000

    def refuse(name):
        raise ValueError(f"unrecognized configuration name {name}")

    monkeypatch.setattr(os, "sysconf", refuse)
    assert num_memory_bytes() == 0
