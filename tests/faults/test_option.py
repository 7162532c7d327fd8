"""Options given values of every kind: taken, or refused with the option, the value and the range; never a traceback."""

import re
import tempfile
from pathlib import Path

import pytest
from command import invoke
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

VALUES = [
    "0",
    "-1",
    "1",
    "2",
    "0.5",
    "1e-9",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 30,
    "x",
    "",
    "1,5",
    "0x10",
    "\x1b[2J",
]
TRAIN = {
    "--minutes", "--epochs", "--steps", "--val-fraction", "--cell", "--num-layers", "--input", "--embedding-size",
    "--dropout", "--weight-dropout", "--reset", "--batch-size", "--bptt", "--learning-rate", "--final-learning-rate",
    "--warmup-steps", "--weight-decay", "--grad-clip", "--averaging", "--restart", "--patience", "--eval-every",
    "--seed", "--level", "--encoding", "--device", "--precision", "--threads", "--hidden-size", "--name",
}  # fmt: skip
SAMPLE = {
    "--length", "--temperature", "--top-k", "--top-p", "--min-p", "--num-samples", "--seed", "--prompt", "--stop",
    "--max-copy", "--training-text",
}  # fmt: skip
PERPLEXITY = {"--windowed", "--streams", "--threads", "--encoding", "--unknown", "--fit-temperature", "--training-text"}
PLENTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(code, out, err, options):
    assert code in (0, 2, 3, 4, 5, 6), err
    assert "Traceback" not in err
    assert "unexpected" not in err
    assert "\x1b" not in err
    assert bool(out) == (code == 0) or code == 0
    if code == 2:
        # It names an option that was given, or what belongs together.
        named = [name for name in options if re.search(name.strip("-").replace("-", "[-_ ]"), err)]
        assert named, (options, err)


def chosen(names):
    return st.dictionaries(st.sampled_from(sorted(names)), st.sampled_from(VALUES), min_size=1, max_size=3)


@PLENTY
@given(options=chosen(TRAIN))
def test_training_takes_or_refuses_any_values(options):
    given_options = {"--threads": "1", "--hidden-size": "4", **options}
    if not {"--minutes", "--epochs", "--steps"} & set(options):
        given_options["--steps"] = "2"
    # What takes long rather than fails is not tried.
    if options.get("--epochs") in VALUES[2:5] or options.get("--minutes") in ("1", "2", "0.5"):
        return
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text.txt")
        text.write_text("to be or not to be, that is the question\n" * 4)
        arguments = [part for option in given_options.items() for part in option]
        check(*invoke("train", text, "--quiet", "--out", Path(folder, "runs"), *arguments), options)


@PLENTY
@given(options=chosen(SAMPLE))
def test_sampling_takes_or_refuses_any_values(trained, options):
    arguments = [part for option in {"--length": "5", **options}.items() for part in option]
    check(*invoke("sample", trained, *arguments), options)


@PLENTY
@given(options=chosen(PERPLEXITY))
def test_scoring_takes_or_refuses_any_values(trained, options):
    arguments = [part for option in options.items() for part in option]
    check(*invoke("perplexity", trained, "-", *arguments, stdin=b"the lazy dog; the fox"), options)


@pytest.mark.parametrize("command", ["train", "sample", "perplexity", "corpus", "inspect", "verify"])
@pytest.mark.parametrize("option", ["--no-such-option", "--hiden-size"])
def test_an_unknown_option_is_named(command, option):
    code, out, err = invoke(command, "x", option, "3")
    assert (code, out) == (2, "")
    assert option in err


def test_an_unknown_command_is_named():
    code, out, err = invoke("trian", "x")
    assert (code, out) == (2, "")
    assert "trian" in err


def test_a_model_larger_than_this_machines_memory_is_refused_beforehand(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be " * 30)
    arguments = ["--hidden-size", "65536", "--num-layers", "64", "--steps", "2", "--out", tmp_path]
    code, _, err = invoke("train", text, *arguments, "--quiet")
    assert code == 6
    assert "memory" in err
    assert "--hidden-size" in err
