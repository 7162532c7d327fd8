"""What a user has put on standard input is read unasked; what is merely there is not, and never waited for."""

import json
import os
import socket
import subprocess
import time

import pytest
from command import end_of, run, start
from small_model import make_model

# The command, with less patience.
PROGRAM = ("-c", "import charrnn.cli.stdin as s; s._SECONDS_TO_BEGIN = 0.3; from charrnn.__main__ import main; main()")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "m")


def prompt_of(ended):
    assert ended.code == 0, ended.err
    return json.loads(ended.out)["prompt"]


def sampled(model, *arguments, **options):
    return run("sample", model, "--length", 5, "--json", *arguments, **options)


def with_stdin(descriptor, *arguments, **options):
    """How a command ends whose standard input is a descriptor."""
    with start(*arguments, stdin=descriptor, **options) as process:
        return end_of(process)


def test_a_pipe_gives_the_prompt_as_it_is(model):
    ended = sampled(model, stdin=b"to be\n")
    assert (prompt_of(ended), ended.err) == ("to be\n", "")


def test_a_file_gives_the_prompt(model, tmp_path):
    (tmp_path / "prompt.txt").write_text("not to be")
    with (tmp_path / "prompt.txt").open("rb") as file:
        ended = with_stdin(file.fileno(), "sample", model, "--length", 5, "--json")
    assert prompt_of(ended) == "not to be"


def test_a_prompt_that_is_typed_comes_before_standard_input(model):
    for typed in (["be"], ["--prompt", "be"], ["-p", "be"]):
        assert prompt_of(sampled(model, *typed, stdin=b"to be")) == "be"
    assert prompt_of(sampled(model, "--prompt", "", stdin=b"to be")) == ""


def test_an_empty_pipe_is_no_prompt(model):
    ended = sampled(model, stdin=b"")
    assert (prompt_of(ended), ended.err) == ("", "")


def test_a_device_is_no_prompt(model):
    ended = with_stdin(subprocess.DEVNULL, "sample", model, "--length", 5, "--json")
    assert (prompt_of(ended), ended.err) == ("", "")
    with open("/dev/zero", "rb") as endless:  # noqa: PTH123 - as a shell opens it
        assert prompt_of(with_stdin(endless.fileno(), "sample", model, "--length", 5, "--json")) == ""


def test_a_socket_that_never_ends_is_no_prompt(model):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ended = with_stdin(theirs.fileno(), "sample", model, "--length", 5, "--json")
    assert (prompt_of(ended), ended.err) == ("", "")


def test_a_closed_stream_is_no_prompt(model):
    ended = run("sample", model, "--length", 5, "--json", fresh=True, under=("sh", "-c", 'exec "$@" <&-', "sh"))
    assert (prompt_of(ended), ended.err) == ("", "")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_pipe_into_which_nothing_comes_is_left_alone_with_a_word(model, quiet):
    reading, writing = os.pipe()
    arguments = ["sample", model, "--length", 5, "--json", *(["--quiet"] if quiet else [])]
    began = time.monotonic()
    ended = with_stdin(reading, *arguments, fresh=True, program=PROGRAM)
    os.close(reading)
    os.close(writing)
    assert prompt_of(ended) == ""
    assert ended.err == (
        "" if quiet else "note: nothing came from standard input within 0.3 s; --prompt - waits for it\n"
    )
    assert time.monotonic() - began < 60


def test_a_pipe_that_begins_late_but_soon_enough_is_read_to_its_end(model):
    late = ("sh", "-c", '(sleep 0.5; printf "to "; sleep 0.5; printf be) | "$@"', "sh")
    assert prompt_of(run("sample", model, "--length", 5, "--json", fresh=True, under=late)) == "to be"


def test_a_text_to_score_comes_from_a_pipe_too(model):
    ended = run("perplexity", model, "--json", stdin=b"to be or")
    assert (ended.code, json.loads(ended.out)["total"]["num_chars"]) == (0, 7)


def test_no_text_to_score_is_said_and_not_waited_for(model):
    ended = with_stdin(subprocess.DEVNULL, "perplexity", model)
    assert (ended.code, ended.out) == (2, "")
    assert "name a TEXT to score" in ended.err
    assert "--text" in ended.err
