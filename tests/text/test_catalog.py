import hashlib
import itertools
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec

import pytest

from charrnn.errors import InputError, OutputError, SettingsError
from charrnn.text import catalog
from charrnn.text.catalog import CATALOG, Entry, gather, gather_entry, join_files

PLAY = b"First Citizen:\nBefore we proceed any further, hear me speak.\n"
PROSE = "A model reads one symbol after the other, and says which comes next."
MORE = "What it has read before is kept in a state of fixed size."


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """A server on this machine: /play sends the play, /cut half of it, /flood never ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in ("/play", "/cut", "/flood"):
                self.send_error(404)
                return
            self.send_response(200)
            if self.path != "/flood":
                self.send_header("Content-Length", str(len(PLAY)))
            self.end_headers()
            if self.path == "/flood":
                try:
                    while True:
                        self.wfile.write(bytes(4096))
                except OSError:
                    return
            self.wfile.write(PLAY if self.path == "/play" else PLAY[:20])

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "*")

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # closing waits for the answers under way

    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def play(url, content=PLAY):
    return Entry("play", "a play", url=url, sha256=sha256(content))


def test_a_download_is_kept_when_it_is_what_was_promised(server, tmp_path):
    path = gather_entry(play(f"{server}/play"), tmp_path / "new")
    assert path == tmp_path / "new" / "play.txt"
    assert path.read_bytes() == PLAY
    assert [p.name for p in path.parent.iterdir()] == ["play.txt"]


@pytest.mark.parametrize(
    ("where", "content", "word"),
    [("/play", b"another", "SHA-256"), ("/cut", PLAY, "SHA-256"), ("/none", PLAY, "Not Found")],
)
def test_what_is_not_as_promised_is_refused_with_the_way_by_hand(server, tmp_path, where, content, word):
    entry = play(server + where, content)
    with pytest.raises(InputError, match=word) as error:
        gather_entry(entry, tmp_path)
    for part in (entry.url, entry.sha256, str(tmp_path / "play.txt"), "by hand"):
        assert part in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_download_without_end_is_cut_off(server, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "MAX_DOWNLOAD_BYTES", 10_000)
    with pytest.raises(InputError, match=r"larger than 10,000 bytes.*by hand"):
        gather_entry(play(f"{server}/flood"), tmp_path)


def test_a_download_that_drips_past_the_deadline_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "MAX_DOWNLOAD_BYTES", 1 << 60)
    with pytest.raises(InputError, match=r"not whole after 0.2 seconds.*by hand"):
        gather_entry(play(f"{server}/flood"), tmp_path, timeout_seconds=0.2)


def test_a_name_that_is_never_found_is_waited_for_no_longer(tmp_path, monkeypatch):
    found = threading.Event()

    def look_up(*args):
        found.wait()
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    with pytest.raises(InputError, match=r"not whole after 0.1 seconds.*by hand"):
        gather_entry(play("http://example.invalid/play"), tmp_path, timeout_seconds=0.1)
    found.set()


def test_without_a_network_the_way_by_hand_is_told(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(InputError, match="Network is unreachable") as error:
        gather("shakespeare", tmp_path)
    for part in (CATALOG["shakespeare"].url, CATALOG["shakespeare"].sha256, str(tmp_path / "shakespeare.txt")):
        assert part in str(error.value)


def test_an_address_of_another_kind_is_never_opened(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(PLAY)
    with pytest.raises(InputError, match="not a web address"):
        gather_entry(play(secret.as_uri()), tmp_path)


def test_a_file_placed_by_hand_is_taken_and_a_wrong_one_named(tmp_path):
    entry = play("http://127.0.0.1:9/never-asked")
    path = tmp_path / "play.txt"
    path.write_bytes(PLAY)
    before = path.stat().st_mtime_ns
    assert gather_entry(entry, tmp_path) == path
    assert path.stat().st_mtime_ns == before
    path.write_bytes(PLAY + b"!")
    with pytest.raises(InputError, match=f"{sha256(PLAY + b'!')}.*`force`"):
        gather_entry(entry, tmp_path)
    assert path.read_bytes() == PLAY + b"!"


def test_a_gathered_file_is_kept_until_it_is_forced_or_damaged(tmp_path):
    source = tmp_path / "a.h"
    source.write_text("int a;\n")
    entry = Entry("mine", "one file", find=lambda: iter([source]))
    path = gather_entry(entry, tmp_path / "corpora")
    source.write_text("int b;\n")
    gather_entry(entry, tmp_path / "corpora")
    assert path.read_text() == "int a;\n"
    gather_entry(entry, tmp_path / "corpora", force=True)
    assert path.read_text() == "int b;\n"
    for damaged in (b"", b"\x00\x00"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="`force`"):
            gather_entry(entry, tmp_path / "corpora")


def test_where_nothing_is_installed_to_gather_the_other_corpora_are_named(tmp_path):
    with pytest.raises(InputError, match="python"):
        gather_entry(Entry("c", "nothing", find=lambda: iter([tmp_path / "missing.h"])), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_the_old_one_whole(tmp_path, monkeypatch):
    (tmp_path / "a.h").write_text("int a;\n")
    entry = Entry("mine", "one file", find=lambda: iter([tmp_path / "a.h"]))
    path = gather_entry(entry, tmp_path / "corpora")
    (tmp_path / "a.h").write_text("int b;\n")

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OutputError, match="No space left"):
        gather_entry(entry, tmp_path / "corpora", force=True)
    assert path.read_text() == "int a;\n"
    assert [p.name for p in path.parent.iterdir()] == ["mine.txt"]


def test_files_are_joined_once_each_in_an_order_of_their_content(tmp_path):
    contents = [f"int number_{i};\n" for i in range(20)]
    forward = [tmp_path / f"{i}.h" for i in range(20)]
    renamed = [tmp_path / f"z{19 - i}.h" for i in range(20)]
    for paths in (forward, renamed):
        for path, content in zip(paths, contents, strict=True):
            path.write_text(content)
    text = join_files(forward)
    assert sorted(text.decode().splitlines(keepends=True)) == sorted(contents)
    assert join_files(renamed + forward[::-1]) == text


def test_files_are_told_apart_where_the_last_line_has_no_end(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"last line of {name}")
    assert sorted(join_files([tmp_path / "a", tmp_path / "b"]).splitlines()) == [b"last line of a", b"last line of b"]


@pytest.mark.parametrize(
    "content",
    [
        "int é;\n".encode(),
        b"int a;\r\n",
        b"int a;\0\n",
        b"// @generated by a tool\nint a;\n",
        b"/* Do not edit. */\nint a;\n",
        b"FOO(1, 2)\n" * 5000,
        b"",
    ],
)
def test_files_that_teach_little_or_bring_rare_characters_are_left_out(tmp_path, content):
    (tmp_path / "kept.h").write_text("int kept;\n")
    (tmp_path / "left.h").write_bytes(content)
    assert join_files([tmp_path / "kept.h", tmp_path / "left.h"]) == b"int kept;\n"


def test_the_size_limit_leaves_out_whole_files(tmp_path):
    paths = [tmp_path / f"{i}.h" for i in range(9)]
    for i, path in enumerate(paths):
        path.write_text(f"int number_{i};\n")  # 14 bytes
    text = join_files(paths, max_bytes=70)
    assert len(text.splitlines()) == 5
    assert len(text) == 70


def test_what_is_taken_of_the_files_is_taken_in_their_order(tmp_path):
    paths = [tmp_path / f"{i}.h" for i in range(9)]
    for i, path in enumerate(paths):
        path.write_text(f"int number_{i};\n")
    whole = join_files(paths)
    assert join_files(paths, refine=lambda contents: (b"/" + each for each in contents)) == whole.replace(b"i", b"/i")
    first = join_files(paths, refine=lambda contents: itertools.islice(contents, 1))
    assert whole.startswith(first)
    assert first


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A Python with a standard library and one package, both small; gives the directory that holds them."""
    library, package = tmp_path / "lib", tmp_path / "packages" / "numpy"
    for place in (library / "test", package / "_core" / "include", tmp_path / "include"):
        place.mkdir(parents=True)
    (library / "one.py").write_text(f'"""{PROSE}"""\nimport sys\nsys.exit("executed")\n')
    (library / "test" / "two.py").write_text(
        '"""What stands in tests is not meant for readers, so it is left out."""\n'
    )
    (package / "__init__.py").write_text(f'def f():\n    """{PROSE}\n\n    {MORE}\n    """\n')
    (package / "_core" / "include" / "a.h").write_text("int   a;\n")
    (tmp_path / "include" / "b.h").write_text("// Copyright 2020 Someone\nint b;\n")
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(library), "include": str(tmp_path / "include")})
    spec = ModuleSpec("numpy", None, is_package=True)
    spec.submodule_search_locations.append(str(package))
    monkeypatch.setattr("importlib.util.find_spec", {"numpy": spec}.get)
    return tmp_path


