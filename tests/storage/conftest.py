import sys
from pathlib import Path

# The shim is shared with tests of whole runs.
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
