"""The corpus command, with small corpora in the place of those of this machine."""

import pytest
from command import invoke, run

from charrnn.text import catalog
from charrnn.text.catalog import CATALOG, Entry

URL = "https://example.invalid/play.txt"


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Two corpora to gather and one to download; gives the file that the first is made of."""
    source, other = tmp_path / "a.h", tmp_path / "a.py"
    source.write_text("int a;\n")
    other.write_text("a = 1\n")
    entries = {
        "one": Entry("one", "a header", find=lambda: iter([source])),
        "two": Entry("two", "a module", find=lambda: iter([other])),
        "far": Entry("far", "a play", url=URL, sha256="0" * 64),
    }
    monkeypatch.setattr(catalog, "CATALOG", entries)
    return source


def test_without_a_name_all_corpora_are_listed_and_nothing_is_gathered(tmp_path):
    code, out, err = run("corpus", cwd=tmp_path, fresh=True)
    assert (code, err) == (0, "")
    for name, entry in CATALOG.items():
        assert f"{name} " in out
        assert entry.description in out
    assert out.count("not gathered yet") == len(CATALOG)
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_is_gathered_and_the_next_command_named(tmp_path, sources):
    code, out, err = invoke("corpus", "one", cwd=tmp_path)
    assert (code, out, err) == (0, "corpora/one.txt: 7 bytes; next: charrnn train corpora/one.txt\n", "")
    assert (tmp_path / "corpora/one.txt").read_text() == "int a;\n"
    listed = invoke("corpus", cwd=tmp_path).out
    assert "corpora/one.txt (7 bytes)" in listed
    assert listed.count("not gathered yet") == 2


def test_several_corpora_go_where_they_are_sent(tmp_path, sources):
    code, out, _ = invoke("corpus", "two", "one", "--out", "texts", cwd=tmp_path)
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["texts/two.txt", "texts/one.txt"]
    assert (tmp_path / "texts/two.txt").read_text() == "a = 1\n"
    assert not (tmp_path / "corpora").exists()


def test_what_is_there_is_kept_unless_it_is_forced(tmp_path, sources):
    path = tmp_path / "corpora/one.txt"
    invoke("corpus", "one", cwd=tmp_path)
    sources.write_text("int b;\n")
    assert invoke("corpus", "one", cwd=tmp_path).code == 0
    assert path.read_text() == "int a;\n"
    assert invoke("corpus", "one", "--force", cwd=tmp_path).code == 0
    assert path.read_text() == "int b;\n"


def test_an_unknown_corpus_is_refused_before_any_is_gathered(tmp_path, sources):
    code, out, err = invoke("corpus", "one", "on", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert "'on'" in err
    assert "one, two, far" in err
    assert not (tmp_path / "corpora").exists()


def test_without_a_network_the_address_and_the_place_are_told(tmp_path, sources, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    code, out, err = invoke("corpus", "far", cwd=tmp_path)
    assert (code, out) == (3, "")
    assert all(part in err for part in ("Network is unreachable", URL, "corpora/far.txt"))
    assert len(err.splitlines()) == 1


def test_a_download_is_given_as_much_time_as_was_asked_for(tmp_path, sources, monkeypatch):
    def wait(*args, timeout):
        raise OSError(f"waited for {timeout}")

    monkeypatch.setattr("urllib.request.urlopen", wait)
    assert "waited for 1.5" in invoke("corpus", "far", "--timeout", "1.5", cwd=tmp_path).err
    for wrong in ("0", "-1", "nan", "inf"):
        code, out, err = invoke("corpus", "far", "--timeout", wrong, cwd=tmp_path)
        assert (code, out) == (2, "")
        assert f"--timeout {wrong}: must be a number above 0" in err


def test_on_a_terminal_a_corpus_is_announced_before_it_is_gathered(tmp_path, sources):
    from charrnn.reports import terminal

    notes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terminal, "write_note", notes.append)
        invoke("corpus", "one", "two", cwd=tmp_path)
        invoke("corpus", "one", cwd=tmp_path)
    assert notes == ["gathering one: a header ...", "gathering two: a module ..."]


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path, sources):
    (tmp_path / "corpora").write_text("mine")
    code, out, err = invoke("corpus", "one", cwd=tmp_path)
    assert (code, out) == (4, "")
    assert "Traceback" not in err
    assert (tmp_path / "corpora").read_text() == "mine"
