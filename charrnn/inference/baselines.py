"""What simpler means make of a text, to judge a model's score by.

Each baseline learns from the text that the model has learned from and predicts the text that the model predicts. The
n-grams, like the model, are given a text's first symbol and predict the others. The compressors write the texts one
after the other behind the training text, and what that adds to the file is their score: they go on learning as they
write.

Source: n-grams, see ``models.counts.kneser_ney``; character frequencies with a half added to each count, Krichevsky and
Trofimov 1981.
"""

import bz2
import gzip
import lzma
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.copying import copied_share
from charrnn.inference.scoring import score_ids
from charrnn.inference.training_text import TrainingText
from charrnn.models.counts.kneser_ney import KneserNey
from charrnn.models.counts.learning import classes_of, learn
from charrnn.models.counts.predictor import Counts, GrowingCounts
from charrnn.models.counts.settings import DEFAULT_MEMORY, MAX_SYMBOLS, num_lines_for
from charrnn.text.corpus import Encoded
from charrnn.text.vocab import Vocab
from charrnn.units import ZERO_SCORE, bits

Ids = NDArray[Any]

MAX_LEARNED = 20_000_000  # symbols, the last of the training text: a few GiB of n-grams and of xz's dictionary
COPIED_LENGTH = 100  # characters: a passage so long is rarely written twice
_LEAST_SHARE = 0.01  # of a text that is copied, from which it is said
_WINDOWS = {"bz2": 900_000, "gzip": 32_768}  # bytes


@dataclass(frozen=True)
class Given:
    """What a baseline learns from and what it predicts.

    Attributes:
        learned: (N,) symbols of the training text.
        texts: (M,) symbols of each text.
        vocab: their vocabulary.
    """

    learned: Ids
    texts: Sequence[Ids]
    vocab: Vocab


