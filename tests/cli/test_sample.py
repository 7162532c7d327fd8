import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import ENVIRONMENT, invoke, libraries_of, run, start
from terminal import shown_on_a_terminal

import charrnn
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile, write_model
from charrnn.text.vocab import Vocab


def written(*arguments, **options):
    code, out, err = invoke("sample", *arguments, **options)
    assert (code, err) == (0, "")
    return out


def model_file(path, vocab, *, output=None, seed=0):
    settings = ModelSettings(vocab_size=vocab.size, cell="gru", hidden_size=6)
    random = np.random.default_rng(seed)
    weights = {n: random.standard_normal(s).astype(np.float32) for n, s in settings.parameter_shapes().items()}
    if output is not None:
        weights["output.bias"] = output.astype(np.float32)
    write_model(path, ModelFile(settings=settings, vocab=vocab, weights=weights, facts={}))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model") / "model.safetensors", Vocab.of_text("\n abcdefgh."))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A model that writes little but escape sequences."""
    vocab = Vocab.of_text("\n2J[a\x1b\x9b")
    output = np.where([symbol in "\x1b\x9b" for symbol in vocab.symbols], 20.0, 0.0)
    return model_file(tmp_path_factory.mktemp("hostile") / "model.safetensors", vocab, output=output)


def test_the_prompt_is_printed_and_then_what_follows_it_and_nothing_else(model):
    text = written(model, "--prompt", "abc", "--length", 50, "--seed", 1)
    assert text.startswith("abc")
    assert len(text) == 53


def test_the_command_writes_what_the_python_interface_gives(model):
    text = written(model, "--prompt", "abc", "--length", 300, "--seed", 1, "--temperature", 0.7, "--top-k", 4)
    assert text == "abc" + charrnn.load(model).sample("abc", length=300, seed=1, temperature=0.7, top_k=4)[0]


def test_the_same_seed_gives_the_same_text_and_none_a_new_one(model):
    assert written(model, "--length", 60, "--seed", 9) == written(model, "--length", 60, "--seed", 9)
    assert written(model, "--length", 60) != written(model, "--length", 60)


def test_several_samples_come_each_under_a_line(model):
    one = written(model, "--length", 30, "--seed", 4, "--prompt", "ab")
    three = written(model, "--length", 30, "--seed", 4, "--prompt", "ab", "--num-samples", 3)
    assert three.startswith(f"--- sample 1 of 3 ---\n{one}")
    assert [f"--- sample {i} of 3 ---\nab" in three for i in (1, 2, 3)] == [True] * 3
    assert three.endswith("\n")


def test_json_keeps_prompt_and_continuations_apart(model):
    options = ("--length", 30, "--seed", 4, "--prompt", "ab", "--stop", "c")
    told = json.loads(written(model, *options, "--num-samples", 2, "--json"))
    assert told["prompt"] == "ab"
    assert (told["seed"], told["length"], told["stop"], told["temperature"]) == (4, 30, "c", 1.0)
    assert "ab" + told["samples"][0]["text"] == written(model, *options)
    for sample in told["samples"]:
        assert sample["ended"] == ("stop" if sample["text"].endswith("c") else "length")


def test_the_prompt_can_come_from_standard_input(model):
    assert written(model, "--prompt", "-", "--length", 5, stdin=b"abc\n").startswith("abc\n")
    code, _, err = invoke("sample", model, "--prompt", "-", stdin=b"ab\xff")
    assert code == 3
    assert "at byte 2 stands b'\\xff'" in err


def test_the_prompt_may_stand_behind_the_model(model):
    options = ("--length", 50, "--seed", 1)
    assert written(model, "abc", *options) == written(model, "--prompt", "abc", *options)
    assert written(model, *options, "abc") == written(model, "-p", "abc", "-n", 50, "--seed", 1)
    assert written(model, "-", *options, stdin=b"abc") == written(model, "abc", *options)
    assert written(model, "", *options, stdin=b"abc") == written(model, *options)


@pytest.mark.parametrize("prompt", ["abc", "", "-"])
def test_a_prompt_given_twice_is_refused(model, prompt):
    code, out, err = invoke("sample", model, "abc", "--prompt", prompt)
    assert (code, out) == (2, "")
    assert "as PROMPT and with --prompt" in err


