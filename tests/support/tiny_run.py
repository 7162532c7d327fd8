"""Tiny runs: a text, a task, a trainer."""

from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import read_model
from charrnn.text.vocab import Vocab
from charrnn.training.checkpoint import read_checkpoint
from charrnn.training.device import place
from charrnn.training.settings import TrainingSettings
from charrnn.training.trainer import Task, Trainer

TEXT = "the quick brown fox jumps over the lazy dog; " * 40

SOURCE = {"paths": ["text"], "level": "char", "encoding": "utf-8", "val_paths": [], "val_fraction": 0.1}


def make_task(text=TEXT, *, model=None, training=None, held_out=None):
    vocab = Vocab.of_text(text)
    ids = vocab.encode(text)
    end = len(ids) * 9 // 10
    recipe = {"batch_size": 2, "bptt": 7, "learning_rate": 0.01, "warmup_steps": 3}
    training = training or {"steps": 12}
    return Task(
        ids[:end],
        ids[end:] if held_out is None else vocab.encode(held_out),
        vocab,
        {"names": ["text"], "fingerprint": "0", "source": SOURCE},
        ModelSettings(vocab_size=vocab.size, **{"hidden_size": 5, **(model or {})}),
        TrainingSettings(**{**recipe, **training}),
    )


def make_trainer(task, directory, **more):
    directory.mkdir(parents=True, exist_ok=True)
    return Trainer(
        task, directory, placement=place(task.model, device="cpu", precision="float32", num_threads=1), **more
    )


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
