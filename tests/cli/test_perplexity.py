import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
from command import invoke, libraries_of, run
from terminal import shown_on_a_terminal

import charrnn
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile, write_model
from charrnn.text.vocab import Vocab

VOCAB = Vocab.of_text("\n abcdefghé.")
TEXT = "abc feed.\nbad é cafe\n\nface a bag.\n" * 5


def written(*arguments, **options):
    code, out, err = invoke("perplexity", *arguments, **options)
    assert (code, err) == (0, "")
    return out


def told(*arguments, **options):
    return json.loads(written(*arguments, "--json", **options))


def model_file(path, vocab):
    settings = ModelSettings(vocab_size=vocab.size, cell="lstm", hidden_size=6)
    random = np.random.default_rng(0)
    weights = {n: random.standard_normal(s).astype(np.float32) for n, s in settings.parameter_shapes().items()}
    write_model(path, ModelFile(settings=settings, vocab=vocab, weights=weights, facts={}))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model") / "model.safetensors", VOCAB)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def agrees(facts, score):
    assert facts["num_chars"] == score.num_chars
    assert facts["num_bytes"] == score.num_bytes
    assert facts["num_unknown"] == score.num_unknown
    for key in ("nats_per_char", "bits_per_char", "bits_per_byte", "perplexity", "standard_error"):
        value = getattr(score, key)
        # The same float32 engine on both sides; only products of other heights may round otherwise.
        assert facts[key] == (None if math.isnan(value) else pytest.approx(value, rel=1e-6))


