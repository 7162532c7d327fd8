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
_STEPS_AT_ONCE = 256
_NUMBERS_AT_ONCE = 1 << 20  # of each member, in float64
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

    def at(self, stream: int, nodes: NDArray[np.int64]) -> "_Inputs":
        """The same of one stream and of some nodes."""
        return _Inputs(self.log_odds[stream, nodes][None], self.sureness[stream][None])


class _Path(NamedTuple):
    """The way to a symbol: nodes (N,), and whether it goes right there (N,)."""

    nodes: NDArray[np.int64]
    bits: NDArray[np.bool_]


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
            path = self._path(int(ids[0]))
            self._learn(weights, state.said.at(0, path.nodes), path, num_learned)
            num_learned += 1
        steps = [member.step(ids, each) for member, each in zip(self._members, state.members, strict=True)]
        said = self._said([logits for logits, _ in steps])
        found = self._tree.log_probabilities(_mixed(weights, said))
        kept = said if self._learns else None
        return found, MixtureState(tuple(after for _, after in steps), weights, kept, num_learned)

    def score(self, ids: Array, targets: Array, state: MixtureState) -> tuple[Array, MixtureState]:
        """-ln p(targets[t]), (T, B) float64, having read ``ids[:t + 1]`` (T, B); and the state after all.

        Only the decisions on the way to each target are mixed, and those of many steps at once.
        """
        if not len(ids) or (self._learns and (ids[1:] != targets[:-1]).any()):
            return super().score(ids, targets, state)
        nats = np.empty(ids.shape)
        num_steps = max(1, min(_STEPS_AT_ONCE, _NUMBERS_AT_ONCE // (ids.shape[1] * self.num_symbols)))
        for begin in range(0, len(ids), num_steps):
            end = begin + num_steps
            nats[begin:end], state = self._score_some(ids[begin:end], targets[begin:end], state)
        return nats, state

    def _score_some(self, ids: Array, targets: Array, state: MixtureState) -> tuple[Array, MixtureState]:
        weights, num_learned = state.weights, state.num_learned
        if self._learns:
            weights = weights.copy()
            if state.said is not None:
                path = self._path(int(ids[0, 0]))
                self._learn(weights, state.said.at(0, path.nodes), path, num_learned)
                num_learned += 1
        logits = [np.empty((*ids.shape, self.num_symbols)) for _ in self._members]
        members = list(state.members)
        for m, member in enumerate(self._members):
            for t, row in enumerate(ids):
                logits[m][t], members[m] = member.step(row, members[m])
        said = self._said([each.reshape(-1, self.num_symbols) for each in logits])
        if not self._learns:
            nats = self._nats(weights, said, targets.ravel())
        else:
            nats = np.empty(len(ids))
            for t, target in enumerate(targets[:, 0].tolist()):
                path = self._path(target)
                inputs = said.at(t, path.nodes)
                z = _mixed_at(weights, inputs, path.nodes)
                nats[t] = np.logaddexp(0, np.where(path.bits, -z, z)).sum()
                if t + 1 < len(ids):
                    self._learn(weights, inputs, path, num_learned)
                    num_learned += 1
        last = len(ids) - 1
        kept = _Inputs(said.log_odds[last:], said.sureness[last:]) if self._learns else None
        return nats.reshape(targets.shape), MixtureState(tuple(members), weights, kept, num_learned)

    def _nats(self, weights: MixtureWeights, said: _Inputs, targets: Array) -> NDArray[np.float64]:
        """-ln p of one symbol for each row of what was said."""
        paths, bits = self._tree.path[targets], self._tree.bits[targets]  # (N, D)
        odds = said.log_odds[np.arange(len(targets))[:, None], paths]  # (N, D, M + 1)
        z = ((weights.by_node[paths] + _per_stream(weights, said)[:, None]) * odds).sum(axis=2)
        nats: NDArray[np.float64] = np.where(paths >= 0, np.logaddexp(0, np.where(bits, -z, z)), 0).sum(axis=1)
        return nats

    def _path(self, symbol: int) -> _Path:
        nodes = self._tree.path[symbol]
        return _Path(nodes[nodes >= 0], self._tree.bits[symbol, nodes >= 0])

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

    def _learn(self, weights: MixtureWeights, said: _Inputs, path: _Path, num_learned: int) -> None:
        """Moves the weights towards what would have made a symbol more probable.

        Args:
            weights: changed in place.
            said: of one stream, at the nodes of the path alone.
            path: the way to the symbol.
            num_learned: symbols learned from before.
        """
        p = 1 / (1 + np.exp(-_mixed_at(weights, said, path.nodes)))
        rate = _LAST_RATE + (_FIRST_RATE - _LAST_RATE) / (1 + num_learned / _RATE_SYMBOLS)
        steps = rate * (path.bits - p)[:, None] * said.log_odds[0]
        weights.by_node[path.nodes] += _NODE_SHARE * steps
        whole = steps.sum(axis=0)
        weights.shared[:] += whole
        weights.by_sureness[np.arange(len(self._members)), said.sureness[0]] += whole


def _per_stream(weights: MixtureWeights, said: _Inputs) -> NDArray[np.float64]:
    """The weights of all nodes alike, (B, M + 1)."""
    members = np.arange(said.sureness.shape[1])
    found: NDArray[np.float64] = weights.shared + weights.by_sureness[members, said.sureness].sum(axis=1)
    return found


def _mixed(weights: MixtureWeights, said: _Inputs) -> NDArray[np.float64]:
    """Each node's log odds, (B, V - 1)."""
    per_stream = _per_stream(weights, said)
    whole: NDArray[np.float64] = ((weights.by_node + per_stream[:, None]) * said.log_odds).sum(axis=2)
    return whole


def _mixed_at(weights: MixtureWeights, said: _Inputs, nodes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The log odds of some nodes, which alone were said, of one stream, (N,)."""
    whole: NDArray[np.float64] = ((weights.by_node[nodes] + _per_stream(weights, said)) * said.log_odds[0]).sum(axis=1)
    return whole
