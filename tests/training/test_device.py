"""Where a model is computed; what needs a GPU is skipped where there is none."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from charrnn.training.trainer import Trainer
from tiny_run import make_task, never

from charrnn.errors import DeviceError
from charrnn.models.native.build import library
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import read_model
from charrnn.training.device import as_before, place

SETTINGS = ModelSettings(vocab_size=7)
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


def test_a_gpu_that_is_not_there_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="--device cpu"):
        place(SETTINGS, device="cuda")
    assert place(SETTINGS, device="auto", num_threads=1).device.type in ("cpu", "mps")


def test_without_the_kernels_torch_computes_and_the_user_is_told_why(monkeypatch):
    from charrnn.training import device

    monkeypatch.setattr(device, "library", lambda: None)
    monkeypatch.setattr(device, "unavailable_reason", lambda: "no compiler")
    found = place(SETTINGS, device="cpu", precision="float32", num_threads=1)
    assert found.backend.path == "fused"
    assert "no compiler" in found.note
    before = ModelSettings(vocab_size=7, cell="gru", reset="before")
    assert place(before, device="cpu", precision="float32", num_threads=1).backend.path == "unrolled"


@pytest.mark.skipif(library() is None, reason="the native kernels cannot be built on this machine")
def test_auto_takes_bfloat16_just_where_the_processor_has_it():
    found = place(SETTINGS, device="cpu", num_threads=1)
    assert found.backend.path == "native"
    assert (found.backend.precision == "bfloat16") == library().has_bfloat16
    assert place(SETTINGS, device="cpu", precision="float32", num_threads=1).backend.precision == "float32"


def test_a_run_that_goes_on_takes_what_it_began_with_unless_told_otherwise():
    began = {"device": "cpu", "precision": "float32", "num_threads": 1}
    assert as_before(began, device="auto", precision="auto", num_threads=None) == ("cpu", "float32", 1)
    assert as_before(began, device="auto", precision="bfloat16", num_threads=2) == ("cpu", "bfloat16", 2)
    assert as_before({}, device="auto", precision="auto", num_threads=None) == ("auto", "auto", None)


def test_both_paths_on_the_cpu_train_the_same_model(tmp_path, monkeypatch):
    if library() is None:
        pytest.skip("the native kernels cannot be built on this machine")
    task = make_task(training={"steps": 10}, model={"num_layers": 2})
    found = {}
    for path in ("native", "unrolled"):
        placed = place(task.model, device="cpu", precision="float32", num_threads=1)
        placed = type(placed)(placed.device, type(placed.backend)(path, 1), False, 1)
        (tmp_path / path).mkdir()
        list(Trainer(task, tmp_path / path, placement=placed).run(never))
        found[path] = read_model(tmp_path / path).weights
    for name, weight in found["native"].items():
        # Ten updates of float32; Adam's first steps magnify rounding where a gradient is next to nothing.
        np.testing.assert_allclose(weight, found["unrolled"][name], atol=2e-4, err_msg=name)


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("shape", [{"cell": "rnn"}, {"cell": "lstm", "num_layers": 2}, {"cell": "gru"}], ids=str)
def test_a_gpu_trains_what_a_cpu_trains(tmp_path, shape):
    task = make_task(training={"steps": 10}, model=shape)
    scores = {}
    for device in ("cpu", "cuda"):
        placed = place(task.model, device=device, precision="float32", num_threads=1)
        (tmp_path / device).mkdir()
        scores[device] = list(Trainer(task, tmp_path / device, placement=placed).run(never))[-1].best.nats_per_char
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
