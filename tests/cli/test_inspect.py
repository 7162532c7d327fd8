import json
import math

import numpy as np
from command import invoke

from charrnn.storage.model_file import ModelFile, read_model, write_model
from charrnn.storage.run_files import MODEL_NAME


def test_a_model_is_described_in_words_and_as_json(run_of):
    code, out, _ = invoke("inspect", run_of)
    assert code == 0
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
    assert "2 not finite" in invoke("inspect", run_of)[1]
    assert invoke("verify", run_of)[0] == 3
    assert invoke("sample", run_of)[0] == 3
