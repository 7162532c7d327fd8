"""A trained model as a Python object: new text, scores, rankings."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import SettingsError
from charrnn.fields import values_by_name
from charrnn.inference.generation import generate
from charrnn.inference.reading import ExactReading
from charrnn.inference.scoring import score_exact, score_lines
from charrnn.inference.settings import CopyingSettings, GenerationSettings
from charrnn.inference.training_text import find_training_text
from charrnn.models.copy_limit import Continuations, CopyLimit
from charrnn.models.open import open_model
from charrnn.models.predictor import Predictor
from charrnn.storage.model_file import ModelFile, model_path, read_model
from charrnn.storage.run_name import find_run
from charrnn.storage.run_summary import stated_score
from charrnn.units import Score


class LanguageModel:
    """A model with its vocabulary: p(next character | all before), to draw from and to score with.

    >>> import charrnn
    >>> model = charrnn.load("text")
    >>> print(model)  # doctest: +ELLIPSIS
    LSTM 1x32, one-hot input: 6,767 weights, 15 characters
    learned from 'text.txt'; 0... nats/char on held-out text
    checkpoints/text/model.safetensors
    >>> model
    LanguageModel(LSTM 1x32, one-hot input, 15 characters, 'checkpoints/text/model.safetensors')

    Args:
        file: the model as it is stored.
        num_threads: CPU threads for many streams, as which a long text is read too; none: as many as there are cores.
        path: of the file, where there is one.
        learns: whether it goes on learning from what it reads and writes; it then takes one text at a time.

    Attributes:
        settings: shape of the model.
        vocab: the symbols it knows.
        facts: what its file says of how it was made.
        path: of the file; None for a model that is in none. ``path.parent`` is the run, to resume.
        predictor: what computes; see ``charrnn.models.predictor``.
    """

    def __init__(
        self, file: ModelFile, *, num_threads: int | None = None, path: Path | None = None, learns: bool = False
    ) -> None:
        self.settings = file.settings
        self.vocab = file.vocab
        self.facts: Mapping[str, Any] = file.facts
        self.path = path
        self.predictor = open_model(file.settings, file.weights, num_threads=num_threads, learns=learns)

    def __repr__(self) -> str:
        where = "" if self.path is None else f", {str(self.path)!r}"
        return f"LanguageModel({self.settings.title}, {self._alphabet}{where})"

    def __str__(self) -> str:
        lines = [f"{self.settings.title}: {self.settings.num_parameters:,} weights, {self._alphabet}", self._origin]
        lines += [] if self.path is None else [str(self.path)]
        return "\n".join(line for line in lines if line)

    @property
    def _alphabet(self) -> str:
        """What it predicts: "65 characters"."""
        return f"{self.vocab.size:,} {'bytes' if self.vocab.level == 'byte' else 'characters'}"

    @property
    def _origin(self) -> str:
        """What the file says of its text, score and step, as far as it says it; it may say anything."""
        corpus, score = self.facts.get("corpus"), stated_score(self.facts.get("held_out"))
        names = corpus.get("names") if isinstance(corpus, dict) else None
        parts = []
        if names and isinstance(names, list):
            parts.append(f"learned from {', '.join(map(repr, names[:3]))}{' ...' if len(names) > 3 else ''}")
        if score is not None:
            parts.append(f"{score.nats_per_symbol:.4f} nats/{self.vocab.level} on held-out text")
        return "; ".join(parts)

    def sample(
        self,
        prompt: str = "",
        *,
        max_copy: int | None = None,
        **settings: Any,  # noqa: ANN401 - each of its own type
    ) -> list[str]:
        """New texts that continue the prompt, which they do not repeat.

        >>> import charrnn
        >>> texts = charrnn.load("text").sample("that is", length=13, num_samples=2, temperature=0.5)
        >>> texts
        [' the question', ' the question']

        Args:
            prompt: characters of the model's vocabulary; none: the text begins after a line's end.
            max_copy: most symbols in a row that are copied from the text that the model has learned from, which must
                lie where it was; None sets no limit.
            settings: any of ``GenerationSettings`` by name, such as length, temperature, num_samples; without a seed
                each call gives other texts.

        Raises:
            UnknownCharacterError: the prompt has characters that the vocabulary lacks.
            SettingsError: a setting is unknown, or a value is out of range.
        """
        chosen = _with_seed(settings)
        predictor = self.predictor if max_copy is None else self._limited(max_copy)
        texts: list[list[str]] = [[] for _ in range(chosen.num_samples)]
        for chunk in generate(predictor, self.vocab, chosen, prompt=prompt):
            texts[chunk.sample].append(chunk.text)
        return ["".join(parts) for parts in texts]

    def _limited(self, max_copy: int) -> Predictor:
        """What computes, with a limit to how much it copies."""
        CopyingSettings(max_copy=max_copy)  # refused where it is out of range
        if self.path is None:
            raise SettingsError("max_copy needs a model of a run, which knows where its text is")
        training = find_training_text(self.path, vocab=self.vocab, facts=self.facts)
        index = Continuations(training.ids, max_copy, self.predictor.num_symbols)
        return CopyLimit(self.predictor, index, when_forced=lambda: None)

    def stream(self, prompt: str = "", **settings: Any) -> Iterator[str]:  # noqa: ANN401 - each of its own type
        """One new text piece by piece, as it is made; arguments as in ``sample``, but for num_samples, which is 1.

        >>> import charrnn
        >>> pieces = charrnn.load("text").stream("that is", length=13, temperature=0)
        >>> "".join(pieces)
        ' the question'
        """
        chosen = _with_seed(settings)
        if chosen.num_samples != 1:
            raise SettingsError(f"num_samples is {chosen.num_samples}; a stream is one text, sample gives several")
        chunks = generate(self.predictor, self.vocab, chosen, prompt=prompt)
        return (chunk.text for chunk in chunks if chunk.text)

    def score(self, text: str) -> Score:
        """How well the model predicts a text: its first symbol is given, every other one predicted.

        >>> import charrnn
        >>> score = charrnn.load("text").score("to be or not to be")
        >>> score.num_predictions, score.perplexity < 3
        (17, True)

        Raises:
            UnknownCharacterError: the text has a character that the vocabulary lacks.
        """
        return score_exact(self.predictor, self.vocab.encode(text), vocab=self.vocab)

    def score_lines(self, texts: Iterable[str]) -> list[Score]:
        """Each text by itself, as a line that follows a line's end: N characters give N predictions.

        Where the vocabulary has no newline, a text's first character is given, and a newline at its end is
        left out.

        Raises:
            UnknownCharacterError: a text has a character that the vocabulary lacks.
            SettingsError: the texts are no list of texts, or the like.
        """
        lines = _listed(texts)
        if "\n" not in self.vocab:
            lines = [line.removesuffix("\n") for line in lines]
        return score_lines(self.predictor, [self.vocab.encode(line) for line in lines], vocab=self.vocab)

    def rank(self, texts: Iterable[str]) -> list[str]:
        """The texts from the most probable to the least, each as a line that follows a line's end.

        Texts of which nothing is predicted come last.

        >>> import charrnn
        >>> charrnn.load("text").rank(["not to be or to", "to be or not to"])
        ['to be or not to', 'not to be or to']

        Raises:
            UnknownCharacterError: a text has a character that the vocabulary lacks.
            SettingsError: the texts are no list of texts, or the like.
        """
        lines = _listed(texts)
        scores = self.score_lines(lines)
        order = sorted(range(len(lines)), key=lambda i: (not scores[i].num_predictions, scores[i].nats))
        return [lines[i] for i in order]

    def surprisals(self, text: str) -> NDArray[np.float64]:
        """-ln p of each character but the first (num_chars - 1,), in nats; several bytes give their sum.

        >>> import charrnn
        >>> charrnn.load("text").surprisals("to be or not to be").shape
        (17,)
        """
        ids = self.vocab.encode(text)
        parts = [nats for nats, _ in ExactReading(self.predictor, ids)]
        nats = np.concatenate([np.zeros(1), *parts])[: len(ids)]  # the first symbol is given: no surprise
        if self.vocab.level == "byte":
            first_bytes = np.flatnonzero((ids & 0xC0) != 0x80)
            nats = np.add.reduceat(nats, first_bytes) if len(ids) else nats
        return nats[1:]


def _listed(texts: Iterable[str]) -> list[str]:
    """The texts that any collection of them holds, once it is sure that they are such."""
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        raise SettingsError(f"texts is of type {type(texts).__name__}; it must be a list of texts, or the like")
    lines = list(texts)
    wrong = [type(line).__name__ for line in lines if not isinstance(line, str)]
    if wrong:
        raise SettingsError(f"texts holds something of type {wrong[0]}; each must be a text")
    return lines


def new_seed() -> int:
    """A seed that no earlier run had, short enough to type again."""
    return secrets.randbits(32)


def load(path: str | Path, *, num_threads: int | None = None) -> LanguageModel:
    """The model of a run, or in a model file.

    Args:
        path: a run's name or directory, or a model file.
        num_threads: CPU threads for many streams, as which a long text is read too; none: as many as there are cores.

    Raises:
        SettingsError: the path is empty.
        InputError: there is no such run or file, or it is not a whole model.
    """
    file = model_path(find_run(path))
    return LanguageModel(read_model(file), num_threads=num_threads, path=file)


def _with_seed(settings: Mapping[str, Any]) -> GenerationSettings:
    given = {name: value for name, value in settings.items() if not (name == "seed" and value is None)}
    # numpy's numbers, such as those of np.linspace, are numbers.
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
    return GenerationSettings(**{"seed": new_seed(), **values_by_name(plain, GenerationSettings)})
