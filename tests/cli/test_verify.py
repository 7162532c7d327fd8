import pytest
from command import invoke

from charrnn.storage.run_files import MODEL_NAME


def test_a_whole_run_is_verified_file_by_file(run_of):
    code, out, err = invoke("verify", run_of)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert [row[1] for row in rows] == ["whole"] * 3
    assert "step 12 of 12" in out


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
def test_a_file_with_a_flipped_bit_is_named_and_the_rest_checked(run_of, name):
    data = bytearray((run_of / name).read_bytes())
    data[-5] ^= 4
    (run_of / name).write_bytes(data)
    code, out, _ = invoke("verify", run_of)
    assert code == 3
    assert {line.split()[0].rsplit("/")[-1]: "NOT WHOLE" in line for line in out.splitlines()} == {
        "model.safetensors": name == "model.safetensors",
        "training.safetensors": name == "training.safetensors",
        "metrics.jsonl": False,
    }


def test_a_model_file_alone_is_verified(run_of):
    code, out, _ = invoke("verify", run_of / MODEL_NAME)
    assert code == 0
    assert "held-out" in out


def test_what_is_no_run_is_refused(tmp_path):
    assert invoke("verify", tmp_path)[0] == 3
    assert invoke("verify", tmp_path / "missing")[0] == 3