class Cost(NamedTuple):
    """What texts cost a predictor.

    Attributes:
        nats: the sum of all predictions.
        num_chars: characters predicted.
        num_bytes: their UTF-8 bytes.
        learning_seconds: spent on the training text; None where that is not known.
        scoring_seconds: spent on the texts; by a compressor, on both together less those on the training text.
    """

    nats: float
    num_chars: int
    num_bytes: int
    learning_seconds: float | None
    scoring_seconds: float

    @property
    def bits_per_char(self) -> float:
        """Mean bits per character; nan where nothing was predicted."""
        return bits(self.nats) / self.num_chars if self.num_chars else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Mean bits per UTF-8 byte; nan where nothing was predicted."""
        return bits(self.nats) / self.num_bytes if self.num_bytes else math.nan


@dataclass(frozen=True)
class Baselines:
    """The costs of all baselines, and of what is compared with them.

    Attributes:
        costs: by the name of each, in the order in which they are shown.
        names: of the files of the training text.
        num_learned: symbols of it that were learned.
        copied_share: of the texts, the share that stands in the training text in passages of 100 characters or more.
        notes: what the user should know of them.
        level: what a symbol of the vocabulary is, "char" or "byte".
    """

    costs: Mapping[str, Cost]
    names: tuple[str, ...]
    num_learned: int
    copied_share: float
    notes: tuple[str, ...] = ()
    level: str = "char"


Nats = Callable[[Ids], NDArray[np.float64]]


def _predicting(learn: Callable[[Ids, int], Nats]) -> Callable[[Given], Cost]:
    """A baseline that predicts each symbol of a text but the first.

    Args:
        learn: takes the training text and V, and gives what takes a text (M,) and gives -ln p of all but its first
            symbol (M - 1,).
    """

    def cost(given: Given) -> Cost:
        started = time.perf_counter()
        nats = learn(given.learned, given.vocab.size)
        learned = time.perf_counter()
        total = math.fsum(float(nats(ids).sum()) for ids in given.texts)
        scored = time.perf_counter()
        sizes = [given.vocab.measure(ids[1:]) for ids in given.texts]
        return Cost(total, sum(c for c, _ in sizes), sum(b for _, b in sizes), learned - started, scored - learned)

    return cost


def _uniform(learned: Ids, num_symbols: int) -> Nats:
    return lambda ids: np.full(max(len(ids) - 1, 0), math.log(num_symbols))


def _frequencies(learned: Ids, num_symbols: int) -> Nats:
    counts = np.bincount(learned, minlength=num_symbols) + 0.5
    nats = -np.log(counts / counts.sum())
    return lambda ids: nats[ids[1:]]


def _n_gram(learned: Ids, num_symbols: int, *, order: int) -> Nats:
    model = KneserNey.fit(learned, order, num_symbols)
    return lambda ids: model.nats(ids[1:], context=ids[:1])


def _counted(given: Given, *, learns: bool) -> dict[str, Cost]:
    """A model of counts as ``charrnn count`` makes it, by name; with the one that goes on counting, where it is asked.

    There is none of more symbols than counts can tell apart.
    """
    if given.vocab.size > MAX_SYMBOLS:
        return {}
    started = time.perf_counter()
    num_lines = num_lines_for(len(given.learned), most_bytes=DEFAULT_MEMORY << 20)
    learned = learn(given.learned.astype(np.int64), classes_of(given.vocab), num_lines=num_lines)
    seconds = time.perf_counter() - started
    predictors: dict[str, Counts | GrowingCounts] = {
        "counts": Counts(learned.tables.with_weights(learned.fixed_weights))
    }
    if learns:
        predictors["dynamic counts"] = GrowingCounts(learned.tables)
    costs = {}
    for name, predictor in predictors.items():
        started = time.perf_counter()
        score = sum((score_ids(predictor, ids, vocab=given.vocab) for ids in given.texts), ZERO_SCORE)
        scoring_seconds = time.perf_counter() - started
        costs[name] = Cost(score.nats, score.num_chars, score.num_bytes, seconds, scoring_seconds)
    return costs


def _compressing(compress: Callable[[bytes], bytes]) -> Callable[[Given], Cost]:
    """A baseline that writes texts behind the training text, every character of them."""

    def cost(given: Given) -> Cost:
        learned = _utf8(given.learned, given.vocab)
        texts = b"".join(_utf8(ids, given.vocab) for ids in given.texts)
        started = time.perf_counter()
        before = len(compress(learned))
        between = time.perf_counter()
        added = len(compress(learned + texts)) - before
        seconds = between - started
        # The training text is written twice: as of the bits, so of the seconds.
        more_seconds = max(time.perf_counter() - between - seconds, 0.0)
        num_chars = sum(given.vocab.measure(ids)[0] for ids in given.texts)
        return Cost(8 * added * math.log(2), num_chars, len(texts), seconds, more_seconds)

    return cost


def _utf8(ids: Ids, vocab: Vocab) -> bytes:
    return np.asarray(ids).tobytes() if vocab.level == "byte" else vocab.decode(ids).encode()


def _xz(data: bytes) -> bytes:
    """The strongest setting, with a dictionary that reaches back to the first byte."""
    preset = 9 | lzma.PRESET_EXTREME
    dictionary = max(len(data), 1 << 16)
    return lzma.compress(data, filters=[{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary}])


BASELINES: dict[str, Callable[[Given], Cost]] = {
    "uniform": _predicting(_uniform),
    "order 0": _predicting(_frequencies),
    "3-gram": _predicting(partial(_n_gram, order=3)),
    "5-gram": _predicting(partial(_n_gram, order=5)),
    "xz": _compressing(_xz),
    "bz2": _compressing(partial(bz2.compress, compresslevel=9)),
    "gzip": _compressing(partial(gzip.compress, compresslevel=9, mtime=0)),
}
"""By name, in the order in which they are shown: what each makes of a text."""


def compare(
    texts: Sequence[Encoded],
    training: TrainingText,
    vocab: Vocab,
    *,
    beside: Mapping[str, Cost] | None = None,
    learns: bool = False,
) -> Baselines:
    """What all baselines make of texts.

    Args:
        texts: to be predicted, each from its own start.
        training: what they learn from; of a longer text the last 20 million symbols.
        vocab: the vocabulary of all of them.
        beside: what others made of the texts, to be listed after the baselines.
        learns: whether to score counts that go on counting too.
    """
    learned = np.asarray(training.ids[-MAX_LEARNED:])
    notes = list(training.notes)
    if len(learned) < len(training.ids):
        notes.append(f"the baselines learn from the last {len(learned):,} of {len(training.ids):,} symbols")
    num_bytes = vocab.measure(learned)[1]
    short = [f"{name} looks back {window:,} bytes" for name, window in _WINDOWS.items() if num_bytes > window]
    if short:
        notes.append(f"{' and '.join(short)} at most, of {num_bytes:,} bytes of training text")
    shares = [copied_share(text.ids, training.ids, length=COPIED_LENGTH) for text in texts]
    for text, share in zip(texts, shares, strict=True):
        if share >= _LEAST_SHARE:
            unit = "bytes" if vocab.level == "byte" else "characters"
            notes.append(
                f"{100 * share:.0f} % of {text.name!r} is in the training text too, in passages of "
                f"{min(COPIED_LENGTH, len(text.ids))} {unit} or more: that is easier to predict than new text"
            )
    given = Given(learned, [text.ids for text in texts], vocab)
    num_symbols = sum(len(text.ids) for text in texts)
    share = sum(share * len(text.ids) for share, text in zip(shares, texts, strict=True)) / num_symbols
    costs = {name: cost(given) for name, cost in BASELINES.items()} | _counted(given, learns=learns)
    return Baselines({**costs, **(beside or {})}, training.names, len(learned), share, tuple(notes), vocab.level)
