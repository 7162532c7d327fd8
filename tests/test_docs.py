"""What README and docs show is true: their commands work, their options exist, their links lead somewhere.

Commands run as a reader would type them, one page after its own order in one directory, with stand-ins: texts and runs
that a page takes for granted are small ones, training is cut to two steps, and nothing is downloaded.
"""

import contextlib
import random
import re
import shlex
import shutil
import string
import subprocess
from pathlib import Path

import pytest
from command import invoke
from typer.main import get_command

from charrnn.cli.app import app
from charrnn.cli.train import GROUPS
from charrnn.errors import ExitCode
from charrnn.storage.config import read_config
from charrnn.text.catalog import CATALOG, Entry

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = get_command(app).commands
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(?:^|\s\s)# .*$")
# Every printable character, so that a model of it knows every prompt; longer than any part that a page cuts off.
ALPHABET = string.ascii_letters + string.digits + string.punctuation + " \n"
TEXT = "".join(random.Random(0).choices(ALPHABET, k=20_000))
PLAIN_PROGRAMS = {"awk", "cat", "grep", "head", "printf", "tail", "yes"}
BUDGETS = ("--minutes", "--epochs", "--steps", "--hidden-size", "--length")
TINY = "steps=2, batch_size=2, bptt=5, threads=1, hidden_size=8"
SHORT = ("--steps", "2", "--batch-size", "2", "--bptt", "5", "--threads", "1")


def blocks(page, *languages):
    return [text for language, text in BLOCK.findall(page.read_text()) if language in languages]


def shell_lines(page):
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", "").splitlines():
            if command := COMMENT.sub("", line).strip():
                yield command


def prose(page):
    return BLOCK.sub("", page.read_text())


def options_of(command):
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """A run that stands in for those that a page takes for granted; to be copied."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "text.txt").write_text(TEXT)
    ended = invoke("train", "text.txt", *SHORT, "--hidden-size", "8", "--quiet", cwd=folder)
    assert ended.code == 0, ended.err
    return folder / "checkpoints" / "text"


class Reader:
    """Types the commands of a page in one directory."""

    def __init__(self, folder, small_run):
        self.folder = folder
        self._small_run = small_run

    def type(self, line):
        """Makes sure that a line of a page does what it should."""
        before, _, last = line.rpartition("|")
        program, *arguments = shlex.split(last)
        if program == "charrnn":
            stdin = self._pipe(before) if before else b""
            self._charrnn(arguments, stdin)
        elif program in PLAIN_PROGRAMS:
            self._pipe(line)
        elif program == "torchrun":
            name, *arguments = arguments[arguments.index("charrnn") + 1 :]
            COMMANDS[name].make_context(name, arguments)
        elif program == "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif program == "python":
            source = (ROOT / arguments[0]).read_text()
            assert all(f'"{option}"' in source for option in arguments if option.startswith("--"))
        else:
            assert line == "pip install ."

    def provide_run(self, given):
        """Puts a small run where a page says that there is one, by its name or its path."""
        is_name = Path(given).name == str(given) and not Path(given).suffix
        path = self.folder / ("checkpoints" if is_name else "") / given
        if path.exists():
            return
        if path.suffix == ".safetensors":
            shutil.copy(self._small_run / "model.safetensors", path)
        else:
            shutil.copytree(self._small_run, path if not path.suffix else path.parent)

    def provide_text(self, name):
        """Puts a small text where a page says that there is one; in a directory, where the name is one's."""
        path = self.folder / name
        if name == "-" or path.exists():
            return
        file = path / "file.txt" if name.endswith("/") else path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(TEXT)

    def _pipe(self, line):
        """What plain programs print."""
        stages = [shlex.split(stage)[0] for stage in re.sub(r"\$\(.*\)", "", line).split("|")]
        assert set(stages) <= PLAIN_PROGRAMS
        for name in re.findall(r"\w[\w./-]*\.txt", line.partition(">")[0]):
            self.provide_text(name)
        done = subprocess.run(["/bin/sh", "-ec", line], cwd=self.folder, capture_output=True, check=True)
        assert not done.stderr
        return done.stdout

    def _charrnn(self, arguments, stdin):
        name, *options = arguments
        with contextlib.chdir(self.folder):
            given = COMMANDS[name].make_context(name, list(options)).params
        for key in ("texts", "val", "fit_temperature", "fit", "source"):
            found = given.get(key) or ()
            for text in [found] if isinstance(found, str) else found:
                self.provide_text(str(text))
        for key in ("model", "run", "resume", "init_from", "config"):
            if given.get(key):
                self.provide_run(given[key])
        for run in given.get("with_") or () if name == "explain" else ():
            self.provide_run(run)
        for run in given["names"] or () if name in ("runs", "report") else ():
            self.provide_run(run)
        ended = invoke(name, *self._shortened(name, options, given), stdin=stdin, cwd=self.folder)
        if given.get("interactive"):  # a page is no terminal; tests/cli/test_interactive.py has one
            assert "needs a terminal" in ended.err
            return
        assert ended.code == 0, ended.err
        assert ended.out

    def _shortened(self, name, options, given):
        if name not in ("train", "sample"):
            return options
        kept = []
        words = iter(options)
        for word in words:
            if word in BUDGETS:
                next(words)
            else:
                kept.append(word)
        if name == "sample":
            return [*kept, "--length", "20"]
        if given["resume"]:
            return kept
        return [*kept, *SHORT, *(() if given["init_from"] else ("--hidden-size", "8"))]


