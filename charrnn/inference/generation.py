"""New text from a model: the prompt is read, then symbols are drawn, each the next one's input."""

import codecs
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.settings import GenerationSettings
from charrnn.models.predictor import Predictor
from charrnn.text.utf8 import START, TRANSITIONS
from charrnn.text.vocab import Vocab

_DRAWS_AT_ONCE = 1 << 14  # draws of all streams together between two looks at the text
_STEPS_AT_ONCE = 512  # a few milliseconds of one stream: text appears smoothly
_SECONDS_AT_ONCE = 0.05  # what takes longer is not doubled: slow text appears smoothly too, and stops when told


class Chunk(NamedTuple):
    """A piece of a sample's text, in the order it is made.

    Attributes:
        sample: index of the sample, from 0.
        text: characters that follow the sample's earlier ones.
        ended: None while the sample goes on, else why it ends: "length" or "stop".
    """

    sample: int
    text: str
    ended: str | None


def start_text(vocab: Vocab) -> str:
    """What the model reads before a text that has no prompt; it is not shown.

    A model of p(next | before) needs a first symbol. It is a newline where the vocabulary has one, else the
    vocabulary's first symbol.
    """
    return "\n" if "\n" in vocab else vocab.symbols[0]


def generate(
    predictor: Predictor, vocab: Vocab, settings: GenerationSettings | None = None, *, prompt: str = ""
) -> Iterator[Chunk]:
    """Continuations of a prompt, in chunks as they are made: the first after one symbol, then longer ones.

    Each sample draws from a random sequence fixed by the seed and the sample's index alone: sample i is the
    same text whatever num_samples, on the same machine and predictor. The prompt is checked before the first
    chunk is asked for.

    Args:
        predictor: what writes.
        vocab: its vocabulary. Where symbols are bytes, bytes that cannot continue UTF-8 are never drawn.
        settings: how much is written and how symbols are drawn; none: the defaults.
        prompt: text to continue, which the chunks do not repeat; "" stands for ``start_text(vocab)``.

    Returns:
        Chunks; those of one sample in order, the last of each with ``ended`` set.

    Raises:
        UnknownCharacterError: the prompt has characters that the vocabulary lacks; all are named.
    """
    ids = vocab.encode(prompt or start_text(vocab))
    return _chunks(predictor, vocab, ids, settings or GenerationSettings())


class _Sample:
    """One text in the making: its random sequence, its unfinished character, its end."""

    def __init__(self, index: int, *, vocab: Vocab, settings: GenerationSettings) -> None:
        self.index = index
        self.random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(settings.seed, spawn_key=(index,))))
        self.remaining = settings.length
        self._vocab = vocab
        self._decoder = codecs.getincrementaldecoder("utf-8")() if vocab.level == "byte" else None
        self._stop = settings.stop
        self._tail = ""  # the last len(stop) - 1 characters, where a stop text may have begun

    def take(self, ids: NDArray[Any]) -> Chunk:
        """The text of newly drawn ids, cut where the sample ends."""
        if self._decoder is None:
            text = self._vocab.decode(ids)
        else:
            text = self._decoder.decode(ids.astype(np.uint8).tobytes())
        text = text[: self.remaining]
        self.remaining -= len(text)
        ended = None if self.remaining else "length"
        if self._stop is not None:
            seen = self._tail + text
            found = seen.find(self._stop)
            if found >= 0:
                text = seen[len(self._tail) : found + len(self._stop)]
                ended = "stop"
            self._tail = seen[len(seen) - len(self._stop) + 1 :] if len(seen) >= len(self._stop) else seen
        return Chunk(self.index, text, ended)


def _chunks(
    predictor: Predictor, vocab: Vocab, prompt_ids: NDArray[Any], settings: GenerationSettings
) -> Iterator[Chunk]:
    samples = [_Sample(index, vocab=vocab, settings=settings) for index in range(settings.num_samples)]
    if settings.length == 0:
        for sample in samples:
            yield Chunk(sample.index, "", "length")
        return
    ids, state = read_prompt(predictor, prompt_ids, len(samples))
    marks = np.full(len(samples), START, TRANSITIONS.dtype) if vocab.level == "byte" else None
    num_steps = 1
    while True:
        # The state of a stream that ended is dropped, so that the others get the whole machine.
        num_steps = min(num_steps, max(1, _DRAWS_AT_ONCE // len(samples)), _most_draws(samples, vocab))
        uniforms = np.stack([sample.random.random(num_steps) for sample in samples], axis=1)
        started = time.perf_counter()
        drawn, state, marks = predictor.generate(ids, state, uniforms=uniforms, sampling=settings, marks=marks)
        seconds = time.perf_counter() - started
        ids = drawn[-1]
        going = []
        for column, sample in enumerate(samples):
            chunk = sample.take(drawn[:, column])
            if chunk.text or chunk.ended:
                yield chunk
            if not chunk.ended:
                going.append(column)
        if not going:
            return
        if len(going) < len(samples):
            samples = [samples[column] for column in going]
            ids, state = ids[going], state.of_streams(going)
            marks = None if marks is None else marks[going]
        num_steps = min(2 * num_steps, _STEPS_AT_ONCE) if seconds < _SECONDS_AT_ONCE else max(1, num_steps // 2)


def _most_draws(samples: list[_Sample], vocab: Vocab) -> int:
    """Symbols that the longest sample may still need; a character has at most four bytes."""
    return max(sample.remaining for sample in samples) * (4 if vocab.level == "byte" else 1)


def read_prompt(predictor: Predictor, prompt_ids: NDArray[Any], num_samples: int) -> tuple[NDArray[Any], Any]:
    """A prompt's last symbol and the state before it, once for each sample.

    Args:
        predictor: what reads.
        prompt_ids: (N,) symbols, at least one.
        num_samples: B.

    Returns:
        ids (B,), and the state of B streams.
    """
    state = predictor.zero_state(1)
    if len(prompt_ids) > 1:
        _, state = predictor.score(prompt_ids[:-1, None], prompt_ids[1:, None], state)
    streams = np.zeros(num_samples, np.intp)
    return prompt_ids[-1:].astype(np.intp)[streams], state.of_streams(streams)
