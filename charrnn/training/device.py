"""Where the computation runs and in what precision: options to a device and a backend."""

import contextlib
import ctypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from charrnn.errors import DeviceError
from charrnn.machine import from_torchrun, num_cores, num_memory_bytes
from charrnn.models.layer import Backend
from charrnn.models.native.build import library, unavailable_reason
from charrnn.models.settings import ModelSettings
from charrnn.training.machine import MachineSettings
from charrnn.training.settings import TrainingSettings

_ARITHMETIC = 2  # raised when an update gives other bits than before: by order of sums, or by what dropout draws
_TENSORS_PER_WEIGHT = 7  # the weight, its gradient, two moments, its average, that rounded, a copy on its way to a file
_TENSORS_PER_LOGIT = 3  # the logits of a window, their softmax and their gradient


@dataclass(frozen=True)
class Placement:
    """Where and how a model is computed.

    Attributes:
        device: torch's device.
        backend: path of the recurrence.
        autocast: whether torch runs its products in bfloat16.
        num_threads: CPU threads.
        note: a line for the user on why the fastest path is not taken; empty when it is.
    """

    device: torch.device
    backend: Backend
    autocast: bool
    num_threads: int
    note: str = ""

    @contextlib.contextmanager
    def limits_torch(self) -> Iterator[None]:
        """While the context is open, torch's operators use the threads that they are to have here.

        Beside the kernels that is one: what is left to torch is small, two pools of threads would compete, and torch's
        waits for its slowest thread.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(1 if self.backend.path == "native" else self.num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def signature(self) -> dict[str, Any]:
        """What the last bit of a result depends on beyond the settings."""
        return {
            "arithmetic": _ARITHMETIC,
            "torch": torch.__version__,
            "numpy": np.__version__,  # draws the windows' offsets
            "device": self.device.type,
            "path": self.backend.path,
            "precision": "bfloat16" if self.autocast else self.backend.precision,
            "num_threads": self.num_threads,
        }


def has_gpu(device: str) -> bool:
    """Whether ``device`` means an accelerator here; recipes depend on it."""
    if device == "auto":
        return bool(torch.cuda.is_available() or torch.backends.mps.is_available())
    return device != "cpu"


def as_before(machine: MachineSettings, computed_by: Mapping[str, Any]) -> MachineSettings:
    """The machine for a run that goes on: what was left open is taken as the run began.

    Args:
        machine: the user's choices; "auto" and None leave them open.
        computed_by: the ``signature`` the run began with.
    """
    known = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    device, precision, threads = machine.device, machine.precision, machine.threads
    began_on = computed_by.get("device")
    if device == "auto" and isinstance(began_on, str) and known.get(began_on):
        device = began_on
    if precision == "auto" and computed_by.get("precision") == "float32":
        precision = "float32"
    before = computed_by.get("num_threads")
    if threads is None and type(before) is int and 1 <= before <= num_cores():
        threads = before
    return MachineSettings(device=device, precision=precision, threads=threads)


def check_memory(model: ModelSettings, training: TrainingSettings) -> None:
    """Refuses a run of which one update needs more memory than this machine has.

    Counted are what stands beside each weight and the logits of a window, which are most of it where there are many
    symbols.

    Raises:
        DeviceError: it does; the system would end the process without a message.
    """
    weights = _TENSORS_PER_WEIGHT * 4 * model.num_parameters
    logits = _TENSORS_PER_LOGIT * 4 * model.vocab_size * training.batch_size * training.bptt
    total = num_memory_bytes()
    if weights + logits > total > 0:
        smaller = "`hidden_size` or `num_layers`" if weights > logits else "`batch_size` or `bptt`, or `level=byte`"
        raise DeviceError(
            f"training {model.num_parameters:,} weights on windows of {training.batch_size} x {training.bptt} of "
            f"{model.vocab_size:,} symbols takes {(weights + logits) / 2**30:,.1f} GiB of memory, and this machine has "
            f"{total / 2**30:,.1f}; use a smaller {smaller}"
        )


def keep_freed_memory() -> None:
    """Lets the C library keep what is freed for the next update instead of returning it to the system.

    Every update takes and frees the same tens of megabytes; fresh from the system, each page of them is cleared and
    mapped anew, up to a third of the time of an update. Only glibc has this; elsewhere nothing changes.
    """
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)  # a threshold would not do: above 32 MiB glibc takes every array from the system


def return_freed_memory() -> None:
    """Returns to the system what is free now, after work that took more than updates do."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def place(settings: ModelSettings, machine: MachineSettings | None = None) -> Placement:
    """Chooses device and backend.

    Args:
        settings: the network's shape.
        machine: what the user asked for; None leaves all open.

    Raises:
        DeviceError: the device asked for is not there, or lacks the precision.
    """
    machine = machine or MachineSettings()
    device, precision = machine.device, machine.precision
    threads = machine.threads or num_cores()
    kind = device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError("no CUDA device is available to torch; use `device=cpu` or `device=auto`")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no MPS device is available to torch; use `device=cpu` or `device=auto`")

    if kind != "cpu":
        bfloat16 = precision == "bfloat16" or (precision == "auto" and kind == "cuda")
        if bfloat16 and kind == "cuda" and not torch.cuda.is_bf16_supported():
            if precision == "bfloat16":
                raise DeviceError("this GPU has no bfloat16; use `precision=float32`")
            bfloat16 = False
        index = from_torchrun("LOCAL_RANK", 0) if kind == "cuda" else 0
        if kind == "cuda" and index >= torch.cuda.device_count():
            raise DeviceError(f"process {index} of this machine has no GPU of its own; start fewer of them")
        return Placement(torch.device(kind, index), Backend("fused"), bfloat16, threads)

    keep_freed_memory()
    reduced = precision == "bfloat16"
    cell = settings.recurrent_cell
    native = library()
    if native is not None and cell.kernel:
        if reduced and not native.has_bfloat16:
            raise DeviceError("this CPU has no bfloat16 products; use `precision=float32`")
        reduced = native.has_bfloat16 and precision != "float32"
        backend = Backend("native", threads, "bfloat16" if reduced else "float32")
        return Placement(torch.device("cpu"), backend, False, threads)
    if reduced and not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        raise DeviceError("this CPU has no bfloat16 products; use `precision=float32`")
    reason = unavailable_reason() or f"no kernel is written for the cell {settings.cell}"
    note = f"the recurrence runs through torch, which is slower: {reason}"
    backend = Backend("fused" if cell.fused else "unrolled")
    return Placement(torch.device("cpu"), backend, reduced, threads, note)
