import pytest
from tiny_run import make_task, make_trainer, never


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The directory of a finished tiny run; to be copied, never changed."""
    directory = tmp_path_factory.mktemp("trained") / "run"
    list(make_trainer(make_task(), directory).run(never))
    return directory


@pytest.fixture
def run_of(trained, tmp_path):
    """A copy of a finished run."""
    directory = tmp_path / "copy"
    directory.mkdir()
    for path in trained.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    return directory
