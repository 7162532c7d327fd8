"""The command in poor surroundings: no home, no terminal, few files, other locales, no network."""

import ast
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import charrnn

PACKAGE = Path(charrnn.__file__).parent
PLACES = os.pathsep.join(path for path in sys.path if path)
COMMANDS = ("train", "sample", "perplexity", "inspect", "verify", "--help")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("to be or not to be, that is the question é\n" * 40)
    return path


def run(command, run_of, text, tmp_path, *, environment, under=(), before=None):
    arguments = {
        "train": [text, "--steps", "12", "--hidden-size", "4", "--threads", "1", "--out", tmp_path / "runs"],
        "sample": [run_of, "--length", "80"],
        "perplexity": [run_of, text, "--unknown", "skip"],
        "inspect": [run_of],
        "verify": [run_of],
        "--help": [],
    }[command]
    return subprocess.run(
        [*under, sys.executable, "-m", "charrnn", command, *map(str, arguments)],
        env={"PYTHONPATH": PLACES, **environment},
        capture_output=True,
        timeout=120,
        preexec_fn=before,
        cwd=tmp_path,
    )


ENVIRONMENTS = {
    "none at all": {},
    "a dumb terminal": {"TERM": "dumb", "HOME": "/tmp"},
    "no colour": {"NO_COLOR": "1", "TERM": "xterm-256color"},
    "colour by force": {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "GITHUB_ACTIONS": "true", "TERM": "xterm-256color"},
    "one column": {"COLUMNS": "1", "LINES": "1"},
    "500 columns": {"COLUMNS": "500"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    "no home": {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent/cache"},
    "no place for passing files": {"TMPDIR": "/nonexistent"},
    "no kernels": {"CHARRNN_NATIVE": "0"},
    "no compiler": {"PATH": "/nonexistent", "CHARRNN_CACHE": "/tmp/charrnn-test-no-such-cache"},
}


# Training takes seconds to load torch: it is tried where it could differ.
TRIED = [(command, where) for where in ENVIRONMENTS for command in ("sample", "perplexity", "verify", "--help")]
TRIED += [("train", where) for where in ("none at all", "colour by force", "ASCII", "no home", "no compiler")]


@pytest.mark.parametrize(("command", "where"), TRIED)
def test_every_command_works_and_sends_no_escape_into_a_pipe(run_of, text, tmp_path, where, command):
    ended = run(command, run_of, text, tmp_path, environment=ENVIRONMENTS[where])
    assert ended.returncode == 0, ended.stderr
    assert b"\x1b" not in ended.stdout + ended.stderr
    assert b"\r" not in ended.stdout + ended.stderr
    assert ended.stdout.decode("utf-8")
    if command == "train" and where in ("no kernels", "no compiler"):
        slower = [line for line in ended.stderr.splitlines() if b"slower" in line]
        assert len(slower) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_few_open_files_are_enough(run_of, text, tmp_path, command):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

    ended = run(command, run_of, text, tmp_path, environment={}, before=few)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_no_network_is_needed(run_of, text, tmp_path, command):
    under = ["unshare", "-rn"]
    if subprocess.run([*under, "true"], capture_output=True).returncode != 0:
        pytest.skip("no network of our own to cut off here")
    ended = run(command, run_of, text, tmp_path, environment={}, under=under)
    assert ended.returncode == 0, ended.stderr


def used(path):
    """Dotted names in a file: imports and attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def test_no_clock_that_can_be_set_is_read_and_no_process_is_forked():
    """A clock that jumps can have no effect on what never looks at it; there are no data workers to be orphaned."""
    wrong = {"time.time", "time.localtime", "datetime.now", "datetime.datetime.now", "os.fork", "multiprocessing"}
    for path in PACKAGE.rglob("*.py"):
        assert not wrong & set(used(path)), path


def test_the_network_is_known_to_the_corpora_alone():
    for path in PACKAGE.rglob("*.py"):
        reaches = {"socket", "urllib.request", "http.client", "requests", "httpx"} & set(used(path))
        # The lock asks the machine for its name, no more.
        assert not reaches or path.name in ("catalog.py", "run_lock.py"), path


def test_a_read_only_site_is_no_hindrance(run_of, text, tmp_path):
    ended = run("sample", run_of, text, tmp_path, environment={"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/proc"})
    assert ended.returncode == 0, ended.stderr
