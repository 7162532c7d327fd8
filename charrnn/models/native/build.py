"""The compiled kernels: built once per machine with the system's compiler, loaded with ctypes.

The C sources beside this file need a C compiler (``$CC``, or cc, gcc or clang on the PATH) and nothing else.
The result is kept in the user's cache under a name made from everything that shapes it: sources, compiler,
flags and processor. Without it every caller has a slower path that gives the same numbers: nothing here raises.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from charrnn.files import remove_stale, temporary_beside

ABI = 8
"""The number ``charrnn_abi()`` must give: that of the structures and functions called from Python."""

COMPILE_SECONDS = 60.0
"""A compiler that takes longer is taken to hang; the build itself takes about two seconds."""

FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-pthread", "-fno-math-errno")
NATIVE_FLAGS = ("-march=native",)

_MACHINES = frozenset({"x86_64", "amd64", "arm64", "aarch64"})


@dataclass(frozen=True)
class Library:
    """The loaded kernels.

    Attributes:
        calls: the shared library; its functions release the interpreter's lock while they run.
        path: the file it was loaded from.
        compiler: first line of the compiler's own description.
        flags: the flags it was built with.
        has_bfloat16: whether compiler and processor both know products of bfloat16.
    """

    calls: ctypes.CDLL
    path: Path
    compiler: str
    flags: tuple[str, ...]
    has_bfloat16: bool


class _UnavailableError(Exception):
    """Why there is no library; never leaves this module."""


_lock = threading.Lock()
_result: Library | str | None = None


def library() -> Library | None:
    """The kernels, built on the first call of the first process that asks; None where they cannot be had."""
    global _result
    with _lock:
        if _result is None:
            try:
                _result = _obtain()
            except _UnavailableError as reason:
                _result = str(reason)
        return None if isinstance(_result, str) else _result


def unavailable_reason() -> str | None:
    """Why ``library()`` gives None, in words for a user; None where it gives the kernels."""
    library()
    return _result if isinstance(_result, str) else None


def sources() -> list[Path]:
    """The C files beside this one, in the order in which they are compiled."""
    return sorted(Path(__file__).parent.glob("*.c"))


def compiler_command() -> list[str]:
    """The C compiler as a command, ``$CC`` before cc, gcc and clang; empty where there is none."""
    chosen = os.environ.get("CC", "").strip()
    if chosen:
        try:
            words = shlex.split(chosen)
        except ValueError:
            return []
        return words if words and shutil.which(words[0]) else []
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return [path]
    return []


def compile_library(target: Path, *, flags: tuple[str, ...], command: list[str]) -> None:
    """Compiles the sources into ``target``.

    Args:
        target: the shared library to make, in a directory that exists.
        flags: everything between the compiler and its inputs.
        command: the compiler.

    Raises:
        OSError: the compiler cannot be run.
        subprocess.SubprocessError: it failed or hung; ``stderr`` says how.
    """
    _run([*command, *flags, *map(str, sources()), "-o", str(target), "-lm"])


def _kept(folder: Path, key: str) -> Path | None:
    """A whole library that an earlier process has left under this key; damaged ones are removed.

    The name ends with the digest of the content: loading a file that is cut short would end the process.
    """
    for path in sorted(folder.glob(f"{key}-*.so")):
        if path.stem.removeprefix(f"{key}-") == _digest(path):
            return path
        path.unlink(missing_ok=True)
    return None


def _make(folder: Path, key: str, *, flags: tuple[str, ...], command: list[str]) -> Path:
    """Builds beside and renames, so that another process sees a whole library or none."""
    remove_stale(folder)
    made = temporary_beside(folder / f"{key}.so")
    try:
        compile_library(made, flags=flags, command=command)
        made.chmod(0o755)
        return made.replace(folder / f"{key}-{_digest(made)}.so")
    finally:
        made.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _run(command: list[str]) -> str:
    """What a command writes to stdout; it gets no stdin, and its messages are kept for the error."""
    done = subprocess.run(  # noqa: S603 - the command is the user's own compiler
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMPILE_SECONDS, check=True
    )
    return done.stdout.decode("utf-8", "replace")


def _obtain() -> Library:
    if os.environ.get("CHARRNN_NATIVE", "").strip() == "0":
        raise _UnavailableError("CHARRNN_NATIVE is 0")
    if os.name != "posix" or platform.machine().lower() not in _MACHINES:
        machine = platform.machine() or "this processor"
        raise _UnavailableError(f"no kernels are made for {sys.platform} on {machine}")
    command = compiler_command()
    if not command:
        chosen = os.environ.get("CC", "").strip()
        if chosen:
            raise _UnavailableError(f"CC is {chosen!r}, which is not a command here")
        raise _UnavailableError("no C compiler (cc, gcc or clang) on the PATH")
    try:
        identity = _run([*command, "--version"])
    except (OSError, subprocess.SubprocessError) as error:
        raise _UnavailableError(f"the C compiler {command[0]!r} does not answer: {_said(error)}") from None
    reason = "no cache directory can be written"
    for folder in _folders():
        for flags in ((*FLAGS, *NATIVE_FLAGS), FLAGS):
            key = _key(command, identity, flags)
            try:
                path = _kept(folder, key) or _make(folder, key, flags=flags, command=command)
                calls = _load(path)
            except subprocess.SubprocessError as error:
                reason = f"the C compiler {command[0]!r} failed: {_said(error)}"
                if isinstance(error, subprocess.TimeoutExpired):
                    raise _UnavailableError(reason) from None
                continue
            except OSError as error:
                reason = f"the kernels cannot be put in {str(folder)!r}: {_said(error)}"
                break
            compiler = identity.partition("\n")[0].strip()
            return Library(calls, path, compiler, flags, calls.charrnn_bf16() != 0)
        else:
            raise _UnavailableError(reason)
    raise _UnavailableError(reason)


def _folders() -> Iterator[Path]:
    """Where the library may be kept: the user's cache, or, failing that, a directory of this process."""
    lasting = user_cache_path("charrnn") / "native"
    try:
        lasting.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        pass
    else:
        # Code is loaded from here: a directory that others can write is not trusted.
        if lasting.stat().st_uid == os.getuid() and not lasting.stat().st_mode & 0o022:
            yield lasting
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(prefix="charrnn-native-") as passing:
        yield Path(passing)


def _key(command: list[str], identity: str, flags: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for path in (*sources(), *sorted(Path(__file__).parent.glob("*.h"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for text in (*command, identity, *flags, platform.machine(), sys.platform, _processor()):
        digest.update(text.encode("utf-8", "surrogateescape") + b"\0")  # CC may hold any bytes
    return digest.hexdigest()[:32]


def _processor() -> str:
    """Model and abilities of the processor: code for one may not run on another that shares the cache."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _load(path: Path) -> ctypes.CDLL:
    calls = ctypes.CDLL(str(path))
    try:
        abi = calls.charrnn_abi()
    except AttributeError:
        raise OSError("it lacks charrnn_abi") from None
    if abi != ABI:
        raise OSError(f"its interface is number {abi}, not {ABI}")
    return calls


def _said(error: Exception) -> str:
    """The first line of what went wrong, safe to print."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {error.timeout:.0f} s"
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in error.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        said = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")
        return repr(said) if said else f"exit status {error.returncode}"
    return repr(str(error))
