"""Standard streams that are closed, full or no longer read: every ending keeps its exit code, and loses no work."""

import shlex
import subprocess

import pytest
from processes import CHARRNN, ENVIRONMENT, TINY
from small_model import TEXT, make_model

# Options of each command that succeed, that are wrong, and that name what is not there.
SUCCEEDING = ["sample m -n 5", "verify m", "--help"]
FAILING = [
    ("train --nosuch", 2),
    ("", 2),
    ("train missing", 3),
]
ERROR_STREAMS = ["2>&-", "2>/dev/full"]
OUTPUT_STREAMS = [">&-", ">/dev/full", ">&- 2>&- <&-", ">/dev/full 2>&1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    make_model(folder / "m")
    (folder / "text.txt").write_text(TEXT)
    return folder


def shell(folder, line):
    """Exit code, output and errors of a line for the shell in which ``charrnn`` is the command."""
    line = line.replace("charrnn", shlex.join(CHARRNN), 1)
    ended = subprocess.run(["bash", "-c", line], cwd=folder, env=ENVIRONMENT, capture_output=True, timeout=60)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("command", SUCCEEDING)
def test_a_result_that_cannot_be_written_ends_with_4(folder, command):
    for streams in OUTPUT_STREAMS:
        assert shell(folder, f"charrnn {command} {streams}")[0] == 4, streams


@pytest.mark.parametrize("command", SUCCEEDING)
def test_a_reader_that_went_away_ends_it_with_141_and_no_word(folder, command):
    code, _, err = shell(folder, f"charrnn {command} | true; exit ${{PIPESTATUS[0]}}")
    assert (code, err) == (141, b"")


@pytest.mark.parametrize("command", SUCCEEDING)
def test_success_needs_no_standard_error_and_no_input(folder, command):
    for streams in [*ERROR_STREAMS, "<&-"]:
        code, out, _ = shell(folder, f"charrnn {command} {streams}")
        assert (code, bool(out)) == (0, True), streams


@pytest.mark.parametrize(("command", "code"), FAILING)
def test_an_error_that_cannot_be_written_keeps_its_exit_code(folder, command, code):
    for streams in [*ERROR_STREAMS, *OUTPUT_STREAMS]:
        assert shell(folder, f"charrnn {command} {streams}")[0] == code, streams
    assert shell(folder, f"charrnn {command} 2>&1 | true; exit ${{PIPESTATUS[0]}}")[0] == code


@pytest.mark.parametrize("streams", ERROR_STREAMS)
def test_a_run_learns_to_its_end_where_nothing_can_be_said(folder, streams):
    name = f"silent{ERROR_STREAMS.index(streams)}"
    code, out, _ = shell(folder, f"charrnn train text.txt --steps 2 --name {name} {shlex.join(TINY)} {streams}")
    assert (code, b"2 steps" in out) == (0, True)
    assert (folder / "checkpoints" / name / "model.safetensors").exists()


def test_a_closed_stream_never_becomes_a_file_that_is_written(folder):
    code, _, _ = shell(folder, f"charrnn train text.txt --steps 2 --name closed {shlex.join(TINY)} >&- 2>&- <&-")
    assert code == 4
    run = folder / "checkpoints" / "closed"
    assert shell(folder, f"charrnn verify {run}")[0] == 0
    assert (folder / "text.txt").read_text() == TEXT
