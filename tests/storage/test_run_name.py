"""What a user means by a name or a path, and what is said where that is nothing."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_model import make_model

import charrnn
from charrnn.errors import CharRNNError, InputError, SettingsError
from charrnn.storage.run_name import choice_of_runs, find_config, find_run, name_to_type

RUNS = Path("checkpoints")


def make_run_of(name, *, runs=RUNS, age=0):
    (runs / name).mkdir(parents=True)
    path = make_model(runs / name / "model.safetensors")
    os.utime(path, (1e9 - age, 1e9 - age))
    return runs / name


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARRNN_RUNS", raising=False)


def test_a_name_is_a_run_where_runs_are_kept(monkeypatch):
    run = make_run_of("play")
    assert find_run("play") == find_run(Path("play")) == run
    elsewhere = make_run_of("play", runs=Path("elsewhere"))
    assert find_run("play", Path("elsewhere")) == elsewhere
    monkeypatch.setenv("CHARRNN_RUNS", "elsewhere")
    assert find_run("play") == elsewhere
    assert find_run("checkpoints/play") == run


def test_a_path_means_what_it_leads_to():
    run = make_run_of("play")
    for path in (run, run / "model.safetensors", run.absolute(), Path(), Path("..")):
        assert find_run(str(path)) == find_run(path) == path
    assert find_run("./checkpoints/play") == run


@pytest.mark.parametrize("kind", ["run", "model", "directory", "text", "nothing"])
def test_a_name_that_is_also_a_path_means_a_model_there_or_else_the_run(kind):
    run, other = make_run_of("play"), Path("play")
    if kind == "run":
        make_run_of("play", runs=Path())
    elif kind == "model":
        make_model(other)
    elif kind == "directory":
        other.mkdir()
    elif kind == "text":
        other.write_text("to be, or not to be\n")
    assert find_run("play") == (other if kind in ("run", "model") else run)
    assert name_to_type(run) == ("checkpoints/play" if kind in ("run", "model") else "play")


def test_what_is_no_run_and_no_model_is_still_a_path():
    Path("odd.txt").write_text("odd")
    assert find_run("odd.txt") == Path("odd.txt")  # who reads it says what is wrong with it
    Path("dangling").symlink_to("nowhere")
    assert find_run("dangling") == Path("dangling")


def test_a_misspelt_name_is_told_with_the_runs_there_are():
    for age, name in enumerate(("hamlet", "shakespeare")):
        make_run_of(name, age=age)
    said = "the runs in checkpoints are hamlet, shakespeare; did you mean shakespeare[?]$"
    for wrong in ("shakespear", "Shakespeare", "checkpoints/shakespear", Path("shakspeare")):
        with pytest.raises(InputError, match=f"there is no run '{wrong}', and no such file; {said}"):
            find_run(wrong)
    with pytest.raises(InputError, match=r"are hamlet, shakespeare$"):
        find_run("zzz")
    make_run_of("macbeth", runs=Path("elsewhere"))
    for wrong, runs in (("macbth", Path("elsewhere")), ("elsewhere/macbth", None)):
        with pytest.raises(InputError, match=r"the run in elsewhere is macbeth; did you mean macbeth\?"):
            find_run(wrong, runs)


def test_the_file_of_a_run_that_is_missing_is_a_path():
    assert find_run("checkpoints/play/metrics.jsonl") == RUNS / "play" / "metrics.jsonl"


def test_an_empty_name_is_refused_also_from_python():
    make_run_of("play")
    for ask in (find_run, find_config, charrnn.load):
        with pytest.raises(SettingsError, match="'' names no run; the run in checkpoints is play"):
            ask("")


def test_without_runs_the_way_to_one_is_said():
    assert choice_of_runs() == "checkpoints holds no runs yet: make one with charrnn train TEXT"
    with pytest.raises(InputError, match="make one with charrnn train TEXT"):
        find_run("play")


def test_of_many_runs_the_latest_are_named():
    for age in range(13):
        make_run_of(f"run-{age}", age=age)
    listed = ", ".join(f"run-{age}" for age in range(10))
    assert choice_of_runs() == f"the runs in checkpoints are {listed} and 3 more, which charrnn runs lists"


@given(st.text(max_size=300))
def test_whatever_is_typed_finds_a_path_or_is_refused_in_words(tmp_path_factory, text):
    try:
        found = find_run(text, Path("nowhere"))
    except CharRNNError:
        return
    assert found == Path(text)


def test_settings_are_found_by_file_by_run_and_by_directory():
    run = make_run_of("play")
    assert find_config("play") == find_config("checkpoints/play") == run / "run.toml"
    Path("play").write_text("steps = 3\n")
    assert find_config("play") == Path("play")  # a file is what --config asks for
    with pytest.raises(InputError, match=r"did you mean play\?"):
        find_config("paly")


def test_a_model_is_loaded_by_the_name_of_its_run():
    make_run_of("play")
    assert charrnn.load("play").settings == charrnn.load("checkpoints/play").settings
    with pytest.raises(InputError, match="did you mean play"):
        charrnn.load("plai")
