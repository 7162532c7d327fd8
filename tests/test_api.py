"""charrnn from Python: the same runs as the command's, every setting by name, events, stops and runs that go on."""

import inspect
import json
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from command import invoke, run
from tiny_run import NAMES, files_of

import charrnn
from charrnn.cli.train import GROUPS
from charrnn.errors import InputError, LockedError, SettingsError
from charrnn.storage.metrics import read_metrics
from charrnn.storage.run_lock import RunLock

SIZES = {"hidden_size": 6, "batch_size": 2, "bptt": 5, "threads": 1, "precision": "float32"}
KNOWN = {name: each for group in GROUPS for name, each in group.settings().items() if not each.is_internal}
OF_THE_COMMAND = {"quiet", "json", "verbose"}  # what it prints


@pytest.fixture
def here(text, monkeypatch):
    """The directory that holds text.txt."""
    monkeypatch.chdir(text.parent)
    monkeypatch.delenv("CHARRNN_RUNS", raising=False)
    return text.parent


@pytest.fixture
def train(here):
    """``charrnn.train`` of text.txt, tiny and silent."""

    def train(*texts, **settings):
        sizes = {} if "resume" in settings else {"steps": 8, **SIZES}
        return charrnn.train(*(texts or ("text.txt",)), **{"progress": False, **sizes, **settings})

    return train


def options(settings):
    return [word for name, value in settings.items() for word in (KNOWN[name].option, str(value))]


def of_kind(kind, events):
    return [each for each in events if isinstance(each, kind)]


class InterruptAt:
    """Presses Ctrl-C when a run has made some steps; notes all events."""

    def __init__(self, step, *, times=1):
        self.step, self.times, self.events = step, times, []

    def __call__(self, happened):
        self.events.append(happened)
        if isinstance(happened, charrnn.event.Evaluated) and happened.step == self.step:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


# --- the command's own way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"steps": 8}, {"epochs": 0.2, "cell": "gru", "dropout": 0.2, "seed": 3}], ids=str)
def test_a_program_and_the_command_make_the_same_run(here, settings):
    charrnn.train("text.txt", **SIZES, **settings, name="program", progress=False)
    assert invoke("train", "text.txt", *options({**SIZES, **settings}), "--name", "command").code == 0
    for name in (*NAMES, "run.toml"):
        assert Path("checkpoints/program", name).read_bytes() == Path("checkpoints/command", name).read_bytes()


def test_every_setting_of_the_command_is_taken_by_name():
    parameters = inspect.signature(charrnn.train).parameters
    own = {"config", "progress", "on_event"}
    assert set(parameters) - own == set(KNOWN) - OF_THE_COMMAND
    shown = inspect.getdoc(charrnn.train)
    for name in set(KNOWN) - OF_THE_COMMAND - {"texts"}:
        assert f"    {name}: " in shown


@pytest.mark.parametrize("name", sorted(set(KNOWN) - OF_THE_COMMAND))
def test_each_default_shown_is_the_one_in_effect(name):
    shown, known = inspect.signature(charrnn.train).parameters[name], KNOWN[name]
    if name != "texts":
        assert shown.default in (None, known.default)
        assert (shown.default is None) == (known.default is None or known.is_many or known.shown_default is not None)


def test_the_model_that_a_run_has_kept_comes_back(train):
    model = train()
    assert isinstance(model, charrnn.LanguageModel)
    assert model.path == Path("checkpoints/text/model.safetensors")
    assert (model.settings.hidden_size, model.settings.cell, model.facts["step"]) == (6, "lstm", 8)
    again = charrnn.load("checkpoints/text", num_threads=1)
    assert again.score("to be").nats == model.score("to be").nats


def test_a_file_of_settings_repeats_a_run_and_what_is_given_wins(train, here):
    first = train(cell="gru", seed=4)
    config = first.path.with_name("run.toml")
    again = charrnn.train(config=str(config), name="again", progress=False)
    assert again.path.read_bytes() == first.path.read_bytes()
    other = charrnn.train(config="again", epochs=0.1, progress=False)
    assert (other.facts["training"]["epochs"], other.facts["training"]["steps"]) == (0.1, None)


# --- values -----------------------------------------------------------------------------------------------------------


def test_paths_lists_and_numbers_of_numpy_are_what_they_look_like(train, here):
    (here / "more.txt").write_text("that is the question\n" * 20)
    model = train(
        here / "text.txt",
        "more.txt",
        seed=np.int64(2),
        dropout=np.float32(0.25),
        out=str(here / "o"),
        val=here / "more.txt",
    )
    assert model.path.parent == here / "o" / "text"
    assert model.facts["corpus"]["names"] == ["text.txt", "more.txt"]
    assert (model.facts["training"]["seed"], model.facts["training"]["dropout"]) == (2, 0.25)
    assert model.facts["corpus"]["num_held_out"] == len("that is the question\n" * 20)
    sizes = {**SIZES, "steps": 8, "dropout": 0.25, "seed": 2}
    again = charrnn.train(texts=["text.txt", "more.txt"], val=["more.txt"], name="again", progress=False, **sizes)
    assert again.score("to be").nats == model.score("to be").nats


