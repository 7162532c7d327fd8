"""What tests of all folders share: how they compute, a text, a run that has been trained."""

import os
import shutil

import pytest
from hypothesis import settings

# Tests run side by side: one thread each, and none that waits for work at full speed. Read when torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Whether output is coloured is up to each test.
for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"):
    os.environ.pop(name, None)

# A time limit for each example would measure how busy the machine is; pytest's timeout ends what hangs.
settings.register_profile("charrnn", deadline=None)
settings.load_profile("charrnn")


@pytest.fixture
def text(tmp_path):
    """A small text."""
    path = tmp_path / "text.txt"
    path.write_text("to be or not to be, that is the question\n" * 40)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The directory of a finished tiny run; to be read or copied, never changed."""
    from tiny_run import make_task, make_trainer, never

    directory = tmp_path_factory.mktemp("trained") / "run"
    list(make_trainer(make_task(), directory).run(never))
    (directory / "run.toml").write_text("steps = 12\n")  # the command writes it
    return directory


@pytest.fixture
def run_of(trained, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(trained, tmp_path / "copy")


def pytest_collection_modifyitems(items):
    """Long tests first."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
