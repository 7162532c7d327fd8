"""Values that a shell can pass and texts that a disk can hold: taken or refused by name, never an unexpected error."""

import os
import subprocess

import pytest
from command import invoke
from processes import CHARRNN, ENVIRONMENT, TINY
from small_model import TEXT, make_model

from charrnn.training import device

NUMBERS = ["nan", "-nan", "inf", "-inf", "1e400", "9" * 401, "-" + "9" * 4301, "", " ", "x", "\udcff"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    make_model(tmp_path / "m")
    return tmp_path


@pytest.mark.parametrize("option", ["--minutes", "--epochs", "--steps", "--learning-rate", "--seed", "--hidden-size"])
def test_what_is_no_number_for_training_is_refused_with_option_and_range(here, option):
    for value in NUMBERS:
        code, out, err = invoke("train", "text.txt", option, value)
        assert (code, out) == (2, ""), value
        assert option in err
        assert ": must be" in err
    assert not (here / "checkpoints").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "\udcff"],
        ["sample", "m", "--prompt", "caf\udce9"],
        ["sample", "m", "--stop", "\udcff"],
        ["perplexity", "m", "\udcff"],
        ["perplexity", "m", "text.txt", "--fit-temperature", "\udcff"],
        ["perplexity", "m", "text.txt", "--encoding", "\udcff"],
        ["inspect", "\udcff"],
        ["verify", "a\nb"],
        ["train", "\udcff.txt"],
        ["train", "text.txt", "--name", "\udcff"],
        ["train", "text.txt", "--name", "a\nb"],
        ["train", "text.txt", "--config", "\udcff"],
        ["train", "text.txt", "--encoding", "\x00"],
        ["train", "--resume", "a\nb\udcff"],
        ["train", "a\0b"],
        ["train", "text.txt", "--val", "\0"],
        ["train", "text.txt", "--out", "\0"],
        ["train", "text.txt", "--config", "\0"],
        ["train", "text.txt", "--init-from", "\0"],
        ["train", "--resume", "\0"],
        ["corpus", "c", "--out", "\0"],
        ["sample", "\0"],
        ["perplexity", "m", "\0"],
        ["perplexity", "m", "text.txt", "--fit-temperature", "\0"],
        ["inspect", "\0"],
        ["verify", "\0"],
        ["corpus", "\udcff"],
        ["\udcff"],
        ["train", "--\udcff"],
        ["sample", ""],
        ["perplexity", "m", ""],
        ["train", ""],
        ["train", "text.txt", "--val", ""],
        ["sample", "m" * 5000],
        ["train", "text.txt", "--name", "n" * 5000],
        ["train", "text.txt", "--out", "o" * 5000],
    ],
    ids=ascii,
)
def test_a_value_that_names_nothing_is_refused_in_words(here, arguments):
    code, out, err = invoke(*arguments)
    assert code in (2, 3, 4)
    assert out == "" or arguments[0] == "verify"
    assert "unexpected" not in err
    assert "Traceback" not in err


def test_a_text_with_a_newline_or_broken_bytes_in_its_name_is_learned_and_scored(here):
    for name in ("a\nb.txt", os.fsdecode(b"caf\xe9.txt")):
        (here / name).write_text(TEXT)
        code, out, err = invoke("train", name, "--steps", "2", *TINY)
        assert code == 0, err
        run = next(line.split()[1] for line in out.splitlines() if line.startswith("file"))
        assert invoke("perplexity", run, name)[0] == 0
        assert invoke("inspect", run)[0] == 0


def test_a_run_of_too_many_symbols_for_this_memory_is_refused_before_it_is_made(here, monkeypatch):
    monkeypatch.setattr(device, "num_memory_bytes", lambda: 100 << 20)
    (here / "wide.txt").write_text("".join(map(chr, range(0x4E00, 0x4E00 + 20_000))))
    code, _, err = invoke("train", "wide.txt", "--hidden-size", "4", "--steps", "1", "--bptt", "64", "--threads", "1")
    assert (code, "--level byte" in err, "memory" in err) == (6, True, True)
    assert invoke("train", "wide.txt", "--level", "byte", "--steps", "1", *TINY)[0] == 0


def test_memory_that_the_system_refuses_ends_with_6(here):
    (here / "every.txt").write_text("".join(map(chr, range(0x20000, 0x20000 + 300_000))))
    command = " ".join([*CHARRNN, "train every.txt --steps 1", *TINY, "--hidden-size 256 --batch-size 1"])
    limited = subprocess.run(
        ["bash", "-c", f"ulimit -v 4000000; exec {command}"], env=ENVIRONMENT, capture_output=True, timeout=120
    )
    assert limited.returncode == 6, limited.stderr
    assert b"memory" in limited.stderr
    assert not list(here.glob("checkpoints/every/*.safetensors"))
