"""How well a network in training predicts held-out text, in the network's own streams.

Legend: T time steps, B streams, V vocabulary.
"""

import math

import numpy as np
import torch
from torch.nn import functional as F

from charrnn.models.char_rnn import CharRNN, State
from charrnn.text.vocab import Vocab
from charrnn.units import ZERO_SCORE, Score

_CONTEXT = 256  # symbols a stream reads before it is scored; the state's memory of more is slight
_WINDOW = 256
_STREAM = 1024  # symbols a stream scores, so that its context costs at most a quarter more
_MAX_STREAMS = 128


@torch.no_grad()
def evaluate(model: CharRNN, ids: np.ndarray, vocab: Vocab) -> Score:
    """The held-out score, streaming: every symbol but the first is predicted once, after all that come before.

    The text is cut into parallel streams for speed. All but the first read up to 256 symbols of the text before
    their own, so the score differs from the exact one of ``charrnn perplexity`` by what the state remembers from
    further back: under 0.001 nats in the models measured.

    Args:
        model: the network; left in evaluation mode.
        ids: (N,) symbols, N >= 2.
        vocab: tells characters and bytes of the symbols.
    """
    model.eval()
    device = model.output.weight.device
    num_predictions = len(ids) - 1
    num_streams = max(1, min(_MAX_STREAMS, num_predictions // _STREAM))
    length = math.ceil(num_predictions / num_streams)
    starts = np.arange(num_streams) * length
    state = model.zero_state(num_streams)
    if num_streams > 1:
        context = min(_CONTEXT, length)
        before = np.stack([ids[s - context : s] for s in starts[1:]], axis=1)
        inputs = torch.from_numpy(before.astype(np.int64)).to(device)
        _, warm = model(inputs, State(state.hidden[:, 1:].contiguous(), state.cell[:, 1:].contiguous()))
        state = State(*(torch.cat([zero[:, :1], part], dim=1) for zero, part in zip(state, warm, strict=True)))
    nats = nats_squared = 0.0
    for offset in range(0, length, _WINDOW):
        steps = np.arange(offset, min(offset + _WINDOW, length))
        positions = starts[None, :] + steps[:, None]  # (T, B)
        counted = positions < num_predictions
        positions = np.minimum(positions, num_predictions - 1)
        inputs = torch.from_numpy(ids[positions].astype(np.int64)).to(device)
        targets = torch.from_numpy(ids[positions + 1].astype(np.int64)).to(device)
        logits, state = model(inputs, state)
        losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
        each = losses.double().cpu().numpy()[counted.ravel()]
        nats += float(each.sum())
        nats_squared += float(np.square(each).sum())
    num_chars, num_bytes = vocab.measure(ids[1:])
    return ZERO_SCORE + Score(
        nats=nats,
        nats_squared=nats_squared,
        num_predictions=num_predictions,
        num_chars=num_chars,
        num_bytes=num_bytes,
    )
