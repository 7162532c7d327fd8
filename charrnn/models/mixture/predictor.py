"""Several predictors mixed into one: log odds of decisions, added with weights that depend on who is how sure.

Each symbol is found by decisions (``models/tree.py``). In each, member m says log odds x_m; what comes out has

    z = sum_m w_m x_m        w = shared + by_node[node] + sum_m by_sureness[m, class of member m's largest probability]

so the mixture trusts counts that know what follows, and asks the network where they do not. It is fitted, or goes on
learning, by the gradient of -ln p of the symbol that came: w_m += rate (bit - p) x_m.

Legend: M members, B streams, V symbols.

Source: logistic mixing, Mattern 2012; weights chosen by context, Mahoney 2005.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.models.mixture.settings import NUM_CLASSES, mixture_shapes
from charrnn.models.predictor import Predictor
from charrnn.models.tree import Tree

Array = NDArray[Any]

_BIAS = 0.3
_NODE_SHARE = 0.3  # of a step that each node's own weights take: there are many, and each learns from less
_FIRST_RATE, _LAST_RATE, _RATE_SYMBOLS = 0.002, 0.0005, 20_000


class MixtureWeights(NamedTuple):
    """How far each member is trusted; the last column is for an input that is constant.

    Attributes:
        shared: (M + 1,).
        by_node: (V - 1, M + 1).
        by_sureness: (M, NUM_CLASSES, M + 1).
    """

    shared: NDArray[np.float64]
    by_node: NDArray[np.float64]
    by_sureness: NDArray[np.float64]

    @classmethod
    def from_shares(cls, shares: Sequence[float], num_symbols: int) -> "MixtureWeights":
        """The same everywhere: each member's share, which add up to 1."""
        shapes = mixture_shapes(len(shares), num_symbols)
        made = cls(*(np.zeros(shape) for shape in shapes.values()))
        made.shared[:-1] = shares
        return made

    def copy(self) -> "MixtureWeights":
        """Weights of their own."""
        return MixtureWeights(*(part.copy() for part in self))


class _Inputs(NamedTuple):
    """What was said of the next symbol: log odds (B, V - 1, M + 1), and how sure each member was (B, M)."""

    log_odds: NDArray[np.float64]
    sureness: NDArray[np.int64]


@dataclass(frozen=True)
class MixtureState:
    """What a mixture remembers of each stream.

    Attributes:
        members: each member's own state.
        weights: as they have become.
        said: of the symbol to come, where the mixture learns; None before the first symbol.
        num_learned: symbols learned from.
    """

    members: tuple[Any, ...]
    weights: MixtureWeights
    said: _Inputs | None = None
    num_learned: int = 0

    def of_streams(self, streams: Any) -> "MixtureState":  # noqa: ANN401 - whatever numpy takes as an index
        """The state of some streams, by index; an index may come twice."""
        said = self.said and _Inputs(*(np.atleast_1d(part[streams]) for part in self.said))
        return MixtureState(
            tuple(member.of_streams(streams) for member in self.members), self.weights, said, self.num_learned
        )


class Mixture(Predictor):
    """A mixture of predictors of the same symbols.

    Args:
        members: two or more.
        tree: of the decisions.
        weights: how far each is trusted; left as they are.
        learns: whether the weights go on learning from what is read, in one stream.

    Raises:
        ValueError: a member predicts another number of symbols.
    """

    def __init__(
        self, members: Sequence[Predictor], tree: Tree, weights: MixtureWeights, *, learns: bool = False
    ) -> None:
        self._members = tuple(members)
        self._tree = tree
        self._weights = weights
        self._learns = learns
        if {member.num_symbols for member in members} != {len(tree.path)}:
            raise ValueError("members of a mixture must predict the same symbols")

    @property
    def num_symbols(self) -> int:
        """V."""
        return len(self._tree.path)

    def zero_state(self, num_streams: int) -> MixtureState:
        """The state at the start of a text.

        Raises:
            ValueError: it learns, or a member does, and there is not just one stream.
        """
        if self._learns and num_streams != 1:
            raise ValueError("a mixture that learns reads one stream at a time")
        return MixtureState(tuple(member.zero_state(num_streams) for member in self._members), self._weights)

    def step(self, ids: Array, state: MixtureState) -> tuple[Array, MixtureState]:
        """Ln p (B, V) of what follows ``ids`` (B,), and the state after reading them, and learning from them."""
        weights, num_learned = state.weights, state.num_learned
        if self._learns and state.said is not None:
            weights = weights.copy()
            self._learn(weights, state.said, int(ids[0]), num_learned)
            num_learned += 1
        steps = [member.step(ids, each) for member, each in zip(self._members, state.members, strict=True)]
        said = self._said([logits for logits, _ in steps])
        found = self._tree.log_probabilities(_mixed(weights, said))
        kept = said if self._learns else None
        return found, MixtureState(tuple(after for _, after in steps), weights, kept, num_learned)

    def _said(self, logits: Sequence[Array]) -> _Inputs:
        odds, sureness = [], []
        for each in logits:
            p = np.exp(each.astype(np.float64) - each.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            odds.append(self._tree.log_odds(p))
            most = np.minimum(p.max(axis=1), 1 - 1e-9)
            sureness.append(np.clip(np.log(most / (1 - most)) + 3, 0, NUM_CLASSES - 1).astype(np.int64))
        odds.append(np.full_like(odds[0], _BIAS))
        return _Inputs(np.stack(odds, axis=2), np.stack(sureness, axis=1))

    def _learn(self, weights: MixtureWeights, said: _Inputs, symbol: int, num_learned: int) -> None:
        """Moves the weights towards what would have made the symbol more probable."""
        path = self._tree.path[symbol]
        nodes = path[path >= 0]
        x = said.log_odds[0, nodes]
        p = 1 / (1 + np.exp(-_mixed(weights, said)[0, nodes]))
        rate = _LAST_RATE + (_FIRST_RATE - _LAST_RATE) / (1 + num_learned / _RATE_SYMBOLS)
        steps = rate * (self._tree.bits[symbol, : len(nodes)] - p)[:, None] * x
        weights.by_node[nodes] += _NODE_SHARE * steps
        whole = steps.sum(axis=0)
        weights.shared[:] += whole
        weights.by_sureness[np.arange(len(self._members)), said.sureness[0]] += whole


def _mixed(weights: MixtureWeights, said: _Inputs) -> NDArray[np.float64]:
    """Each node's log odds, (B, V - 1)."""
    members = np.arange(said.sureness.shape[1])
    per_stream = weights.shared + weights.by_sureness[members, said.sureness].sum(axis=1)  # (B, M + 1)
    whole: NDArray[np.float64] = ((weights.by_node + per_stream[:, None]) * said.log_odds).sum(axis=2)
    return whole
