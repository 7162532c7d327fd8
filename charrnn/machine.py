"""What this machine offers: its cores and its memory."""

import os

MAX_THREADS = 1024


def num_cores() -> int:
    """CPU cores this process may use; where torchrun started several processes on this machine, its share of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // from_torchrun("LOCAL_WORLD_SIZE", 1))


def from_torchrun(name: str, default: int) -> int:
    """A whole number that torchrun has put into the environment; ``default`` where it did not start this process."""
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() and "RANK" in os.environ else default


def num_memory_bytes() -> int:
    """Bytes of physical memory; 0 on a platform that does not report it."""
    try:
        return max(0, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return 0