def test_json_gives_each_file_and_the_total(model, text, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("a bad bag\n")
    loaded = charrnn.load(model)
    first, second = loaded.score(TEXT), loaded.score("a bad bag\n")
    result = told(model, text, other)
    assert [file["name"] for file in result["files"]] == [str(text), str(other)]
    agrees(result["files"][0], first)
    agrees(result["files"][1], second)
    agrees(result["total"], first + second)
    assert result["total"]["num_chars"] == len(TEXT) - 1 + len("a bad bag\n") - 1
    assert result["protocol"] == "exact"


def test_the_table_holds_the_numbers_of_json_on_a_terminal_too(model, text):
    total = told(model, text)["total"]
    numbers = [f"{total[key]:.4f}" for key in ("nats_per_char", "bits_per_char", "bits_per_byte", "perplexity")]
    numbers.append(str(total["num_chars"]))
    plain = run("perplexity", model, text, fresh=True).out
    assert all(number in plain.split() for number in numbers)
    assert "\x1b" not in plain
    shown = shown_on_a_terminal("perplexity", model, text, text)
    assert all(number in shown.split() for number in numbers[:-1])
    assert "\x1b" not in shown


def test_standard_input_is_a_text(model):
    result = json.loads(run("perplexity", model, "-", "--json", stdin=TEXT.encode(), fresh=True).out)
    agrees(result["total"], charrnn.load(model).score(TEXT))


def test_windowed_begins_anew_and_says_so(model, text):
    result = told(model, text, "--windowed", 16)
    loaded = charrnn.load(model)
    nats = math.fsum(loaded.score(TEXT[begin : begin + 17]).nats for begin in range(0, len(TEXT) - 1, 16))
    assert result["protocol"] == "windowed-16"
    assert result["total"]["nats"] == pytest.approx(nats, rel=1e-6)  # as above
    assert result["total"]["num_predictions"] == len(TEXT) - 1


def test_streams_predict_as_many_characters_and_say_so(model, text):
    result = told(model, text, "--streams", 3)
    assert result["protocol"] == "streams-3"
    assert result["total"]["num_predictions"] == len(TEXT) - 1
    # The warm-up reaches the start of so short a text: nothing is lost.
    assert result["total"]["nats"] == pytest.approx(charrnn.load(model).score(TEXT).nats, rel=1e-6)


def test_a_long_text_scores_the_same_read_as_one_stream(model, tmp_path):
    path = tmp_path / "long.txt"
    path.write_text(TEXT * (5000 // len(TEXT)))
    found, plain = told(model, path), told(model, path, "--sequential")
    assert (found["protocol"], plain["protocol"]) == ("exact", "sequential")
    assert found["total"]["num_predictions"] == plain["total"]["num_predictions"]
    assert found["total"]["nats"] == pytest.approx(plain["total"]["nats"], rel=1e-6)  # the accuracy promised


def test_by_line_scores_and_ranks_each_line(model, tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("a bad bag\n\nface\n", newline="")
    result = told(model, path, "--by-line")
    lines = result["files"][0]["lines"]
    assert [line["text"] for line in lines] == ["a bad bag", "", "face"]
    for line, score in zip(lines, charrnn.load(model).score_lines(["a bad bag\n", "\n", "face\n"]), strict=True):
        agrees(line, score)
    assert [line["num_chars"] for line in lines] == [10, 1, 5]
    ranked = sorted(lines, key=lambda line: line["rank"])
    assert [line["nats"] for line in ranked] == sorted(line["nats"] for line in lines)
    shown = written(model, path, "--by-line").splitlines()
    assert shown[0].split() == ["line", "rank", "num_chars", "nats", "nats_per_char", "text"]
    assert shown[1].endswith("a bad bag")


def test_lines_of_a_model_of_bytes_may_hold_any_bytes(tmp_path):
    model = model_file(tmp_path / "model.safetensors", Vocab.bytes())
    path = tmp_path / "lines.txt"
    path.write_bytes(b"a\xff\n\xc3\xa9")
    lines = told(model, path, "--by-line")["files"][0]["lines"]
    assert [(line["text"], line["num_bytes"], line["num_chars"]) for line in lines] == [("a\ufffd", 3, 3), ("é", 2, 1)]


def test_the_first_unknown_character_is_named_with_its_place_and_a_remedy(model, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abc\nabXc\x1bY\n")
    for option in ((), ("--by-line",)):
        code, out, err = invoke("perplexity", model, path, *option)
        assert (code, out) == (3, "")
        assert "U+0058" in err
        assert "line 2, column 3" in err
        assert "--unknown skip" in err
        assert "\x1b" not in err


def test_skipped_characters_are_counted_and_passed_over(model, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abX cafYe\nZbad\n")
    result = told(model, path, "--unknown", "skip")
    assert result["total"]["num_unknown"] == 3
    plain = charrnn.load(model).score("ab cafe\nbad\n")
    assert result["total"]["nats"] == pytest.approx(plain.nats, rel=1e-6)
    assert result["total"]["num_chars"] == plain.num_chars
    lines = told(model, path, "--unknown", "skip", "--by-line")["files"][0]["lines"]
    assert [line["num_unknown"] for line in lines] == [2, 1]


def test_a_text_in_another_encoding_needs_its_name(model, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("bad é cafe\n".encode("latin-1"))
    code, _, err = invoke("perplexity", model, path)
    assert code == 3
    assert "offset 4" in err
    result = told(model, path, "--encoding", "latin-1")
    agrees(result["total"], charrnn.load(model).score("bad é cafe\n"))


def test_a_text_without_a_prediction_is_refused(model, tmp_path):
    path = tmp_path / "text.txt"
    for content in ("", "a"):
        path.write_text(content)
        code, _, err = invoke("perplexity", model, path)
        assert code == 3
        assert "nothing to score" in err


def test_by_line_a_text_without_a_line_is_refused_for_what_it_lacks(model, tmp_path):
    path = tmp_path / "text.txt"
    for content, known in (("", ()), ("XYZ", ("--unknown", "skip"))):
        path.write_text(content)
        code, _, err = invoke("perplexity", model, path, "--by-line", *known)
        assert code == 3
        assert "nothing to score" in err
        assert "by line, a text needs at least one symbol that the model knows" in err
        assert "two" not in err
    path.write_text("a")  # where a newline stands before each line, one symbol is enough
    assert told(model, path, "--by-line")["total"]["num_predictions"] == 1
    without = model_file(tmp_path / "model.safetensors", Vocab.of_text("abc"))
    code, _, err = invoke("perplexity", without, path, "--by-line")
    assert (code, "the model knows no newline" in err) == (3, True)


def test_the_table_of_a_model_of_bytes_speaks_of_bytes_and_json_of_both(tmp_path):
    model = model_file(tmp_path / "model.safetensors", Vocab.bytes())
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    total = told(model, path)["total"]
    rows = dict(line.split() for line in written(model, path).splitlines())
    assert rows["num_bytes"] == str(len(TEXT.encode()) - 1) == str(total["num_bytes"])
    assert rows["nats_per_byte"] == f"{total['nats'] / total['num_bytes']:.4f}"
    assert rows["bits_per_byte"] == f"{total['bits_per_byte']:.4f}"
    assert float(rows["perplexity_per_byte"]) == pytest.approx(2 ** total["bits_per_byte"], rel=1e-5)
    assert not [name for name in rows if "char" in name]
    assert {"nats_per_char", "bits_per_char", "perplexity"} < set(total)


def test_json_has_null_where_there_is_no_number(model, text, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.touch()
    result = told(model, empty, text)
    assert result["files"][0]["nats_per_char"] is None
    assert result["files"][0]["num_chars"] == 0
    agrees(result["total"], charrnn.load(model).score(TEXT))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--windowed", "0"], "from 1 to"),
        (["--streams", "0"], "from 1 to"),
        (["--unknown", "replace"], "skip"),
        (["--threads", "0"], "from 1 to"),
        (["--windowed", "9", "--by-line"], "give one of them"),
        (["--encoding", "klingon"], "klingon"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(model, text, options, said):
    code, out, err = invoke("perplexity", model, text, *options)
    assert (code, out) == (2, "")
    assert said in err


def test_a_missing_text_is_an_input_error(model, tmp_path):
    code, _, err = invoke("perplexity", model, tmp_path / "none.txt")
    assert code == 3
    assert "none.txt" in err


def test_a_reader_that_went_away_ends_it_quietly(model, text):
    read, write = os.pipe()
    os.close(read)
    ended = run("perplexity", model, text, stdout=write, fresh=True)
    os.close(write)
    assert (ended.code, ended.err) == (141, "")


def test_a_full_disk_is_an_output_error(model, text):
    with Path("/dev/full").open("wb") as full:
        ended = run("perplexity", model, text, stdout=full, fresh=True)
    assert ended.code == 4
    assert "No space left on device" in ended.err


def test_scoring_loads_no_torch(model, text):
    assert libraries_of("perplexity", model, text) == {"numpy"}


def test_scores_by_more_than_the_model_are_reported_apart(model, tmp_path):
    text, other = tmp_path / "text.txt", tmp_path / "other.txt"
    text.write_text(TEXT)
    other.write_text(TEXT[::-1])
    plain = told(model, text)
    found = told(model, text, "--dynamic", "--fit-temperature", other)
    assert {key: found[key] for key in plain} == plain
    assert found["temperature"]["total"]["nats"] < plain["total"]["nats"]
    assert 0.25 <= found["temperature"]["temperature"] <= 4
    assert found["dynamic"]["total"]["nats"] != plain["total"]["nats"]
    assert found["dynamic"]["total"]["num_predictions"] == plain["total"]["num_predictions"]
    shown = written(model, text, "--dynamic", "--fit-temperature", other)
    assert [line.split(None, 1)[1].split(",")[0] for line in shown.splitlines() if line.startswith("protocol")] == [
        "exact",
        "exact",
        "dynamic",
    ]


@pytest.mark.parametrize("option", ["--dynamic", "--baselines"])
@pytest.mark.parametrize("other", ["--by-line", "--windowed=9", "--streams=2"])
def test_scores_apart_stand_beside_the_exact_one_alone(model, tmp_path, option, other):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    code, _, err = invoke("perplexity", model, text, option, other)
    assert code == 2
    assert "beside the exact score" in err


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run with its text."""
    here = tmp_path_factory.mktemp("learned")
    (here / "text.txt").write_text(TEXT * 3)
    short = ("--steps", 2, "--hidden-size", 4, "--batch-size", 2, "--bptt", 5, "--threads", 1, "--quiet")
    assert invoke("train", "text.txt", *short, cwd=here).code == 0
    return here


def test_baselines_stand_beside_the_score_on_request(learned, text):
    run = learned / "checkpoints" / "text"
    code, out, err = invoke("perplexity", run, text, "--baselines", "--dynamic", "--json")
    found = json.loads(out)
    assert (code, found["total"]) == (0, told(run, text)["total"])
    scores = {score["name"]: score for score in found["baselines"]["scores"]}
    assert list(scores) == [
        "uniform",
        "order 0",
        "3-gram",
        "5-gram",
        "xz",
        "bz2",
        "gzip",
        "counts",
        "dynamic counts",
        "LSTM 1x4",
        "dynamic",
    ]
    num_symbols = len(set(TEXT))
    assert scores["uniform"]["bits_per_char"] == pytest.approx(math.log2(num_symbols), rel=1e-9)
    assert scores["LSTM 1x4"]["nats"] == found["total"]["nats"]
    assert scores["LSTM 1x4"]["learning_seconds"] > 0
    assert scores["dynamic"]["nats"] == found["dynamic"]["total"]["nats"]
    assert found["baselines"]["training_text"]["num_symbols"] == len(TEXT * 3) * 9 // 10
    # The scored text is learned three times over: that is said, and n-grams show it.
    assert f"100 % of {str(text)!r} is in the training text" in err
    assert scores["5-gram"]["bits_per_char"] < 0.5


def test_the_table_of_baselines_holds_the_numbers_of_json(learned, text):
    run = learned / "checkpoints" / "text"
    scores = json.loads(invoke("perplexity", run, text, "--baselines", "--json").out)["baselines"]["scores"]
    plain = invoke("perplexity", run, text, "--baselines").out.splitlines()
    table = plain[-len(scores) :]
    assert [line.split("  ")[0] for line in table] == [score["name"] for score in scores]
    assert all(f"{score['bits_per_char']:.4f}" in line for score, line in zip(scores, table, strict=True))
    shown = shown_on_a_terminal("perplexity", run, text, "--baselines")
    assert all(f"{score['bits_per_char']:.4f}" in shown for score in scores)
    assert "█" in shown


def test_baselines_need_the_training_text_where_it_was_or_named(learned, text, tmp_path):
    run = learned / "checkpoints" / "text"
    moved = (learned / "text.txt").rename(tmp_path / "moved.txt")
    try:
        code, out, err = invoke("perplexity", run, text, "--baselines")
        assert (code, out) == (3, "")
        assert str(learned / "text.txt") in err
        assert "--training-text" in err
        ended = invoke("perplexity", run, text, "--baselines", "--training-text", moved, "--json")
        assert json.loads(ended.out)["baselines"]["training_text"]["names"] == ["moved.txt"]
    finally:
        moved.rename(learned / "text.txt")


def test_a_training_text_without_baselines_is_refused(model, text):
    code, _, err = invoke("perplexity", model, text, "--training-text", text)
    assert code == 2
    assert "--baselines" in err


def test_baselines_load_no_torch(learned, text):
    text.write_text(TEXT[::-1])  # no note says that it is in the training text
    assert libraries_of("perplexity", learned / "checkpoints" / "text", text, "--baselines") == {"numpy"}


def test_a_text_can_be_typed(model, text):
    typed = told(model, "--text", TEXT)
    read = told(model, text)
    assert typed["total"] == read["total"]
    assert typed["files"][0]["name"] == "abc feed...."
    several = told(model, text, "--text", "abc", "--text", "cafe")
    assert [each["name"] for each in several["files"]] == [str(text), "abc", "cafe"]
    assert [each["num_predictions"] for each in several["files"]] == [len(TEXT) - 1, 2, 3]


def test_what_is_wrong_with_a_typed_text_is_told(model):
    code, out, err = run("perplexity", model, "--text", "a\udcff", fresh=True)
    assert (code, out) == (2, "")
    assert "--text is" in err
    assert "not valid UTF-8" in err
    assert "in 'aX', line 1, column 2" in invoke("perplexity", model, "--text", "aX").err
    assert invoke("perplexity", model, "--text", "").code == 3


def test_more_or_less_is_said_beside_the_scores(model, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("abc")
    (tmp_path / "texts" / "b.bin").write_bytes(b"\0\1\2")
    plain = invoke("perplexity", model, tmp_path / "texts")
    assert "note: " in plain.err
    assert invoke("perplexity", model, tmp_path / "texts", "--quiet") == (0, plain.out, "")
    more = invoke("perplexity", model, tmp_path / "texts", "-v")
    assert more.out == plain.out
    assert re.fullmatch(r"note: 2 characters in [\d.]+ s, [\d,]+ characters/s", more.err.splitlines()[-1])
    assert invoke("perplexity", model, "--text", "abc", "-q", "-v").code == 2
