"""Several models made one: a mixture, its weights equal or fitted on a text."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError, SettingsError
from charrnn.models.counts.settings import CountsSettings
from charrnn.models.mixture.predictor import Mixture, MixtureWeights
from charrnn.models.mixture.stored import to_arrays
from charrnn.models.open import open_model
from charrnn.models.shape import MixtureSettings
from charrnn.models.tree import Tree, weighted_cuts
from charrnn.storage.model_file import ModelFile, read_model, write_model
from charrnn.storage.run_directory import new_run
from charrnn.storage.run_files import MODEL_NAME
from charrnn.storage.run_name import find_run, runs_directory
from charrnn.storage.run_summary import stated_score
from charrnn.text.corpus import encode_source
from charrnn.text.source import find_sources
from charrnn.text.vocab import Vocab, describe_char

_NATS_PER_E = 0.25
_FITTED_AT_ONCE = 1000
MAX_FITTED = 200_000  # symbols of a text that weights are fitted on


def mixed(
    models: Sequence[ModelFile],
    *,
    fit_on: NDArray[np.int64] | None = None,
    num_threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> ModelFile:
    """The mixture of some models.

    Args:
        models: two or more, of one vocabulary.
        fit_on: (N,) symbols of a text that none of them has learned; the first ``MAX_FITTED`` are used. None: the
            weights stay as ``shares`` gives them.
        num_threads: CPU threads for many streams.
        progress: is told, again and again, how many more symbols have been fitted on.

    Raises:
        InputError: their vocabularies differ; says in what.
        SettingsError: there are fewer than two, or too many.
    """
    for other in models[1:]:
        require_same_vocab(models[0].vocab, other.vocab)
    vocab = models[0].vocab
    settings = MixtureSettings(tuple(model.settings for model in models))
    cuts = _cuts(models)
    weights = MixtureWeights.from_shares(shares(models), vocab.size)
    if fit_on is not None:
        members = [open_model(model.settings, model.weights, num_threads=num_threads) for model in models]
        mixture = Mixture(members, Tree(cuts), weights, learns=True)
        weights = _fitted(mixture, fit_on[:MAX_FITTED], progress)
    facts = {"members": [model.facts for model in models]}
    return ModelFile(settings, vocab, to_arrays([model.weights for model in models], cuts, weights), facts)


def _fitted(mixture: Mixture, ids: NDArray[np.int64], progress: Callable[[int], None] | None) -> MixtureWeights:
    """The mean of the weights over the second half of a text: the last ones suit its end best."""
    state = mixture.zero_state(1)
    kept = []
    for begin in range(0, len(ids), _FITTED_AT_ONCE):
        part = ids[begin : begin + _FITTED_AT_ONCE + 1, None]
        _, state = mixture.score(part[:-1], part[1:], state)
        if 2 * begin >= len(ids):
            kept.append(state.weights)
        if progress is not None:
            progress(len(ids[begin : begin + _FITTED_AT_ONCE]))
    return MixtureWeights(*(np.mean(parts, axis=0) for parts in zip(*(kept or [state.weights]), strict=True)))


def mixed_run(
    given: Sequence[str | Path],
    *,
    fit: str | None = None,
    name: str | None = None,
    out: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ModelFile, Path]:
    """Mixes models and keeps the mixture as a run.

    Args:
        given: two or more runs or model files, as ``find_run`` takes them.
        fit: a text, as in ``mixed``; None: nothing is fitted.
        name: of the run; None for that of the first model with "-mix" after it.
        out: directory that holds runs; None for ``runs_directory()``.
        progress: is told how many more symbols have been fitted on, and how many there are.

    Returns:
        the mixture, and the run's directory.

    Raises:
        InputError: a model or the text cannot be read, or vocabularies differ.
        SettingsError: there are too few models or too many, or the run cannot have that name.
        OutputError: the name is taken, or nothing can be written there.
    """
    if len(given) < 2:
        raise SettingsError("name two or more models to mix, such as a network and counts of the same text")
    paths = [find_run(each) for each in given]
    files = [read_model(path) for path in paths]
    ids = None if fit is None else fitting_ids(fit, files[0].vocab)
    total = 0 if ids is None else min(len(ids), MAX_FITTED)
    chosen = f"{paths[0].name if paths[0].is_dir() else paths[0].stem}-mix" if name is None else name
    with new_run(out or runs_directory(), chosen, is_chosen=name is not None) as directory:
        made = mixed(
            files, fit_on=ids, progress=None if progress is None else lambda num_more: progress(num_more, total)
        )
        write_model(directory / MODEL_NAME, made)
    return made, directory


def fitting_ids(name: str, vocab: Vocab, *, encoding: str = "utf-8") -> NDArray[np.int64]:
    """The symbols of one text that something is fitted on.

    Raises:
        InputError: it cannot be read, has unknown characters, or is several texts.
    """
    sources, _ = find_sources([name], level=vocab.level, encoding=encoding)
    if len(sources) > 1:
        raise InputError(f"{name!r} names {len(sources)} texts; name one to fit on")
    text = encode_source(sources[0], vocab, encoding=encoding)
    return np.asarray(text.ids, np.int64)


def shares(models: Sequence[ModelFile]) -> list[float]:
    """How much each model counts before anything is fitted: the more, the better its own held-out score.

    Shares are exp(-nats / 0.25), so that 0.17 nats make a model count twice as much. Of the numbers tried for networks
    and counts of English, French and Chinese, 0.14 to 0.4 were best, each for some; 0.2 to 0.3 lost least in the mean:
    0.005 nats against weights fitted on the text itself. Where a file states no score, all count the same.
    """
    scores = [stated_score(model.facts.get("held_out")) for model in models]
    if any(score is None for score in scores):
        return [1 / len(models)] * len(models)
    nats = np.array([score.nats_per_symbol for score in scores if score is not None])
    raised = np.exp((nats.min() - nats) / _NATS_PER_E)
    return [float(share) for share in raised / raised.sum()]


def require_same_vocab(one: Vocab, other: Vocab) -> None:
    """Makes sure that two models know the same symbols.

    Raises:
        InputError: they do not; says in what they differ.
    """
    if one == other:
        return
    if one.level != other.level:
        raise InputError(f"one model reads {one.level}s, the other {other.level}s; mix models of one level")
    mine, others = set(one.symbols), set(other.symbols)
    lacking = (("first", sorted(mine - others)), ("second", sorted(others - mine)))
    said = [
        f"only the {which} knows {', '.join(map(describe_char, chars[:3]))}"
        + (f" and {len(chars) - 3} more" if len(chars) > 3 else "")
        for which, chars in lacking
        if chars
    ]
    raise InputError(
        f"models of different vocabularies cannot be mixed: {'; '.join(said)}. Make both from the same text, "
        "or both of bytes (`level=byte`)"
    )


def _cuts(models: Sequence[ModelFile]) -> NDArray[np.int64]:
    """The decisions of the first counts among the models; where there are none, of symbols that are alike common."""
    for model in models:
        if isinstance(model.settings, CountsSettings):
            return np.array(model.weights["cuts"], np.int64)
        if isinstance(model.settings, MixtureSettings):
            return np.array(model.weights["cuts"], np.int64)
    return weighted_cuts(np.ones(models[0].vocab.size, np.int64))
