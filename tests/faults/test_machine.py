"""A run is stopped, killed, resumed, damaged and sampled in any order; its end is that of one left in peace."""

import shutil
import tempfile
from pathlib import Path

from cells import CELLS
from command import invoke
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tiny_run import NAMES, StopAfter, check_files, files_of, make_task, make_trainer, never

from charrnn.training.checkpoint import read_checkpoint

NUM_STEPS = 14
TASKS = {
    cell: make_task(model={"cell": cell, "dropout": 0.2}, training={"steps": NUM_STEPS, "eval_every": 4})
    for cell in CELLS
}
_straight = {}


def straight(cell):
    if cell not in _straight:
        with tempfile.TemporaryDirectory() as folder:
            list(make_trainer(TASKS[cell], Path(folder)).run(never))
            _straight[cell] = files_of(Path(folder))
    return _straight[cell]


class Life(RuleBasedStateMachine):
    """What may happen to a run."""

    @initialize(cell=st.sampled_from(sorted(TASKS)))
    def begin(self, cell):
        self.cell = cell
        self.folder = tempfile.TemporaryDirectory()
        self.run = Path(self.folder.name, "run")
        self.run.mkdir()
        (self.run / "run.toml").write_text("steps = 12\n")  # the command writes it
        self.damaged = {}  # name: the whole bytes

    def teardown(self):
        self.folder.cleanup()

    def trainer(self):
        path = self.run / NAMES[1]
        checkpoint = read_checkpoint(path) if path.exists() else None
        return make_trainer(TASKS[self.cell], self.run, checkpoint=checkpoint)

    @precondition(lambda self: not self.damaged)
    @rule(count=st.integers(1, 6))
    def train_and_stop(self, count):
        list(self.trainer().run(StopAfter(count)))

    @precondition(lambda self: not self.damaged)
    @rule(count=st.integers(0, 25))
    def train_and_kill(self, count):
        events = self.trainer().run(never)
        for _ in range(count):
            if next(events, None) is None:
                break
        events.close()  # nothing is saved any more

    @precondition(lambda self: not self.damaged)
    @rule()
    def train_to_the_end(self):
        list(self.trainer().run(never))
        assert files_of(self.run) == straight(self.cell)

    @rule(name=st.sampled_from(NAMES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def damage(self, name, place, bit):
        path = self.run / name
        if path.exists() and name not in self.damaged:
            data = bytearray(path.read_bytes())
            self.damaged[name] = bytes(data)
            data[int(place * len(data))] ^= 1 << bit
            path.write_bytes(data)

    @rule(name=st.sampled_from(NAMES), share=st.floats(0, 1, exclude_max=True))
    def cut(self, name, share):
        path = self.run / name
        if path.exists() and name not in self.damaged:
            self.damaged[name] = path.read_bytes()
            path.write_bytes(self.damaged[name][: int(share * len(self.damaged[name]))])

    @precondition(lambda self: self.damaged)
    @rule()
    def restore_a_copy(self):
        for name, data in self.damaged.items():
            (self.run / name).write_bytes(data)
        self.damaged = {}

    @precondition(lambda self: self.damaged)
    @rule()
    def resume_from_damage(self):
        if NAMES[1] in self.damaged:
            before = files_of(self.run) if (self.run / NAMES[0]).exists() else None
            code, _, err = invoke("train", "--resume", self.run)
            assert code == 3, err
            assert before is None or files_of(self.run) == before

    @rule()
    def verify(self):
        if any((self.run / name).exists() for name in NAMES):
            code, out, _ = invoke("verify", self.run)
            assert code == (3 if self.damaged else 0), out
            assert out.count("NOT WHOLE") == len(self.damaged)

    @rule()
    def sample(self):
        code, out, _ = invoke("sample", self.run, "--length", "7", "--prompt", "the", "--seed", "1")
        if (self.run / NAMES[0]).exists() and NAMES[0] not in self.damaged:
            assert code == 0
            assert out.startswith("the")
        else:
            assert (code, out) == (3, "")

    @rule()
    def copy_elsewhere(self):
        if self.run.exists():
            moved = self.run.with_name("moved")
            shutil.copytree(self.run, moved)
            shutil.rmtree(self.run)
            moved.rename(self.run)

    @invariant()
    def what_is_not_damaged_is_whole(self):
        if not getattr(self, "damaged", True):
            check_files(self.run)


Life.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
test_in_whatever_order_things_happen_nothing_is_lost = Life.TestCase
