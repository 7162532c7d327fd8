import json
import math
import shlex

import numpy as np
from command import invoke

from charrnn.storage.model_file import ModelFile, read_model, write_model
from charrnn.storage.run_files import MODEL_NAME


def test_a_model_is_described_in_words_and_as_json(run_of):
    code, out, _ = invoke("inspect", run_of, "--all")
    assert code == 0
    assert invoke("inspect", run_of, "-v").out == out
    model = read_model(run_of)
    found = json.loads(invoke("inspect", run_of, "--json")[1])
    assert found["model"] == model.settings.to_json()
    assert found["num_parameters"] == sum(math.prod(facts["shape"]) for facts in found["weights"].values())
    assert found["claims"]["held_out"]["nats_per_char"] == model.facts["held_out"]["nats_per_char"]
    assert found["vocab"]["symbols"] == model.vocab.symbols
    mean = float(model.weights["output.weight"].mean(dtype=np.float64))
    assert found["weights"]["output.weight"]["mean"] == mean
    assert f"{found['claims']['held_out']['nats_per_char']:.6g}" in out
    assert f"mean {mean:.4f}" in out


def test_a_model_that_went_wrong_is_shown_but_not_verified(run_of):
    model = read_model(run_of)
    weights = {name: weight.copy() for name, weight in model.weights.items()}
    weights["output.bias"][:2] = np.nan, np.inf
    write_model(run_of / MODEL_NAME, ModelFile(model.settings, model.vocab, weights, model.facts))
    found = json.loads(invoke("inspect", run_of, "--json")[1])
    assert found["num_nonfinite"] == 2
    assert found["weights"]["output.bias"]["mean"] is None
    assert "2 not finite" in invoke("inspect", run_of, "--all")[1]
    assert "2 weights are not finite" in invoke("inspect", run_of)[1]
    assert invoke("verify", run_of)[0] == 3
    assert invoke("sample", run_of)[0] == 3


def test_a_model_is_described_in_ten_lines_with_commands_to_copy(run_of):
    code, out, err = invoke("inspect", run_of)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 10
    model = read_model(run_of)
    assert lines[0].endswith(f"{model.settings.num_parameters:,} weights, 0.0 MB")
    assert f"{model.facts['held_out']['nats_per_char']:.4f} nats/char" in out
    commands = [shlex.split(line[line.index("charrnn ") :]) for line in lines if " charrnn " in line]
    assert [words[1] for words in commands] == ["sample", "perplexity", "inspect"]
    for _, name, *arguments in commands:
        given = [str(run_of / "text.txt") if word == "TEXT" else word for word in arguments]
        (run_of / "text.txt").write_text(model.vocab.symbols * 3)
        assert invoke(name, *given).code == 0


def test_all_and_json_are_two_ways_to_say_one_thing(run_of):
    code, out, err = invoke("inspect", run_of, "--all", "--json")
    assert (code, out) == (2, "")
    assert "--all" in err
