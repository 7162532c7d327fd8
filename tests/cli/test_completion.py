"""Tab completes commands, options, runs and corpora: driven in a real bash, as the installed function does it."""

import os
import pty
import resource
import select
import shutil
import subprocess
import sys
import time

import pytest
from command import ENVIRONMENT, SECONDS, libraries_of, run
from typer.main import get_command

from charrnn.cli.app import COMMANDS, app
from charrnn.text.catalog import CATALOG

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash")
WRAPPER = f'#!/bin/sh\nexec "{sys.executable}" -m charrnn "$@"\n'
# Fills in what bash would at the cursor, after the words in "$@", and prints what the function offers.
COMPLETE = """
source ./completion.sh
complete -p charrnn >&2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_charrnn_completion charrnn
printf '%s\\n' "${COMPREPLY[@]}"
"""
RUNS = ["hamlet", "play", "play-2"]


@pytest.fixture(scope="module")
def here(tmp_path_factory, trained):
    """A directory with runs, and a home where the command is on the path."""
    here = tmp_path_factory.mktemp("shell")
    for name in RUNS:
        shutil.copytree(trained, here / "checkpoints" / name)
    (here / "checkpoints" / "no-run").mkdir()
    (here / "bin").mkdir()
    (here / "bin" / "charrnn").write_text(WRAPPER)
    (here / "bin" / "charrnn").chmod(0o755)
    return here


def in_bash(here, script, *words, options=("--norc", "--noprofile", "-c")):
    """What bash prints that runs a script."""
    kept = {name: value for name, value in os.environ.items() if name != "CHARRNN_RUNS"}
    environment = {**kept, **ENVIRONMENT, "HOME": str(here), "PATH": f"{here}/bin:{os.environ['PATH']}"}
    ended = subprocess.run(
        [BASH, *options, script, "bash", *words], cwd=here, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def completed(here):
    """What bash offers at the end of words; the last may be begun."""
    in_bash(here, "charrnn --show-completion > completion.sh; true")

    def offered(*words):
        return in_bash(here, COMPLETE, "charrnn", *words).split()

    return offered


def test_commands_are_offered(completed):
    assert completed("") == [command.__name__ for command in COMMANDS]
    assert completed("pe") == ["perplexity"]


@pytest.mark.parametrize(
    "words",
    [
        ["sample"],
        ["perplexity"],
        ["inspect"],
        ["verify"],
        ["runs"],
        ["runs", "hamlet"],
        ["train", "--resume"],
        ["train", "text.txt", "--init-from"],
        ["train", "--config"],
        ["sample", "--temperature", "0.5"],
    ],
    ids=" ".join,
)
def test_runs_are_offered_wherever_one_can_be_named(completed, words):
    assert completed(*words, "") == RUNS
    assert completed(*words, "pl") == ["play", "play-2"]
    assert completed(*words, "checkpoints/pl") == []  # a path: bash completes it by itself


def test_every_option_of_every_command_is_offered(completed):
    for name in ("train", "sample"):
        known = {n for p in get_command(app).commands[name].params for n in (*p.opts, *p.secondary_opts)}
        options = {option for option in known if option.startswith("--")}
        assert options <= set(completed(name, "--"))
    assert completed("train", "--hid") == ["--hidden-size"]
    assert "--install-completion" in completed("--")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["corpus", ""], list(CATALOG)),
        (["corpus", "c", "shak"], ["shakespeare"]),
        (["train", "--cell", ""], ["rnn", "lstm", "gru", "gru-before"]),
        (["train", "text.txt", "--level", "b"], ["byte"]),
        (["train", "--reset", "b"], ["before"]),
        (["perplexity", "play", "--unknown", ""], ["error", "skip"]),
        (["train", ""], []),  # texts: bash completes files by itself
        (["perplexity", "play", ""], []),
        (["train", "--hidden-size", ""], []),
    ],
)
def test_corpora_and_choices_are_offered_and_files_left_to_bash(completed, words, offered):
    assert completed(*words) == offered


def test_where_there_are_no_runs_nothing_is_offered_and_nothing_said(here):
    for runs in ("nowhere", "bin/charrnn"):
        asked = {"_CHARRNN_COMPLETE": "complete_bash", "COMP_WORDS": "charrnn sample ", "COMP_CWORD": "2"}
        assert run(cwd=here, environment={**asked, "CHARRNN_RUNS": runs}) == (0, "\n", "")


def test_the_tab_key_completes_in_a_shell_that_has_it_installed(here):
    said = in_bash(here, "charrnn --install-completion; true")
    assert "bash completion installed" in said
    ours, theirs = pty.openpty()
    environment = {**ENVIRONMENT, "HOME": str(here), "PATH": f"{here}/bin:{os.environ['PATH']}", "TERM": "dumb"}
    bash = subprocess.Popen(
        [BASH, "-i"], cwd=here, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    with bash:
        os.write(ours, b"echo =$((1 + 1))=\n")
        read_until(ours, b"=2=")
        os.write(ours, b"charrnn verify ham\t")
        read_until(ours, b"hamlet ")
        os.write(ours, b"\n")
        assert b"model.safetensors" in read_until(ours, b"run.toml")
        bash.kill()
    os.close(ours)


def read_until(descriptor, expected):
    """What a terminal shows until something stands there."""
    shown, end = b"", time.monotonic() + SECONDS
    while expected not in shown:
        assert select.select([descriptor], [], [], end - time.monotonic())[0], shown
        shown += os.read(descriptor, 4096)
    return shown


@pytest.mark.parametrize(
    ("shell", "asked", "shown"),
    [
        ("zsh", "charrnn sample pl", '"play"\n"play-2"'),
        ("zsh", "charrnn sample --top-k", "symbols only; 0\\\\: off."),
        ("fish", "charrnn sample pl", "play\nplay-2\n"),
        ("fish", "charrnn train --hid", "--hidden-size\tUnits per layer."),
    ],
)
def test_other_shells_get_the_same_with_the_helps(here, shell, asked, shown):
    environment = {
        "_CHARRNN_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": asked,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    code, out, err = run(cwd=here, environment=environment, fresh=True)
    assert (code, err) == (0, "")
    assert shown in out


@pytest.mark.parametrize("words", ["charrnn ", "charrnn sample ", "charrnn train --cell ", "charrnn corpus "])
def test_an_answer_loads_no_large_library_and_costs_little(here, words):
    asked = {"_CHARRNN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert libraries_of(cwd=here, environment=asked) == set()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor's time, a quarter of a second on a usual machine: others may be at work.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
