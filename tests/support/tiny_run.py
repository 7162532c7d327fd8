"""Tiny runs: a text, a task, a run."""

from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import read_model
from charrnn.text.corpus import TextFacts
from charrnn.text.settings import TextSettings
from charrnn.text.vocab import Vocab
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.device import place
from charrnn.training.machine import MachineSettings
from charrnn.training.run import Run
from charrnn.training.settings import TrainingSettings
from charrnn.training.task import Task

TEXT = "the quick brown fox jumps over the lazy dog; " * 40
ON_ONE_THREAD = MachineSettings(device="cpu", precision="float32", threads=1)


def make_task(text=TEXT, *, model=None, training=None, held_out=None):
    """A task of a few updates.

    Args:
        text: what is learned, but for its last tenth.
        model: of ModelSettings, and dropout.
        training: of TrainingSettings; a length among them.
        held_out: text to score; None for the last tenth of ``text``.
    """
    vocab = Vocab.of_text(text)
    ids = vocab.encode(text)
    end = len(ids) * 9 // 10
    scored = ids[end:] if held_out is None else vocab.encode(held_out)
    recipe = {"batch_size": 2, "bptt": 7, "learning_rate": 0.01, "warmup_steps": 3}
    noise = TrainingSettings.part_of(model or {})
    shape = {name: value for name, value in (model or {}).items() if name not in noise}
    return Task(
        ids[:end],
        scored,
        vocab,
        TextFacts(names=("text",), num_texts=1, fingerprint="0", num_symbols=len(ids), num_held_out=len(scored)),
        TextSettings(texts=("text",)),
        ModelSettings(vocab_size=vocab.size, **{"hidden_size": 5, **shape}),
        TrainingSettings(**{**recipe, **noise, **(training or {"steps": 12})}),
    )


def make_run(task, directory, *, kind=Run, **more):
    """A run of a task on one thread, in a directory that is made."""
    directory.mkdir(parents=True, exist_ok=True)
    return kind(task, directory, placement=place(task.model, ON_ONE_THREAD), **more)


class _Trainer(Run):
    """A run whose events are had from ``run``."""

    run = Run.events


def make_trainer(task, directory, **more):
    """``make_run``, for those who say ``run`` to it."""
    return make_run(task, directory, kind=_Trainer, **more)


def never():
    return False


class StopAfter:
    """Asks a run to stop once it was asked ``count`` times whether it should: after so many updates."""

    def __init__(self, count):
        self.count = count

    def __call__(self):
        self.count -= 1
        return self.count <= 0


NAMES = ("model.safetensors", "training.safetensors")


def files_of(directory):
    """The bytes of a run's model and training state, by name."""
    return {name: (directory / name).read_bytes() for name in NAMES}


def check_files(directory):
    """Makes sure that what a run has stored, if anything, is whole."""
    for name, read in zip(NAMES, (read_model, read_checkpoint), strict=True):
        if (directory / name).exists():
            read(directory / name)