@pytest.mark.parametrize("option", ["--stop", "--prompt"])
def test_an_option_that_has_one_value_is_refused_a_second_one(model, option):
    code, out, err = invoke("sample", model, option, "a", option, "b")
    assert (code, out) == (2, "")
    assert f"{option} is given 2 times" in err


def test_verbose_tells_the_seed_that_gives_the_text_again(model):
    code, text, err = invoke("sample", model, "abc", "-n", 60, "-v")
    assert code == 0
    seed = re.fullmatch(r"note: seed (\d+); 60 characters in [\d.]+ s, [\d,]+ characters/s\n", err)[1]
    assert written(model, "abc", "--length", 60, "--seed", seed) == text


def test_quiet_leaves_notes_out(model):
    options = ("sample", model, "--length", 5, "--seed", 1, "--stop", "Z")
    assert "ends no sample" in invoke(*options).err
    assert invoke(*options, "-q") == (0, invoke(*options).out, "")
    code, out, err = invoke(*options, "-q", "-v")
    assert (code, out) == (2, "")
    assert "--quiet says less, --verbose says more" in err


def test_a_terminal_in_colour_sets_the_prompt_apart(model, hostile):
    options = ("--length", 40, "--seed", 1, "--num-samples", 2)
    shown = shown_on_a_terminal("sample", model, "abc", *options, colour=True)
    assert shown.count("\x1b[1mabc\x1b[0m") == 2
    assert "\x1b[2m--- sample 1 of 2 ---" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert plain == shown_on_a_terminal("sample", model, "abc", *options)
    inert = shown_on_a_terminal("sample", hostile, "\x1b[2J", "--length", 5, "--seed", 1, colour=True)
    assert inert.startswith("\x1b[1m\\x1b[2J\x1b[0m")


def test_unknown_characters_of_a_prompt_are_named_and_nothing_is_written(model):
    code, out, err = invoke("sample", model, "--prompt", "aXb\x1bY")
    assert (code, out) == (3, "")
    assert all(name in err for name in ("U+0058", "U+001B", "U+0059"))
    assert "\x1b" not in err


