"""A trained model as a Python object: new text, scores, rankings."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.engine import Engine, open_engine
from charrnn.inference.generation import DEFAULT_LENGTH, generate
from charrnn.inference.sampling import SamplingSettings
from charrnn.inference.scoring import iterate_nats, score_ids, score_lines
from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import read_model
from charrnn.text.vocab import Vocab
from charrnn.units import Score


class LanguageModel:
    """A model with its vocabulary: p(next character | all before), to draw from and to score with.

        model = charrnn.load("checkpoints/shakespeare")
        print(model.sample("KING", length=300, seed=1)[0])
        print(model.score("To be, or not to be").bits_per_char)

    Attributes:
        settings: shape of the model.
        vocab: the symbols it knows.
        facts: what its file says of how it was made.
        engine: what computes; see ``charrnn.inference.engine``.
    """

    def __init__(
        self, settings: ModelSettings, vocab: Vocab, *, engine: Engine, facts: Mapping[str, Any] | None = None
    ) -> None:
        self.settings = settings
        self.vocab = vocab
        self.engine = engine
        self.facts: Mapping[str, Any] = facts or {}

    def sample(
        self,
        prompt: str = "",
        *,
        length: int = DEFAULT_LENGTH,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        num_samples: int = 1,
        stop: str | None = None,
    ) -> list[str]:
        """New texts that continue the prompt, which they do not repeat.

        Args:
            prompt: characters of the model's vocabulary; none: the text begins after a line's end.
            length: characters a text.
            temperature: 0 (always the most probable) to 100; 1 is the model as trained.
            top_k: draw from the k most probable symbols only; 0 is off.
            top_p: draw from the fewest most probable symbols that reach this probability; 1 is off.
            min_p: draw from symbols at least this share as probable as the most probable; 0 is off.
            seed: the same seed gives the same texts; none takes a new one each time.
            num_samples: how many texts; text i is the same whatever their number.
            stop: a text that ends a sample, and is the last thing in it.

        Raises:
            InputError: the prompt has characters that the vocabulary lacks.
            SettingsError: a value is out of range.
        """
        sampling = SamplingSettings(temperature, top_k, top_p, min_p)
        chunks = generate(
            self.engine,
            self.vocab,
            prompt=prompt,
            length=length,
            sampling=sampling,
            seed=new_seed() if seed is None else seed,
            num_samples=num_samples,
            stop=stop,
        )
        texts: list[list[str]] = [[] for _ in range(num_samples)]
        for chunk in chunks:
            texts[chunk.sample].append(chunk.text)
        return ["".join(parts) for parts in texts]

    def stream(
        self,
        prompt: str = "",
        *,
        length: int = DEFAULT_LENGTH,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        stop: str | None = None,
    ) -> Iterator[str]:
        """One new text piece by piece, as it is made; arguments as in ``sample``."""
        sampling = SamplingSettings(temperature, top_k, top_p, min_p)
        chunks = generate(
            self.engine,
            self.vocab,
            prompt=prompt,
            length=length,
            sampling=sampling,
            seed=new_seed() if seed is None else seed,
            stop=stop,
        )
        return (chunk.text for chunk in chunks if chunk.text)

    def score(self, text: str) -> Score:
        """How well the model predicts a text: its first symbol is given, every other one predicted.

        >>> score = model.score("hello")  # doctest: +SKIP
        >>> score.num_predictions, score.nats_per_char  # doctest: +SKIP

        Raises:
            UnknownCharacterError: the text has a character that the vocabulary lacks.
        """
        return score_ids(self.engine, self.vocab.encode(text), vocab=self.vocab)

    def score_lines(self, texts: Sequence[str]) -> list[Score]:
        """Each text by itself, as a line that follows a line's end: N characters give N predictions.

        Where the vocabulary has no newline, a text's first character is given, and a newline at its end is
        left out.

        Raises:
            UnknownCharacterError: a text has a character that the vocabulary lacks.
        """
        if "\n" not in self.vocab:
            texts = [text.removesuffix("\n") for text in texts]
        return score_lines(self.engine, [self.vocab.encode(text) for text in texts], vocab=self.vocab)

    def rank(self, texts: Sequence[str]) -> list[str]:
        """The texts from the most probable to the least, each as a whole line that follows a line's end."""
        scores = self.score_lines(texts)
        return [texts[i] for i in sorted(range(len(texts)), key=lambda i: scores[i].nats)]

    def surprisals(self, text: str) -> NDArray[np.float64]:
        """-ln p of each character but the first (num_chars - 1,), in nats; several bytes give their sum."""
        ids = self.vocab.encode(text)
        parts = [nats for nats, _ in iterate_nats(self.engine, ids)]
        nats = np.concatenate([np.zeros(1), *parts])[: len(ids)]  # the first symbol is given: no surprise
        if self.vocab.level == "byte":
            first_bytes = np.flatnonzero((ids & 0xC0) != 0x80)
            nats = np.add.reduceat(nats, first_bytes) if len(ids) else nats
        return nats[1:]


def new_seed() -> int:
    """A seed that no earlier run had, short enough to type again."""
    return secrets.randbits(32)


def load(path: str | Path, *, num_threads: int | None = None) -> LanguageModel:
    """The model in a model file or in a run's directory.

    Args:
        path: ``model.safetensors`` or the like, or the directory of a run.
        num_threads: CPU threads for many streams; none: as many as there are cores. One stream takes one.

    Raises:
        InputError: there is no such file, or it is no whole model.
    """
    model = read_model(path)
    engine = open_engine(model.settings, model.weights, num_threads=num_threads)
    return LanguageModel(model.settings, model.vocab, engine=engine, facts=model.facts)
