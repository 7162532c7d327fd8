"""Every pair of options of every command: both take effect, or the pair is refused by name."""

import itertools
import json
import re
import shutil
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import typer
from command import invoke

from charrnn.cli import train as train_module
from charrnn.cli.app import app
from charrnn.training import event
from charrnn.training import run as run_module
from charrnn.units import Score

# A value of each option that is not its default, so that an option which is ignored shows.
TRAIN = {
    "--resume": "{run}",
    "--init-from": "{run}",
    "--config": "{config}",
    "--reset": "before",
    "--val": "{val}",
    "--level": "byte",
    "--encoding": "latin-1",
    "--val-fraction": "0.2",
    "--minutes": "0.5",
    "--epochs": "2",
    "--steps": "2",
    "--batch-size": "2",
    "--bptt": "5",
    "--dropout": "0.25",
    "--weight-dropout": "0.125",
    "--learning-rate": "0.004",
    "--final-learning-rate": "0.5",
    "--warmup-steps": "7",
    "--weight-decay": "0.02",
    "--beta1": "0.8",
    "--beta2": "0.98",
    "--grad-clip": "0.75",
    "--averaging": "0.1",
    "--restart": "0.2",
    "--patience": "3",
    "--eval-every": "2",
    "--seed": "5",
    "--cell": "rnn",
    "--num-layers": "2",
    "--hidden-size": "6",
    "--input": "one-hot",
    "--embedding-size": "3",
    "--no-bias": None,
    "--device": "cpu",
    "--precision": "float32",
    "--threads": "1",
    "--name": "named",
    "--out": "{out}",
    "--quiet": None,
    "--verbose": None,
    "--json": None,
    "--samples": None,
    "--tensorboard": None,
}
SAMPLE = {
    "--temperature": "0.5",
    "--top-k": "2",
    "--top-p": "0.5",
    "--min-p": "0.5",
    "--length": "7",
    "--seed": "5",
    "--num-samples": "2",
    "--stop": "o",
    "--prompt": "the",
    "--max-copy": "4",
    "--copying": None,
    "--training-text": "{text}",
    "--with": "{run}",
    "--dynamic": None,
    "--interactive": None,
    "--raw": None,
    "--json": None,
    "--quiet": None,
    "--verbose": None,
    "--threads": "1",
}
PERPLEXITY = {
    "--windowed": "5",
    "--by-line": None,
    "--streams": "2",
    "--sequential": None,
    "--dynamic": None,
    "--with": "{run}",
    "--fit": "{text}",
    "--fit-temperature": "{text}",
    "--baselines": None,
    "--training-text": "{text}",
    "--unknown": "skip",
    "--encoding": "latin-1",
    "--text": "the dog",
    "--json": None,
    "--quiet": None,
    "--verbose": None,
    "--threads": "1",
}
EXPLAIN = {
    "--with": "{other}",
    "--length": "30",
    "--unit": "1.cell.0",
    "--reach": "2",
    "--encoding": "latin-1",
    "--text": "the dog",
    "--out": "{out}.html",
    "--quiet": None,
    "--threads": "1",
}
COUNT = {
    "--val": "{val}",
    "--level": "byte",
    "--encoding": "latin-1",
    "--val-fraction": "0.2",
    "--memory": "1",
    "--name": "named",
    "--out": "{out}",
    "--json": None,
    "--quiet": None,
}
MIX = {"--fit": "{text}", "--name": "named", "--out": "{out}", "--quiet": None}
CORPUS = {"--out": "{out}", "--force": None, "--timeout": "9", "--clean": None}
RUNS = {"--out": "{out}", "--json": None}
REPORT = {"--out": "{out}.html", "--figures": "{out}"}
INSPECT = {"--json": None, "--all": None}
VERIFY = {"--quiet": None}
EXPORT = {"--onnx": None, "--out": "{out}", "--hugging-face": "{out}-folder", "--force": None}
COMMANDS = {
    "train": TRAIN,
    "sample": SAMPLE,
    "perplexity": PERPLEXITY,
    "explain": EXPLAIN,
    "count": COUNT,
    "mix": MIX,
    "corpus": CORPUS,
    "runs": RUNS,
    "report": REPORT,
    "inspect": INSPECT,
    "verify": VERIFY,
    "export": EXPORT,
}


