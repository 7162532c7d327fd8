"""Model files and texts made in a moment: random weights, no training."""

import numpy as np

from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile, write_model
from charrnn.text.vocab import Vocab

TEXT = "to be, or not to be: that is the question\n" * 60


def make_model(path, *, text=TEXT, level="char", facts=None, **shape):
    """Writes a model of the text's symbols; gives its path."""
    vocab = Vocab.bytes() if level == "byte" else Vocab.of_text(text)
    settings = ModelSettings(vocab_size=vocab.size, **{"hidden_size": 6, **shape})
    random = np.random.default_rng(5)
    weights = {
        name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in settings.parameter_shapes().items()
    }
    write_model(path, ModelFile(settings, vocab, weights, facts or {}))
    return path
