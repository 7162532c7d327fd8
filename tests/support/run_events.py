"""Events of a run as reports get them."""

import math

import numpy as np

from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile
from charrnn.text.vocab import Vocab
from charrnn.training import event
from charrnn.units import Score

SCORE = Score(
    nats=100 * math.log(2), nats_squared=100 * math.log(2) ** 2, num_predictions=100, num_chars=100, num_bytes=100
)
VOCAB = Vocab.of_text("ab")
SHAPE = ModelSettings(vocab_size=2, cell="rnn", hidden_size=1)
MODEL = ModelFile(SHAPE, VOCAB, {n: np.zeros(s, np.float32) for n, s in SHAPE.parameter_shapes().items()}, {})
EVENTS = [
    event.Planned(num_steps=10, eval_every=5, seconds_per_step=0.002),
    event.Progressed(5, 10, 0.7, 0.01, 1.0, 1234.0, 3.0, math.nan),
    event.Evaluated(5, SCORE, 0.71, 3.0, True, MODEL, num_held_out=101),
    event.Sampled(5, "a\x1b[31m", 3.0),
    event.Warned("the disk is \x1b[2J full"),
]
