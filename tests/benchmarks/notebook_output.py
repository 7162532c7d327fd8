"""The output of the notebook in docs, from a real run on this machine; takes two minutes.

python tests/benchmarks/notebook_output.py docs/first-steps.ipynb
"""

import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))
from kernel import execute, read, write


def main() -> None:
    """Executes the notebook and writes it back."""
    path = Path(sys.argv[1])
    notebook = read(path)
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, folder)
    write(notebook, path)


if __name__ == "__main__":
    main()
