"""How well a network in training predicts held-out text, and what it writes."""

import numpy as np

from charrnn.inference.scoring import score_exact, score_streams
from charrnn.models.network import CharRNN, TorchNetwork
from charrnn.storage.model_file import ModelFile
from charrnn.text.vocab import Vocab
from charrnn.units import Score

_CONTEXT = 256  # symbols a stream reads before it is scored; the state's memory of more is slight
_STREAM = 1024  # symbols a stream scores, so that its context costs at most a quarter more
_MAX_STREAMS = 128
_MAX_EXACT_STREAMS = 32  # that read again what a state remembers: fewer cost less
_MOST_ROUNDS = 2  # a network that does not forget must not hold training up
_SAMPLE_LENGTH = 240  # characters: three lines of a usual terminal


def evaluate(network: CharRNN, ids: np.ndarray, vocab: Vocab) -> Score:
    """The held-out score, streaming: every symbol but the first is predicted once, after all that come before.

    The text is cut into parallel streams for speed. In float32 these read on until they agree, so the score is that of
    ``charrnn perplexity``; it may lack only what a state remembers from more than two thousand symbols back. In reduced
    precision all streams but the first read up to 256 symbols of the text before their own, so the score differs from
    the exact one by what the state remembers from further back: under 0.001 nats in the models measured.

    Args:
        network: left in evaluation mode.
        ids: (N,) symbols, N >= 2.
        vocab: gives characters and bytes of the symbols.

    Raises:
        NonFiniteError: a probability is not finite.
    """
    predictor = TorchNetwork(network)
    if predictor.compares:
        return score_exact(predictor, ids, vocab=vocab, num_streams=_MAX_EXACT_STREAMS, most_rounds=_MOST_ROUNDS)
    num_streams = max(1, min(_MAX_STREAMS, (len(ids) - 1) // _STREAM))
    return score_streams(predictor, ids, vocab=vocab, num_streams=num_streams, warm_up=_CONTEXT)


def short_sample(model: ModelFile) -> str:
    """A few lines by a model, always from the same seed, so that samples of one run can be compared."""
    from charrnn.inference.language_model import LanguageModel

    return LanguageModel(model, num_threads=1).sample(length=_SAMPLE_LENGTH, temperature=0.8, seed=0)[0]
