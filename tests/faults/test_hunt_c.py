"""What odd files, names and machines once brought about."""

import errno
import os
import re
import resource
from pathlib import Path

import pytest
from command import invoke, run
from processes import TINY
from small_model import TEXT, make_model

from charrnn.storage.training_file import TrainingFile, read_training, write_training

# Facts that are small in a file and large in a table: names that each line repeats or makes room for, many lines, a
# long list.
CLAIMS = {
    "a long name above many": {"k" * 100_000: {f"a{i}": 1 for i in range(20_000)}},
    "a long name beside many": {"k" * 100_000: 1, **{f"a{i}": 1 for i in range(20_000)}},
    "many names": {"\u202e" * 60: {f"{i}": 1 for i in range(150_000)}},
    "a long list": {"a": [1.5] * 1_400_000},
}
# The command; then the most memory that it has held, in kB.
TELLS_PEAK = """
import re, sys
from pathlib import Path
from charrnn.__main__ import main
try:
    main()
finally:
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this platform does not tell a peak")
@pytest.mark.parametrize("options", [[], ["--all"]], ids=["in short", "all"])
@pytest.mark.parametrize("kind", CLAIMS)
def test_what_a_file_claims_costs_inspect_little_memory(tmp_path, kind, options):
    path = make_model(tmp_path / "model", facts=CLAIMS[kind])
    ended = run("inspect", path, *options, fresh=True, program=("-c", TELLS_PEAK), limits={resource.RLIMIT_AS: 4 << 30})
    assert ended.code == 0, ended.err
    assert int(ended.err) / 1024 <= 2 * path.stat().st_size / 2**20 + 200
    assert ("weights.output.weight" in ended.out) == bool(options)
    assert options or len(ended.out.splitlines()) <= 10


def test_a_table_shows_the_beginning_of_many_claims(tmp_path):
    path = make_model(tmp_path / "model", facts={f"a{i}": 1 for i in range(5000)})
    code, shown, _ = invoke("inspect", path, "--all")
    assert code == 0
    assert 900 <= len(re.findall(r"claims\.a\d+ ", shown)) < 1000
    assert "there is more, which --json shows" in shown
    assert "weights.output.weight" in shown


def test_a_compiler_command_that_is_not_utf8_ends_nothing(tmp_path):
    path = make_model(tmp_path / "model")
    flags = {"CC": os.fsdecode(b"cc -DX=\xff"), "XDG_CACHE_HOME": str(tmp_path)}
    ended = run("sample", path, "--length", "3", "--seed", "1", fresh=True, environment=flags)
    assert (ended.code, len(ended.out), ended.err) == (0, 3, "")


@pytest.mark.parametrize("names", [[], ["c"]])
def test_a_directory_of_corpora_that_cannot_be_looked_into_is_named(tmp_path, names):
    code, out, err = invoke("corpus", *names, "--out", tmp_path / ("x" * 300))
    assert (code, out) == (4, "")
    assert "xxx': File name too long; choose another with --out" in err


@pytest.mark.parametrize("name", ["beta1", "beta2"])
def test_a_whole_number_in_a_file_of_settings_stands_for_a_float(tmp_path, name):
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "run.toml").write_text(f"{name} = 0\nsteps = 2\n")
    code, _, err = invoke("train", "a.txt", "--config", "run.toml", *TINY, cwd=tmp_path)
    assert code == 0, err
    assert f"{name} = 0.0\n" in (tmp_path / "checkpoints" / "a" / "run.toml").read_text()


@pytest.mark.parametrize("symbols", [[1, 2, 3], [0, *sorted(map(ord, set(TEXT)))[1:]]])
def test_a_training_state_whose_symbols_are_not_those_of_its_text_is_refused(tmp_path, symbols):
    (tmp_path / "a.txt").write_text(TEXT)
    assert invoke("train", "a.txt", "--steps", "2", *TINY, cwd=tmp_path).code == 0
    path = tmp_path / "checkpoints" / "a" / "training.safetensors"
    file = read_training(path)
    facts = {**file.facts, "num_steps": 4, "vocab": {"level": "char", "symbols": symbols}}
    write_training(path, TrainingFile(file.tensors, facts))
    code, out, err = invoke("train", "--resume", "checkpoints/a", cwd=tmp_path)
    assert (code, out) == (3, "")
    assert "symbols" in err


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "m"],
        ["inspect", "m"],
        ["perplexity", "m", "t"],
        ["train", "t", "--config", "m"],
        ["verify", "m"],
    ],
)
def test_a_file_that_may_not_be_read_is_bad_input_not_a_bad_option(tmp_path, monkeypatch, command):
    make_model(tmp_path / "m").chmod(0)
    (tmp_path / "t").write_text(TEXT)
    access, denied = os.access, PermissionError(errno.EACCES, "Permission denied")

    def opens(path, *more, opened=os.open, **options):
        if str(path) == "m":
            raise denied
        return opened(path, *more, **options)

    monkeypatch.setattr(os, "access", lambda path, mode, **more: path != "m" and access(path, mode, **more))
    monkeypatch.setattr(os, "open", opens)  # root may read any file
    monkeypatch.setattr(Path, "read_text", lambda *_: opens("m"))
    code, out, err = invoke(*command, cwd=tmp_path)
    assert code == 3
    assert "cannot read 'm': Permission denied" in out + err


def test_verify_names_a_directory_that_may_not_be_looked_into(tmp_path, monkeypatch):
    def denied(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "exists", denied)
    code, out, err = invoke("verify", tmp_path)
    assert (code, out) == (3, "")
    assert f"cannot read '{tmp_path}': Permission denied" in err