def test_none_leaves_a_setting_out(train):
    model = train(minutes=None, cell=None, name=None, val=None)
    assert (model.path.parent.name, model.settings.cell) == ("text", "lstm")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hiden_size": 3}, "there is no setting 'hiden_size'; did you mean hidden_size?"),
        ({"progres": False}, "there is no setting 'progres'; did you mean progress?"),
        ({"quiet": True}, "there is no setting 'quiet'; help(charrnn.train) lists them"),
        ({"vocab_size": 3}, "there is no setting 'vocab_size'"),
        ({"hidden_size": 0}, "hidden_size is 0; it must be a whole number from 1 to 65,536"),
        ({"cell": "lstn"}, "cell is 'lstn'; it must be one of rnn, lstm, gru, gru-before; did you mean lstm?"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'; it must be a number"),
        ({"val": 3}, "val is 3; it must be a list"),
        ({"minutes": 1}, "exactly one of `minutes`, `epochs` and `steps`; found `minutes` and `steps`"),
        (
            {"val": "text.txt", "val_fraction": 0.1},
            "`val` already says what is held out, so `val_fraction` has no effect",
        ),
        ({"texts": "text.txt"}, "`texts` are given twice"),
        ({"name": "../up"}, "`name` is '../up'"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_as_python_names_it(train, here, settings, said):
    with pytest.raises(SettingsError) as caught:
        train("text.txt", **settings)
    assert said in str(caught.value)
    assert "--" not in str(caught.value)
    assert not (here / "checkpoints").exists()


def test_a_resumed_run_refuses_settings_by_their_names(train):
    model = train()
    with pytest.raises(SettingsError) as caught:
        charrnn.train(resume=model.path.parent, hidden_size=7, init_from="checkpoints/text")
    assert "`resume` keeps the run's settings: leave out `init_from`, `hidden_size`, or" in str(caught.value)


def test_a_text_in_place_of_its_path_is_told(here):
    with pytest.raises(SettingsError, match="by the path of its file"):
        charrnn.train("to be or not to be\nthat is the question\n" * 9)
    with pytest.raises(SettingsError, match="name at least one TEXT"):
        charrnn.train()
    with pytest.raises(InputError, match=r"'missing\.txt'"):
        charrnn.train("missing.txt")


def test_a_run_in_use_is_not_touched(train):
    directory = train().path.parent
    before = files_of(directory)
    with RunLock(directory), pytest.raises(LockedError):
        charrnn.train(resume=directory)
    assert files_of(directory) == before


# --- events and progress ----------------------------------------------------------------------------------------------


def test_events_come_as_they_happen_and_agree_with_the_history(train):
    events = []
    model = train(eval_every=2, on_event=events.append)
    assert isinstance(events[0], charrnn.event.Planned)
    assert isinstance(events[-1], charrnn.event.Finished)
    evaluated = of_kind(charrnn.event.Evaluated, events)
    history = [line for line in read_metrics(model.path.with_name("metrics.jsonl")) if line["event"] == "evaluated"]
    assert [each.step for each in evaluated] == [line["step"] for line in history] == [2, 4, 6, 8]
    assert [each.score.nats_per_char for each in evaluated] == [line["nats_per_char"] for line in history]
    assert events[-1].best.nats_per_char == min(each.score.nats_per_char for each in evaluated)
    assert "weights" not in repr(evaluated[0])  # an event can be printed
    best = min(evaluated, key=lambda each: each.score.nats_per_char)
    then = charrnn.LanguageModel(best.model, num_threads=1)
    assert then.score("to be").nats == model.score("to be").nats


def test_an_error_of_ones_own_ends_a_run_that_can_go_on(train):
    def fail(happened):
        if isinstance(happened, charrnn.event.Evaluated) and happened.step == 4:
            raise ZeroDivisionError

    whole = train(name="whole", eval_every=2)
    with pytest.raises(ZeroDivisionError):
        train(name="broken", eval_every=2, on_event=fail)
    charrnn.train(resume="checkpoints/broken", progress=False)
    assert files_of(Path("checkpoints/broken")) == files_of(whole.path.parent)


def test_progress_is_told_on_standard_error_or_not_at_all(train, capsys):
    train(progress=True, eval_every=4)
    told = capsys.readouterr()
    assert told.out == ""
    for words in (
        "text:  text.txt: 1,476 characters",
        "step 4/8  train ",
        "best:  ",
        " nats/char of all 164 held-out characters, at step 8",
    ):
        assert words in told.err
    train(progress=False)
    assert capsys.readouterr() == ("", "")


# --- stopping and going on --------------------------------------------------------------------------------------------


def test_ctrl_c_saves_the_run_and_gives_the_model_so_far(train, capsys):
    handler = signal.getsignal(signal.SIGINT)
    whole = train(name="whole", eval_every=2)
    press = InterruptAt(4)
    model = train(name="stopped", eval_every=2, on_event=press, progress=True)
    assert signal.getsignal(signal.SIGINT) is handler
    assert press.events[-1].reason == "stopped"
    assert model.facts["step"] == 4
    assert "charrnn.train(resume='stopped') goes on" in capsys.readouterr().err
    again = charrnn.train(resume="stopped", progress=False)
    assert again.facts["step"] == 8
    assert files_of(Path("checkpoints/stopped")) == files_of(whole.path.parent)


def test_a_second_ctrl_c_interrupts_at_once(train):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(eval_every=2, on_event=InterruptAt(4, times=2))
    assert signal.getsignal(signal.SIGINT) is handler
    assert charrnn.train(resume="checkpoints/text", progress=False).facts["step"] == 8


def test_a_run_in_a_thread_ends_as_one_in_the_main_thread(train):
    found = []
    thread = threading.Thread(target=lambda: found.append(train(name="aside")))
    thread.start()
    thread.join()
    assert found[0].score("to be").nats == train(name="main").score("to be").nats


# --- what the package holds -------------------------------------------------------------------------------------------


def test_runs_are_listed_with_what_is_known_of_them(train, here):
    assert charrnn.runs() == []
    train(name="one")
    train(name="two", on_event=InterruptAt(4), eval_every=4)
    train(name="three", out="elsewhere")
    assert [(each.name, each.state) for each in charrnn.runs()] == [("one", "finished"), ("two", "stopped")]
    assert [each.name for each in charrnn.runs("elsewhere")] == ["three"]
    [one, _] = charrnn.runs()
    nats = one.score.nats_per_char
    assert repr(one) == f"RunSummary('one', finished; LSTM 1x6, one-hot input; {nats:.4f} nats/char held out; step 8)"


def test_every_name_of_the_package_is_there():
    assert {name for name in charrnn.__all__ if getattr(charrnn, name) is None} == set()
    assert set(charrnn.__all__) <= set(dir(charrnn))
    assert charrnn.Score.__module__ == "charrnn.units"


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import json, sys, charrnn; before = sorted(sys.modules); charrnn.train; "
        "print(json.dumps([before, sorted(sys.modules)]))"
    )
    ended = run(fresh=True, program=("-c", program))
    assert ended.code == 0, ended.err
    package, function = map(set, json.loads(ended.out))
    assert not {"charrnn.api", "dataclasses"} & package
    assert "charrnn.api" in function
    assert not {"torch", "numpy", "rich", "tqdm", "typer"} & function


# --- counts and mixtures ----------------------------------------------------------------------------------------------


def test_a_program_and_the_command_count_the_same(here):
    counts = charrnn.count("text.txt", memory=1, val_fraction=0.2, name="program")
    assert invoke("count", "text.txt", "--memory", "1", "--val-fraction", "0.2", "--name", "command").code == 0
    assert counts.path == Path("checkpoints/program/model.safetensors")
    told = [charrnn.load(name).facts for name in ("program", "command")]
    assert [{**facts, "seconds": 0} for facts in told] == [{**told[0], "seconds": 0}] * 2
    assert counts.score("to be or not to be").nats == charrnn.load("command").score("to be or not to be").nats


@pytest.mark.parametrize("settings", [{"memroy": 1}, {"memory": 0}, {"steps": 3}], ids=str)
def test_counting_refuses_what_it_does_not_know(here, settings):
    with pytest.raises(SettingsError, match=next(iter(settings))):
        charrnn.count("text.txt", **settings)


def test_a_program_mixes_models_by_name(here, train):
    train(name="network")
    charrnn.count("text.txt", memory=1)
    both = charrnn.mix("network", "text-counts", name="both")
    assert both.settings.title.startswith("mixture of LSTM")
    assert both.path.parent.name == "both"
    with pytest.raises(SettingsError, match="two or more"):
        charrnn.mix("network")


def test_a_sample_from_python_can_be_kept_from_copying(here):
    counts = charrnn.count("text.txt", memory=1)
    learned = Path("text.txt").read_text()
    free, limited = (counts.sample(length=60, seed=3, max_copy=most)[0] for most in (None, 8))
    assert free[:30] in learned
    assert not any(limited[at : at + 9] in learned for at in range(52))
    with pytest.raises(SettingsError, match="max_copy"):
        counts.sample(max_copy=0)
