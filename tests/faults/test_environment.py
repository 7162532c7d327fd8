"""The command in poor surroundings: no home, no terminal, few files, other locales, no network."""

import ast
import os
import resource
import subprocess
from pathlib import Path

import pytest
from command import run

import charrnn

PACKAGE = Path(charrnn.__file__).parent
COMMANDS = ("train", "sample", "perplexity", "inspect", "verify", "--help")
# What it takes to find the kernels that were built before, or the compiler: without a PATH they cannot be built.
USUAL = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("to be or not to be, that is the question é\n" * 40)
    return path


def works(command, run_of, text, tmp_path, *, environment=USUAL, **options):
    """What a command writes, of a process that starts fresh with this environment alone; it must succeed."""
    arguments = {
        "train": [text, "--steps", "12", "--hidden-size", "4", "--threads", "1", "--out", tmp_path / "runs"],
        "sample": [run_of, "--length", "80"],
        "perplexity": [run_of, text, "--unknown", "skip"],
        "inspect": [run_of],
        "verify": [run_of],
        "--help": [],
    }[command]
    options = {"cwd": tmp_path, "fresh": True, "bare": True, "environment": environment, **options}
    ended = run(command, *arguments, **options)
    assert ended.code == 0, ended.err
    return ended


ENVIRONMENTS = {
    "none at all": {},
    "a dumb terminal": {**USUAL, "TERM": "dumb"},
    "no colour": {**USUAL, "NO_COLOR": "1", "TERM": "xterm-256color"},
    "colour by force": {
        **USUAL,
        "FORCE_COLOR": "1",
        "CLICOLOR_FORCE": "1",
        "GITHUB_ACTIONS": "true",
        "TERM": "xterm-256color",
    },
    "one column": {**USUAL, "COLUMNS": "1", "LINES": "1"},
    "500 columns": {**USUAL, "COLUMNS": "500"},
    "ASCII": {**USUAL, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    "no home": {**USUAL, "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache"},
    "no place for passing files": {**USUAL, "TMPDIR": "/dev/null/none"},
    "no kernels": {**USUAL, "CHARRNN_NATIVE": "0"},
    "no compiler": {"PATH": "/dev/null", "CHARRNN_CACHE": "/dev/null/cache"},
}


# Training takes seconds to load torch: it is tried where it could differ.
TRIED = [(command, where) for where in ENVIRONMENTS for command in ("sample", "perplexity", "verify", "--help")]
TRIED += [("train", where) for where in ("none at all", "colour by force", "ASCII", "no home", "no compiler")]


@pytest.mark.parametrize(("command", "where"), TRIED)
def test_every_command_works_and_sends_no_escape_into_a_pipe(run_of, text, tmp_path, where, command):
    _, out, err = works(command, run_of, text, tmp_path, environment=ENVIRONMENTS[where])
    assert "\x1b" not in out + err
    assert "\r" not in out + err
    if command == "train" and where in ("no kernels", "no compiler"):
        assert len([line for line in err.splitlines() if "slower" in line]) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_few_open_files_are_enough(run_of, text, tmp_path, command):
    works(command, run_of, text, tmp_path, limits={resource.RLIMIT_NOFILE: 32})


@pytest.mark.parametrize("command", COMMANDS)
def test_no_network_is_needed(run_of, text, tmp_path, command):
    under = ["unshare", "-rn"]
    if subprocess.run([*under, "true"], capture_output=True).returncode != 0:
        pytest.skip("no network of our own to cut off here")
    works(command, run_of, text, tmp_path, under=under)


def used(path):
    """Dotted names in a file: imports and attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def test_no_clock_that_can_be_set_is_read_and_nothing_forks():
    """A clock that jumps can have no effect on what never looks at it; there are no data workers to be orphaned."""
    wrong = {"time.time", "time.localtime", "datetime.now", "datetime.datetime.now", "os.fork", "multiprocessing"}
    for path in PACKAGE.rglob("*.py"):
        # The age of a run and the hour of an event are shown, and nothing follows from them.
        shows_time = path in (PACKAGE / "reports" / "runs.py", PACKAGE / "training" / "tensorboard.py")
        shown = {"time.time"} if shows_time else set()
        assert not wrong & set(used(path)) - shown, path


def test_the_network_is_known_to_the_corpora_alone():
    for path in PACKAGE.rglob("*.py"):
        reaches = {"socket", "urllib.request", "http.client", "requests", "httpx"} & set(used(path))
        # The lock asks the machine for its name, no more.
        assert not reaches or path.name in ("catalog.py", "run_lock.py"), path


def test_a_read_only_site_is_no_hindrance(run_of, text, tmp_path):
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/proc"}
    works("sample", run_of, text, tmp_path, environment=environment)
