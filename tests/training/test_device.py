"""Where a model is computed; what needs a GPU is skipped where there is none."""

import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from cells import CELLS, OF_TORCH, WITH_KERNEL
from tiny_run import ON_ONE_THREAD, make_task, never

from charrnn.errors import DeviceError
from charrnn.models.native.build import library
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import read_model
from charrnn.training.device import as_before, check_memory, has_gpu, place
from charrnn.training.machine import MachineSettings
from charrnn.training.run import Run
from charrnn.training.settings import TrainingSettings

SETTINGS = ModelSettings(vocab_size=7)
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


def test_a_gpu_that_is_not_there_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="`device=cpu`"):
        place(SETTINGS, MachineSettings(device="cuda"))
    assert place(SETTINGS, MachineSettings(threads=1)).device.type in ("cpu", "mps")


def test_without_the_kernels_torch_computes_and_the_user_is_told_why(monkeypatch):
    from charrnn.training import device

    monkeypatch.setattr(device, "library", lambda: None)
    monkeypatch.setattr(device, "unavailable_reason", lambda: "no compiler")
    found = place(SETTINGS, ON_ONE_THREAD)
    assert found.backend.path == "fused"
    assert "no compiler" in found.note
    for cell in CELLS:
        path = "fused" if cell in OF_TORCH else "unrolled"
        assert place(ModelSettings(vocab_size=7, cell=cell), ON_ONE_THREAD).backend.path == path


@pytest.mark.skipif(library() is None, reason="the native kernels cannot be built on this machine")
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_takes_its_kernel_where_it_has_one_and_else_a_note_says_why(cell):
    found = place(ModelSettings(vocab_size=7, cell=cell), ON_ONE_THREAD)
    if cell in WITH_KERNEL:
        assert (found.backend.path, found.note) == ("native", "")
    else:
        assert found.backend.path == ("fused" if cell in OF_TORCH else "unrolled")
        assert found.note.endswith(f"no kernel is written for the cell {cell}")


@pytest.mark.skipif(library() is None, reason="the native kernels cannot be built on this machine")
def test_auto_takes_bfloat16_just_where_the_processor_has_it():
    found = place(SETTINGS, MachineSettings(device="cpu", threads=1))
    assert found.backend.path == "native"
    assert (found.backend.precision == "bfloat16") == library().has_bfloat16
    assert place(SETTINGS, ON_ONE_THREAD).backend.precision == "float32"


def test_a_run_that_goes_on_takes_what_it_began_with_unless_told_otherwise():
    began = {"device": "cpu", "precision": "float32", "num_threads": 1}
    given = MachineSettings()
    assert as_before(given, began) == MachineSettings(device="cpu", precision="float32", threads=1)
    given = MachineSettings(precision="bfloat16", threads=2)
    assert as_before(given, began) == MachineSettings(device="cpu", precision="bfloat16", threads=2)
    assert as_before(MachineSettings(), {}) == MachineSettings(device="auto", precision="auto", threads=None)


@pytest.mark.parametrize(
    "began",
    [{"num_threads": 9}, {"num_threads": 0}, {"num_threads": "2"}, {"device": "tpu"}, {"device": "cuda"}],
    ids=str,
)
def test_what_this_machine_does_not_have_is_chosen_anew(monkeypatch, began):
    monkeypatch.setattr("charrnn.training.device.num_cores", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert as_before(MachineSettings(), began) == MachineSettings()


def test_an_accelerator_is_one_that_is_named_or_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert [has_gpu(device) for device in ("auto", "cpu", "cuda", "mps")] == [False, False, True, True]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert has_gpu("auto")


def test_a_model_beyond_the_memory_is_refused_before_it_is_made(monkeypatch):
    settings = ModelSettings(vocab_size=7, hidden_size=1000)
    training = TrainingSettings(batch_size=2, bptt=5, learning_rate=0.01, steps=1)
    needed = 7 * 4 * settings.num_parameters + 3 * 4 * 7 * 2 * 5
    monkeypatch.setattr("charrnn.training.device.num_memory_bytes", lambda: needed - 1)
    with pytest.raises(DeviceError, match="`hidden_size` or `num_layers`"):
        check_memory(settings, training)
    for enough in (needed, 0):  # 0: unknown
        monkeypatch.setattr("charrnn.training.device.num_memory_bytes", lambda enough=enough: enough)
        check_memory(settings, training)


@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_both_paths_on_the_cpu_train_the_same_model(tmp_path, cell):
    if library() is None:
        pytest.skip("the native kernels cannot be built on this machine")
    task = make_task(training={"steps": 10}, model={"num_layers": 2, "cell": cell})
    found = {}
    for path in ("native", "unrolled"):
        placed = place(task.model, ON_ONE_THREAD)
        placed = replace(placed, backend=replace(placed.backend, path=path))
        (tmp_path / path).mkdir()
        list(Run(task, tmp_path / path, placement=placed).events(never))
        found[path] = read_model(tmp_path / path).weights
    for name, weight in found["native"].items():
        # Ten updates of float32; Adam's first steps magnify rounding where a gradient is next to nothing. Matrices are
        # kept with 11 bits.
        np.testing.assert_allclose(weight, found["unrolled"][name], rtol=2**-10, atol=2e-4, err_msg=name)


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_a_gpu_trains_what_a_cpu_trains(tmp_path, cell, num_layers):
    task = make_task(training={"steps": 10}, model={"cell": cell, "num_layers": num_layers})
    scores = {}
    for device in ("cpu", "cuda"):
        placed = place(task.model, replace(ON_ONE_THREAD, device=device))
        (tmp_path / device).mkdir()
        scores[device] = list(Run(task, tmp_path / device, placement=placed).events(never))[-1].best.nats_per_char
    assert scores["cuda"] == pytest.approx(scores["cpu"], rel=1e-3)  # ten float32 updates, TF32 off by default


@gpu
@pytest.mark.gpu
def test_a_gpu_computes_in_bfloat16_by_default():
    assert place(SETTINGS).autocast


FAULTS_AN_UPDATE = """
import resource
import torch
from charrnn.training.device import keep_freed_memory

def update():
    return [torch.ones(3_000_000) for _ in range(4)]

keep_freed_memory()
for _ in range(5):
    update()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    update()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's memory is left as it is")
def test_an_update_takes_the_memory_that_the_one_before_freed():
    command = [sys.executable, "-c", FAULTS_AN_UPDATE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 100  # 48 MB given back and taken again are 12,000 pages