@pytest.fixture
def reader(tmp_path, small_run, monkeypatch):
    """Someone who reads a page and has no network."""
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
    found = tmp_path / "found.h"
    found.write_text(TEXT)
    for name in list(CATALOG):
        monkeypatch.setitem(CATALOG, name, Entry(name, "a small text", find=lambda: iter([found])))
    folder = tmp_path / "here"
    folder.mkdir()
    return Reader(folder, small_run)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=lambda page: page.name)
def test_every_command_shown_works(page, reader):
    for line in shell_lines(page):
        reader.type(line)


def test_a_page_shows_commands_in_marked_blocks_alone():
    lines = [line for page in PAGES for line in prose(page).splitlines()]
    typed = re.compile(rf"\s*(\$ |charrnn ({'|'.join(COMMANDS)}) |make [a-z]+$|python -m |torchrun )")
    assert not list(filter(typed.match, lines))
    assert {language for page in PAGES for language, _ in BLOCK.findall(page.read_text())} <= {
        "python",
        "sh",
        "text",
        "toml",
    }
    assert sum(len(list(shell_lines(page))) for page in PAGES) > 50


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_every_program_shown_works(page, reader, capsys):
    for program in blocks(page, "python"):
        for run in re.findall(r'(?:load\(|resume=)"([\w-]+)"', program):
            reader.provide_run(run)
        for text in re.findall(r'train\("([\w./]+)"', program):
            reader.provide_text(text)
        for name in re.findall(r'InferenceSession\("(\w+)\.onnx"\)', program):
            pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
            reader.provide_run(name)
            assert invoke("export", name, "--onnx", cwd=reader.folder).code == 0
        with contextlib.chdir(reader.folder):
            exec(re.sub(r"minutes=\d+", TINY, program), {})
        assert capsys.readouterr().out


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=lambda page: page.name)
def test_every_file_of_settings_shown_is_one(page, tmp_path):
    for settings in blocks(page, "toml"):
        path = tmp_path / "run.toml"
        path.write_text(settings)
        assert len(read_config(path, *GROUPS)) == len(settings.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_mentioned_exists(page):
    everywhere = set().union(*map(options_of, (get_command(app), *COMMANDS.values())))
    for mentioned in re.findall(r"`([^`\n]+)`", prose(page)):
        words = mentioned.split()
        if len(words) > 1 and words[0] == "charrnn" and words[1] in COMMANDS:
            known = options_of(COMMANDS[words[1]])
        elif words[0] == "--help" or not words[0].startswith("-"):
            continue
        else:
            known = everywhere
        options = re.findall(r"--[a-z][a-z0-9-]*", mentioned)
        assert set(options) <= known | {"--help"}, mentioned


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", path.read_text()), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_mentioned_exists(page):
    for name in re.findall(r"`((?:charrnn|tests|docs)/[\w./-]+)`", prose(page)):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_of_a_page_is_long(page):
    assert not [line for line in page.read_text().splitlines() if len(line) > 120 and not line.startswith("|")]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


def test_the_guide_lists_every_exit_code():
    section = (ROOT / "docs" / "guide.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    listed = [int(code) for row in re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE) for code in row.split(",")]
    assert sorted(listed) == sorted(map(int, ExitCode))
