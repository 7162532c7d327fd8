"""Several models made one: a mixture, its weights equal or fitted on a text."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import InputError
from charrnn.models.counts.settings import CountsSettings
from charrnn.models.mixture.predictor import Mixture, MixtureWeights
from charrnn.models.mixture.settings import MixtureSettings
from charrnn.models.mixture.stored import to_arrays
from charrnn.models.open import open_model
from charrnn.models.tree import Tree, weighted_cuts
from charrnn.storage.model_file import ModelFile
from charrnn.storage.run_summary import stated_score
from charrnn.text.vocab import Vocab, describe_char

_NATS_PER_E = 0.14
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
        state = mixture.zero_state(1)
        for symbol in fit_on[:MAX_FITTED]:
            _, state = mixture.step(np.array([symbol]), state)
            if progress is not None:
                progress(1)
        weights = state.weights
    facts = {"members": [model.facts for model in models]}
    return ModelFile(settings, vocab, to_arrays([model.weights for model in models], cuts, weights), facts)


def shares(models: Sequence[ModelFile]) -> list[float]:
    """How much each model counts before anything is fitted: the more, the better its own held-out score.

    Shares are exp(-nats / 0.14), so that 0.1 nats make a model count twice as much: of the shares tried for a network
    and counts of Shakespeare and of English prose, those predicted best that were near to it. Where a file states no
    score, each counts as much as any other.
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
        "or both with --level byte"
    )


def _cuts(models: Sequence[ModelFile]) -> NDArray[np.int64]:
    """The decisions of the first counts among the models; where there are none, of symbols that are alike common."""
    for model in models:
        if isinstance(model.settings, CountsSettings):
            return np.array(model.weights["cuts"], np.int64)
        if isinstance(model.settings, MixtureSettings):
            return np.array(model.weights["cuts"], np.int64)
    return weighted_cuts(np.ones(models[0].vocab.size, np.int64))
