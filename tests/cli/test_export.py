import pytest
from command import invoke
from small_model import TEXT, make_model


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_model(tmp_path / "small.safetensors")


def test_a_graph_is_written_under_the_name_of_the_model(model, tmp_path):
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    code, out, err = invoke("export", model, "--onnx")
    assert (code, err) == (0, "")
    assert "small.onnx: " in out
    assert "opset 17" in out
    onnx.checker.check_model(onnx.load(tmp_path / "small.onnx"))


def test_both_formats_can_be_written_at_once(model, tmp_path):
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    code, out, _ = invoke("export", model, "--onnx", "-o", "a.onnx", "--hugging-face", "folder")
    assert code == 0
    assert (tmp_path / "a.onnx").stat().st_size > 1000
    assert (tmp_path / "folder" / "README.md").exists()
    assert "charrnn sample ./folder" in out
    assert invoke("sample", "./folder", "to", "--length", "5", "--seed", "1").code == 0


def test_nothing_is_replaced_unasked(model, tmp_path):
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    (tmp_path / "small.onnx").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes").write_text("mine")
    for options in (["--onnx"], ["--hugging-face", "folder"]):
        code, _, err = invoke("export", model, *options)
        assert code == 4
        assert "--force" in err
    assert (tmp_path / "small.onnx").read_text() == "mine"
    assert invoke("export", model, "--onnx", "--hugging-face", "folder", "--force").code == 0
    assert (tmp_path / "small.onnx").read_bytes() != b"mine"
    assert (tmp_path / "folder" / "notes").read_text() == "mine"


def test_what_to_write_must_be_said(model):
    code, _, err = invoke("export", model)
    assert (code, "--onnx, --hugging-face DIRECTORY" in err) == (2, True)
    code, _, err = invoke("export", model, "-o", "a.onnx", "--hugging-face", "folder")
    assert (code, "--out names the file of --onnx" in err) == (2, True)


def test_counts_and_mixtures_are_refused_with_a_reason(model, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    assert invoke("count", "text.txt", "--memory", "1").code == 0
    assert invoke("mix", "text-counts", "text-counts", "--name", "both").code == 0
    for name in ("text-counts", "both"):
        for options in (["--onnx"], ["--hugging-face", "folder"]):
            code, _, err = invoke("export", name, *options)
            assert code == 3
            assert "needs a network, as charrnn train makes one" in err
    assert not (tmp_path / "folder").exists()
