"""Building the kernels: what is kept, and every way in which there may be none."""

import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn.models.native import build

needs_compiler = pytest.mark.skipif(not build.compiler_command(), reason="no C compiler on this machine")

QUESTION = """
from charrnn.models.native import build
built = build.library()
print(built.path if built else build.unavailable_reason())
"""


def ask(**environment: str | None) -> subprocess.Popen[str]:
    """A fresh interpreter that prints the library's path, or why there is none."""
    variables = {key: value for key, value in os.environ.items() if key not in ("CC", "CHARRNN_NATIVE")}
    for key, value in environment.items():
        variables.pop(key, None)
        if value is not None:
            variables[key] = value
    root = str(Path(build.__file__).parents[3])
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [root, variables.get("PYTHONPATH")]))
    return subprocess.Popen([sys.executable, "-c", QUESTION], env=variables, text=True, stdout=subprocess.PIPE)


def answer(process: subprocess.Popen[str]) -> str:
    stdout, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return stdout.strip()


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@needs_compiler
def test_two_processes_that_build_at_once_share_one_whole_file(tmp_path: Path) -> None:
    processes = [ask(XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path)) for _ in range(2)]
    paths = {answer(process) for process in processes}
    assert len(paths) == 1
    path = Path(paths.pop())
    assert path.is_relative_to(tmp_path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]  # no half-built file is left


@needs_compiler
def test_a_second_process_loads_what_the_first_has_built(tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    path = Path(answer(ask(**cache)))
    before = path.stat().st_mtime_ns
    assert Path(answer(ask(**cache))) == path
    assert path.stat().st_mtime_ns == before


@needs_compiler
def test_a_damaged_file_in_the_cache_does_not_stop_the_kernels(tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    path = Path(answer(ask(**cache)))
    path.write_bytes(path.read_bytes()[:1000])
    assert answer(ask(**cache)) == str(path)
    assert path.stat().st_size > 1000  # built again


@needs_compiler
def test_a_compiler_that_does_not_know_march_native_still_builds(tmp_path: Path) -> None:
    real = build.compiler_command()[0]
    compiler = script(
        tmp_path / "cc",
        f'for word in "$@"; do [ "$word" = -march=native ] && exit 1; done\nexec {real} "$@"',
    )
    said = answer(ask(CC=compiler, XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path)))
    assert said.endswith(".so")


def test_a_failing_compiler_is_named_with_its_message(tmp_path: Path) -> None:
    compiler = script(tmp_path / "cc", '[ "$1" = --version ] && exit 0\necho "error: no \x1bluck" >&2\nexit 1')
    said = answer(ask(CC=compiler, XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path)))
    assert compiler in said
    assert "no \\x1bluck" in said


def test_a_compiler_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = script(tmp_path / "cc", '[ "$1" = --version ] && exit 0\nexec sleep 60')
    monkeypatch.setenv("CC", compiler)
    monkeypatch.delenv("CHARRNN_NATIVE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(build, "COMPILE_SECONDS", 0.5)
    monkeypatch.setattr(build, "_result", None)
    assert build.library() is None
    assert "no answer within" in str(build.unavailable_reason())


def test_without_a_compiler_the_reason_says_so(tmp_path: Path) -> None:
    assert answer(ask(PATH=str(tmp_path), HOME=str(tmp_path))) == "no C compiler (cc, gcc or clang) on the PATH"


def test_a_CC_that_is_no_command_is_named(tmp_path: Path) -> None:
    assert answer(ask(CC="nowhere-cc", HOME=str(tmp_path))) == "CC is 'nowhere-cc', which is not a command here"


def test_CHARRNN_NATIVE_0_turns_the_kernels_off() -> None:
    assert answer(ask(CHARRNN_NATIVE="0")) == "CHARRNN_NATIVE is 0"


def test_a_processor_without_kernels_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHARRNN_NATIVE", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    monkeypatch.setattr(build, "_result", None)
    assert build.library() is None
    assert "on vax" in str(build.unavailable_reason())


@needs_compiler
def test_a_cache_that_cannot_be_written_is_replaced_by_a_passing_directory(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    said = answer(ask(XDG_CACHE_HOME=str(blocked), HOME=str(blocked), TMPDIR=str(tmp_path)))
    assert said.endswith(".so")
    assert not Path(said).exists()  # the directory went once the library was loaded


@needs_compiler
def test_a_cache_that_others_can_write_is_not_loaded_from(tmp_path: Path) -> None:
    folder = tmp_path / "charrnn" / "native"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    path = Path(answer(ask(XDG_CACHE_HOME=str(tmp_path))))
    assert path.suffix == ".so"
    assert not path.is_relative_to(folder)


@pytest.mark.parametrize("name", ["vector.h", "team.c", "another.h", "another.c"])
def test_a_new_or_changed_source_is_built_anew(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "native"
    shutil.copytree(Path(build.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(build, "__file__", str(folder / "build.py"))
    before = build._key(["cc"], "a compiler", build.FLAGS)
    assert build._key(["cc"], "a compiler", build.FLAGS) == before
    with (folder / name).open("a") as file:
        file.write("extern int one_line_more;\n")
    assert build._key(["cc"], "a compiler", build.FLAGS) != before
    assert (folder / name in build.sources()) == name.endswith(".c")


def test_importing_the_module_imports_no_torch() -> None:
    code = "import sys, charrnn.models.native.build; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