def test_english_is_what_the_packages_installed_say_of_themselves(installed):
    text = gather("english", installed / "corpora").read_text()
    assert sorted(" ".join(each.split()) for each in text.split("\n\n")) == ["", PROSE, MORE]


def test_headers_are_cleaned_as_they_are_gathered(installed):
    assert sorted(gather("c", installed / "corpora").read_text().split()) == ["a;", "b;", "int", "int"]


@pytest.mark.parametrize(
    ("name", "word"), [("c", b"#include"), ("english", b"the first argument"), ("python", b"def __init__(self")]
)
def test_the_sources_installed_here_give_a_text_worth_training_on(tmp_path, monkeypatch, name, word):
    if name == "english":  # all that is installed takes ten seconds
        monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    text = gather(name, tmp_path).read_bytes()
    assert 100_000 < len(text) <= catalog.MAX_GATHERED_BYTES
    assert word in text
    assert len(set(text)) <= 97  # printable ASCII, tab, newline
    assert text.endswith(b"\n")


def test_an_unknown_name_is_refused_with_the_names_there_are(tmp_path):
    with pytest.raises(SettingsError, match=r"'shakspere'.*c, english, python, shakespeare"):
        gather("shakspere", tmp_path)


def test_nothing_of_torch_is_imported_to_gather_its_headers(tmp_path):
    code = (
        "import sys; from charrnn.text.catalog import gather; gather('c', sys.argv[1]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
