"""The memory that a file of somebody else's can cost: at most twice its size and 200 MiB, whatever its shapes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile, write_model
from charrnn.text.vocab import Vocab

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this platform does not tell a peak")

FIXED_MIB = 200
# Shapes that cost the most for their bytes: a table of what symbols feed in that is far larger than what it is made of;
# rows that packing pads; a vocabulary whose header is the longest; one large matrix; many small layers.
SHAPES = {
    "wide table": {"vocab": 200_000, "input": "embedding", "embedding_size": 1, "hidden_size": 64},
    "thin units": {"vocab": 300_000, "hidden_size": 5},
    "all code points": {"vocab": 1_112_064, "cell": "rnn", "hidden_size": 1, "bias": False},
    "large matrix": {"vocab": 9, "hidden_size": 1600},
    "many layers": {"vocab": 9, "hidden_size": 129, "num_layers": 64},
}
# A process that ends by telling its peak in KiB. (getrusage would tell that of the process which started it.)
PROGRAM = """
import re, sys
from pathlib import Path
from charrnn.__main__ import main
try:
    main()
finally:
    sys.stdout.flush()
    print("peak", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


@pytest.fixture(scope="module", params=SHAPES)
def hostile(request, tmp_path_factory):
    """A valid model file of one of the shapes."""
    shape = dict(SHAPES[request.param])
    num_symbols = shape.pop("vocab")
    points = [point for point in range(num_symbols + 0x800) if not 0xD800 <= point < 0xE000][:num_symbols]
    vocab = Vocab.of_points(np.array(points, np.uint32))
    settings = ModelSettings(vocab_size=num_symbols, **shape)
    random = np.random.default_rng(0)
    weights = {
        name: random.standard_normal(size, dtype=np.float32) * np.float32(0.01)
        for name, size in settings.parameter_shapes().items()
    }
    path = tmp_path_factory.mktemp("hostile") / "model.safetensors"
    write_model(path, ModelFile(settings, vocab, weights, {}))
    return path


@pytest.mark.parametrize("command", ["sample", "perplexity", "inspect", "verify"])
def test_no_file_costs_more_than_twice_its_size_and_a_fixed_part(hostile, command, tmp_path):
    more = {"sample": ["--length", "3"], "perplexity": [str(tmp_path / "text")], "inspect": ["--json"]}.get(command, [])
    (tmp_path / "text").write_bytes(bytes([0, 1, 2, 3, 4]))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, command, str(hostile), *more], capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-300:]
    peak_mib = int(done.stderr.rsplit(b"peak ", 1)[1]) / 1024
    assert peak_mib <= 2 * hostile.stat().st_size / 2**20 + FIXED_MIB