@dataclass(frozen=True)
class Places:
    run: Path
    config: Path
    val: Path
    text: Path
    out: Path
    other: Path | None = None


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A run and texts that options name."""
    here = tmp_path_factory.mktemp("pairs")
    text = here / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog; " * 60)
    (here / "val.txt").write_text("the lazy fox; " * 9)
    (here / "config.toml").write_text("learning_rate = 0.03\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        code, _, err = invoke("train", text, "--steps", "2", "--hidden-size", "4", "--threads", "1", "--out", "runs")
    assert code == 0, err
    run, other = (here / "runs" / name for name in ("text", "other"))
    shutil.copytree(run, other)
    return Places(run, here / "config.toml", here / "val.txt", text, here / "chosen", other)


@pytest.fixture
def untrained(monkeypatch):
    """Training itself is left out: pairs of options need not wait for it."""
    finished = event.Finished(1, "end", Score(2.0, 4.0, 2, 2, 2), 1, 0.1, 3)
    monkeypatch.setattr(run_module, "Run", lambda *_, **__: None)
    monkeypatch.setattr(train_module, "_follow", lambda *_, **__: finished)


def words(options, places):
    found = []
    for option, value in options:
        found += [option] if value is None else [option, value.format(**vars(places))]
    return found


def is_named(option, message):
    """Whether a message names an option, as the user writes it or by the setting's name."""
    name = option.removeprefix("--").removeprefix("no-")
    return re.search(rf"\b{name.replace('-', '[-_ ]')}\b", message) is not None


def effective(directory):
    """The settings with which a run was begun."""
    (config,) = directory.glob("*/run.toml")
    return tomllib.loads(config.read_text())


@pytest.mark.parametrize("first", TRAIN)
def test_each_pair_of_options_of_train_takes_effect_or_is_refused(first, places, untrained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = list(TRAIN)
    for second in options[options.index(first) + 1 :]:
        check_train_pair((first, second), places, tmp_path / second.strip("-"))


def check_train_pair(pair, places, directory):
    values = {option: TRAIN[option] for option in pair}
    here = Places(places.run, places.config, places.val, places.text, directory)
    if "--out" not in pair and "--resume" not in pair:
        values = {**values, "--out": "{out}"}
    texts = [] if "--resume" in pair else [places.text]
    code, out, err = invoke("train", *texts, *words(values.items(), here))
    if code == 2:
        assert any(is_named(option, err) for option in pair), (pair, err)
        return
    assert code == 0, (pair, err)
    if "--quiet" in pair:
        assert err == "", pair
    if "--json" in pair:
        json.loads(out)
    if "--resume" in pair:
        return
    found = effective(directory)
    if "--name" in pair:
        assert (directory / "named").is_dir()
    for option in pair:
        name = option.strip("-").removeprefix("no-").replace("-", "_")
        if option in ("--name", "--out", "--quiet", "--verbose", "--json", "--samples", "--tensorboard"):
            continue
        if option == "--config":
            assert found["learning_rate"] == (0.004 if "--learning-rate" in pair else 0.03), pair
        elif option == "--reset":
            assert found["cell"] == "gru-before", pair
        elif option == "--no-bias":
            assert found["bias"] is False, pair
        elif option in ("--val", "--init-from"):
            assert str(values[option].format(**vars(here))) in str(found[name]), pair
        else:
            assert str(found[name]) == str(type(found[name])(values[option])), pair


@pytest.mark.parametrize("command", [each for each in COMMANDS if each != "train"])
def test_each_pair_of_options_is_taken_or_refused_by_name(command, places, tmp_path, monkeypatch):
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    arguments = {
        "perplexity": [places.run, places.text],
        "explain": [places.run, places.text],
        "count": [places.text],
        "mix": [places.run, places.run],
        "corpus": [],
        "runs": [],
    }.get(command, [places.run])
    for pair in itertools.combinations(COMMANDS[command], 2):
        chosen = places
        if command in ("count", "mix", "export"):  # a chosen name is taken once
            chosen = replace(places, out=tmp_path / "".join(pair))
            monkeypatch.setenv("CHARRNN_RUNS", str(chosen.out))
        code, out, err = invoke(command, *arguments, *words(((o, COMMANDS[command][o]) for o in pair), chosen))
        if code == 2:
            assert any(is_named(option, err) for option in pair), (pair, err)
            continue
        assert code == 0, (pair, err)
        if "--json" in pair:
            json.loads(out)


def test_the_options_of_a_draw_hold_beside_each_other(places):
    for first, second in itertools.combinations(("--length", "--seed", "--num-samples", "--stop", "--prompt"), 2):
        code, out, err = invoke(
            "sample", places.run, "--json", *words(((o, SAMPLE[o]) for o in (first, second)), places)
        )
        found = json.loads(out)
        assert code == 0, err
        for option in (first, second):
            told = len(found["samples"]) if option == "--num-samples" else found[option.strip("-")]
            assert str(told) == SAMPLE[option]


def test_every_option_of_every_command_is_among_the_pairs():
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        known = set(COMMANDS.get(name, ()))
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert known & {*parameter.opts, *parameter.secondary_opts}, (name, parameter.opts)