def test_a_prompt_of_bytes_that_are_no_text_is_refused(model):
    code, _, err = run("sample", model, "--prompt", "a\udcff", fresh=True)  # the byte FF, as Python names it
    assert code == 2
    assert "not valid UTF-8" in err


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--length", "-1", "from 0 to"),
        ("--temperature", "-0.5", "from 0 to 100"),
        ("--temperature", "nan", "from 0 to 100"),
        ("--top-k", "-1", "from 0 to 1,114,112"),
        ("--top-k", "1.5", "whole number"),
        ("--top-p", "0", "above 0"),
        ("--top-p", "1.1", "above 0 and at most 1"),
        ("--min-p", "2", "from 0 to 1"),
        ("--seed", "-1", "from 0 to"),
        ("--num-samples", "0", "from 1 to"),
        ("--threads", "0", "from 1 to 1,024"),
        ("--stop", "", "the --stop text is empty"),
        ("--max-copy", "0", "from 1 to"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(model, option, value, told):
    code, out, err = invoke("sample", model, option, value)
    assert (code, out) == (2, "")
    assert told in err


def test_a_missing_model_is_an_input_error(tmp_path):
    code, _, err = invoke("sample", tmp_path / "none.safetensors")
    assert code == 3
    assert "none.safetensors" in err


def test_a_reader_that_goes_away_ends_it_quietly(model):
    with start("sample", model, "--length", 1_000_000_000, fresh=True) as piped:
        assert len(piped.stdout.read(10)) == 10
        piped.stdout.close()
        assert piped.stderr.read() == b""
        assert piped.wait(timeout=60) == 141


def test_a_full_disk_is_an_output_error(model):
    with Path("/dev/full").open("wb") as full:
        ended = run("sample", model, stdout=full, fresh=True)
    assert ended.code == 4
    assert "No space left on device" in ended.err
    assert "Traceback" not in ended.err


def test_control_characters_are_inert_on_a_terminal_and_exact_in_a_pipe(hostile):
    options = ("sample", hostile, "--length", 200, "--seed", 1)
    exact = run(*options, fresh=True).out
    assert "\x1b" in exact
    assert "\x9b" in exact
    shown = shown_on_a_terminal(*options)
    assert shown.rstrip("\n") == exact.replace("\x1b", "\\x1b").replace("\x9b", "\\x9b").rstrip("\n")
    assert shown_on_a_terminal(*options, "--raw").rstrip("\n") == exact.rstrip("\n")
    told = shown_on_a_terminal(*options, "--json")
    assert "\x1b" not in told
    assert json.loads(told)["samples"][0]["text"] == exact


def test_sampling_loads_neither_torch_nor_rich(model):
    assert libraries_of("sample", model, "--length", 5) == {"numpy"}


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, charrnn; print({'torch', 'numpy', 'typer', 'rich'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, env=ENVIRONMENT, check=False)
    assert (ended.stdout, ended.stderr) == (b"set()\n", b"")


LEARNED = "pack my box with five dozen liquor jugs;\n" * 20


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run that knows its text by heart."""
    here = tmp_path_factory.mktemp("learned")
    (here / "text.txt").write_text(LEARNED)
    shape = ("--hidden-size", 24, "--batch-size", 8, "--bptt", 16, "--dropout", 0, "--weight-dropout", 0)
    recipe = ("--steps", 150, "--learning-rate", 0.02, "--eval-every", 150, "--threads", 1, "--quiet")
    ended = invoke("train", "text.txt", *shape, *recipe, cwd=here)
    assert ended.code == 0, ended.err
    return here / "checkpoints" / "text"


def longest_copy(text):
    return max(
        end - begin for begin in range(len(text)) for end in range(begin, len(text) + 1) if text[begin:end] in LEARNED
    )


def test_no_more_is_copied_than_allowed(learned):
    options = ("--length", 120, "--seed", 2, "--temperature", 0.5)
    assert longest_copy(written(learned, *options)) > 60
    for most in (5, 12):
        text = written(learned, *options, "--max-copy", most)
        assert longest_copy(text) == most
        assert written(learned, *options, "--max-copy", most) == text
        told = json.loads(written(learned, *options, "--max-copy", most, "--json"))
        assert (told["max_copy"], told["samples"][0]["text"]) == (most, text)


def test_what_was_copied_is_told_after_the_text_and_in_json(learned):
    options = ("--length", 100, "--seed", 2, "--temperature", 0.5, "--num-samples", 2, "--copying")
    code, out, err = invoke("sample", learned, *options)
    assert code == 0
    told = json.loads(written(learned, *options, "--json"))
    texts = [sample["text"] for sample in told["samples"]]
    assert out == written(learned, *options[:-1])
    assert err.startswith("copying: ")
    assert f" of {told['copying']['num_words']} words" in err
    longest = told["copying"]["longest"]
    assert longest["num_chars"] == max(map(longest_copy, texts))
    assert longest["begins"] in texts[longest["sample"]]
    assert f"{longest['num_chars']} characters in sample {longest['sample'] + 1}, {longest['begins']!r}" in err


def test_where_every_symbol_is_a_copy_it_is_said_once(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("aababbbaa" * 9)
    model = model_file(tmp_path / "model.safetensors", Vocab.of_text("ab"))
    options = ("--max-copy", 1, "--training-text", text, "--length", 50)
    code, out, err = invoke("sample", model, *options)
    assert (code, len(out)) == (0, 50)
    assert err.count("as without it") == 1
    assert "not known to be the text" in err
    assert invoke("sample", model, *options).err == err


def test_a_training_text_that_is_gone_is_asked_for(model):
    for option in (("--max-copy", 5), ("--copying",)):
        code, out, err = invoke("sample", model, *option)
        assert (code, out) == (3, "")
        assert "--training-text" in err


def test_a_training_text_without_use_is_refused(model):
    code, _, err = invoke("sample", model, "--training-text", model)
    assert code == 2
    assert "--max-copy" in err


def test_limits_load_neither_torch_nor_rich(learned):
    assert libraries_of("sample", learned, "--length", 5, "--max-copy", 3, "--copying", "--json") == {"numpy"}
