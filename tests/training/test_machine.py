"""Where a run computes: what may be asked for, and that a run may go on elsewhere."""

import pytest

from charrnn.errors import SettingsError
from charrnn.training.machine import MachineSettings


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"device": "gpu"}, "device is 'gpu'; it must be one of auto, cpu, cuda, mps"),
        ({"precision": "float16"}, "precision is 'float16'; it must be one of auto, float32, bfloat16"),
        ({"threads": 0}, "threads is 0; it must be a whole number from 1 to 1,024"),
        ({"threads": 1025}, "threads is 1025"),
        ({"threads": 1.0}, "threads is 1.0"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_name(given, told):
    with pytest.raises(SettingsError, match=told):
        MachineSettings(**given)


def test_all_is_left_open_and_may_change_when_a_run_goes_on():
    assert MachineSettings().to_json() == {"device": "auto", "precision": "auto", "threads": None}
    assert all(known.changes_on_resume for known in MachineSettings.settings().values())
