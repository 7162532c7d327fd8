"""Counts of contexts, mixed: the equations in numpy.

``native/counts.c`` gives the same numbers, a hundred times faster.

Each symbol is found by decisions (``tree.py``). In each of K contexts a slot holds the odds of one decision: as ever,
and lately. What such odds have meant so far is learned (``ever``, ``lately``: rows by how often the slot was seen), and
so is how far to trust each context: four mixers, whose weights are chosen by the node, by the match, by the longest
context seen and by the last symbol, add up log odds; a fifth mixes the four, and two corrections end it.

    x_2k   = log odds that odds like those of slot k turned out to have       (0 where the slot was never seen)
    z_s    = w_s[choice_s] . x            p_s = 1 / (1 + exp(-z_s))
    z      = v[node] . (z_1, z_2, z_3, z_4)
    p      = p_mixed / 2 + (first[last symbol, node](z) + second[last two symbols, node](z)) / 4

    learning y:   w_s += rate (y - p_s) x      v += rate (y - p_mixed) z_s      slots += (y - slot) / (seen + 1.6)

All that learns does so after the whole symbol is predicted. Contexts are the last 0 to 6 symbols, and the last 8, 12
and 18; words; and the place in the line. The longest places in the text where what came before is the same are two
further inputs. A long context is counted only where the next shorter one was seen before, and was not sure enough of
what came.

Legend: V symbols, B streams, T steps, K contexts, M matches, I inputs of a mixer.

Source: context mixing, Mahoney 2005 (the PAQ compressors); logistic mixing, Mattern 2012.
"""

from dataclasses import dataclass
from math import log  # numpy's differs from C's in the last bit
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.models.counts.settings import (
    BINS,
    DEPTHS,
    FIRST_BITS,
    LENGTHS,
    LEVELS,
    LINE_SLOTS,
    MIN_LENGTHS,
    MIXERS,
    NUM_CONTEXTS,
    NUM_INPUTS,
    NUM_MATCHES,
    NUM_ORDERS,
    ORDERS,
    RECENT,
    SECOND_BITS,
)
from charrnn.models.counts.tables import CONSTANTS, LETTER, NEWLINE, Learn, Tables

Array = NDArray[Any]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_GROUP_DEPTH = 3
_MAX_SEEN = 250
_MAX_LENGTH = 400
_LAZY = 5
_SURE_SEEN = 4
_SURE_MARGIN = 4096
_F = np.float32


def read(
    tables: Tables,
    readers: Array,
    ids: Array,
    *,
    targets: Array | None = None,
    logits: bool = False,
    learn: Learn = Learn.NOTHING,
    num_threads: int | None = None,
) -> tuple[Array, Array]:
    """Reads symbols; see ``native.counts.read``, whose arguments and results are the same."""
    nats = np.zeros(ids.shape if targets is not None else (0, ids.shape[1]))
    found = np.zeros((ids.shape[1] if logits else 0, tables.num_symbols))
    for b in range(ids.shape[1]):
        reader = readers[b : b + 1]
        learned = False
        for t, symbol in enumerate(ids[:, b].tolist()):
            if learn and not learned and reader["num_read"][0]:
                _meet(tables, reader, symbol, learn)
            _push(tables, reader, symbol, learns=bool(learn & Learn.COUNTS))
            if targets is None:
                continue
            target = int(targets[t, b])
            learned = bool(learn) and t + 1 < len(ids) and int(ids[t + 1, b]) == target
            nats[t, b] = _meet(tables, reader, target, learn if learned else Learn.NOTHING)
        if logits:
            _spread(tables, _look(tables, reader), _Node(0, 0, tables.num_symbols), 0.0, found[b])
    return nats, found


def _scramble(x: int) -> int:
    x &= _MASK
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & _MASK
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & _MASK
    return x ^ (x >> 33)


def _recent(reader: Array, back: int) -> int:
    num_read = int(reader["num_read"][0])
    return int(reader["recent"][0, (num_read - back) % RECENT]) + 1 if num_read >= back else 0


def _length_class(length: int) -> int:
    for bound, first, start, width in ((16, 0, 0, 1), (32, 16, 16, 4), (64, 20, 32, 8), (512, 24, 64, 64)):
        if length < bound:
            return first + (length - start) // width
    return LENGTHS - 1


# ---- reading ----


def _push(tables: Tables, reader: Array, symbol: int, *, learns: bool) -> None:
    """Takes a symbol into what is remembered of the stream, and into the text where it is learned from."""
    pointers, lengths, rolling, words = (reader[name][0] for name in ("pointers", "lengths", "rolling", "words"))
    for m, min_length in enumerate(MIN_LENGTHS):
        leaving = pow(_GOLDEN, min_length, 1 << 64) * _recent(reader, min_length)
        rolling[m] = (int(rolling[m]) * _GOLDEN + symbol + 1 - leaving) & _MASK
        if lengths[m] and pointers[m] < tables.num_text and tables.text[pointers[m]] == symbol:
            lengths[m] += 1
            pointers[m] += 1
        else:
            lengths[m] = 0
    reader["recent"][0, int(reader["num_read"][0]) % RECENT] = symbol
    reader["num_read"] += 1
    kind = int(tables.classes[symbol])
    if kind == LETTER:
        words[0] = _scramble(int(words[0]) + symbol + 1)
    elif words[0]:
        words[:] = 0, words[0], words[1]
    if kind == NEWLINE:
        reader["line_before"] = reader["line_start"]
        reader["line_start"] = reader["num_read"]
    if learns and tables.num_text < len(tables.text):
        tables.text[tables.num_text] = symbol
        tables.num_text += 1
    for m, min_length in enumerate(MIN_LENGTHS):
        if reader["num_read"][0] < min_length:
            continue
        place = _scramble(int(rolling[m])) & (tables.places.shape[1] - 1)
        at = int(tables.places[m, place])
        if not lengths[m] and at:
            length = 0
            while (
                length < min(_MAX_LENGTH, at) and _recent(reader, length + 1) == int(tables.text[at - 1 - length]) + 1
            ):
                length += 1
            if length >= min_length:
                pointers[m], lengths[m] = at, length
        if learns:
            tables.places[m, place] = tables.num_text


@dataclass(frozen=True)
class _Position:
    """Of one symbol that is to come.

    Attributes:
        hashes: (K,) of the contexts.
        expected: (M,) the symbol that follows in the match, or -1.
        lengths: (M,) its class of length; 0: no match.
        last: the last symbol plus 1, or 0.
        last_two: the same of the last two.
    """

    hashes: list[int]
    expected: list[int]
    lengths: list[int]
    last: int
    last_two: int


def _look(tables: Tables, reader: Array) -> _Position:
    hashes, running = [], 0
    for k, (order, before_it) in enumerate(zip(ORDERS, (0, *ORDERS), strict=False)):
        for back in range(before_it + 1, order + 1):
            running = _scramble(running + _recent(reader, back) * _GOLDEN)
        hashes.append(_scramble(running + k))
    last, before = _recent(reader, 1), _recent(reader, 2)
    word, one, two = (int(value) for value in reader["words"][0])
    num_read, line_start, line_before = (int(reader[name][0]) for name in ("num_read", "line_start", "line_before"))
    column = num_read - line_start
    above_at = line_before + column
    has_above = above_at < line_start and num_read - above_at <= RECENT
    above = int(reader["recent"][0, above_at % RECENT]) + 1 if has_above else 0
    others = [
        word,
        word * 31 + one * 17 + last,
        word * 13 + one * 7 + two * 3,
        one * 5 + two * 9 + last * 1001 + (0 if word else 1),
        min(column, RECENT) * _GOLDEN + above,
        (above * _GOLDEN + last) * _GOLDEN + before,
    ]
    hashes += [_scramble(other + k * 0x2545F4914F6CDD1D) for k, other in enumerate(others, NUM_ORDERS)]
    expected, lengths = [], []
    for m in range(NUM_MATCHES):
        pointer, length = int(reader["pointers"][0, m]), int(reader["lengths"][0, m])
        goes_on = length > 0 and pointer < tables.num_text
        expected.append(int(tables.text[pointer]) if goes_on else -1)
        lengths.append(_length_class(length) if goes_on else 0)
    return _Position(hashes, expected, lengths, last, last * 65537 + before)


# ---- one decision ----


@dataclass
class _Node:
    """Symbols lo to hi, of which one is to be found; group is the node whose line the slots lie in."""

    node: int
    lo: int
    hi: int
    depth: int = 0
    group: int = 0
    lines: tuple[int, ...] = ()
    checks: tuple[int, ...] = ()

    def enter(self, tables: Tables, position: _Position) -> None:
        if self.depth % _GROUP_DEPTH:
            return
        self.group = self.node
        hashes = [_scramble(value + (self.group + 1) * _GOLDEN) for value in position.hashes]
        self.lines = tuple(value & (len(tables.lines) - 1) for value in hashes)
        self.checks = tuple(value >> 48 for value in hashes)

    def part(self, tables: Tables, bit: int) -> "_Node":
        cut = int(tables.cuts[self.node])
        node = self.node + (cut - self.lo if bit else 1)
        lo, hi = (cut, self.hi) if bit else (self.lo, cut)
        return _Node(node, lo, hi, self.depth + 1, self.group, self.lines, self.checks)


class _Slot(NamedTuple):
    """A place in a line; at is -1 where there is none yet."""

    line: Any  # a record of LINE
    at: int
    check: int

    @property
    def seen(self) -> int:
        return int(self.line["seen"][self.at]) if self.at >= 0 else 0


@dataclass(frozen=True)
class _Decision:
    slots: list[_Slot]
    seen: Array
    ever: Array
    known: Array
    levels: Array
    bins: tuple[Array, Array]
    parts: tuple[Array, Array]
    agrees: list[int]
    inputs: Array
    choices: tuple[int, ...]
    z: Array
    p: Array
    mixed: np.float32
    rows: tuple[int, int]
    bin_z: int
    part_z: np.float32
    probability: np.float32


def _find(tables: Tables, node: _Node, k: int) -> _Slot:
    """The slot of a decision in context k, if there is one."""
    check = node.checks[k] ^ ((node.node - node.group) * 0x9E37 & 0xFFFF) or 1
    line = tables.lines[node.lines[k]]
    same = np.flatnonzero(line["check"] == check)
    return _Slot(line, int(same[0]) if len(same) else -1, check)


def _claimed(slot: _Slot) -> _Slot:
    """A slot to learn with: where there is none, one of its line gives way: seen least, and longest there."""
    line = slot.line
    if slot.at >= 0 and line["check"][slot.at] == slot.check:
        return slot
    order = (int(line["hand"]) + np.arange(LINE_SLOTS)) % LINE_SLOTS
    least = int(order[np.argmin(line["seen"][order])])
    line["hand"] = (least + 1) % LINE_SLOTS
    line["check"][least], line["seen"][least] = slot.check, 0
    line["ever"][least] = line["lately"][least] = 32768
    return slot._replace(at=least)


def _between(row: Array, bins: Any, parts: Any) -> Any:  # noqa: ANN401 - numbers or arrays of them
    return row[bins] + (row[bins + 1] - row[bins]) * parts


def _log_odds(p: Any) -> Any:  # noqa: ANN401 - a number or an array
    return CONSTANTS.stretch[(p * _F(4096)).astype(np.int64)]


def _probability_of(z: Array) -> Array:
    q = (np.clip(z, _F(-13.9), _F(13.9)) + _F(14)) * (_F(4096) / _F(28))
    i = q.astype(np.int64)
    found: Array = CONSTANTS.squash[i] + (CONSTANTS.squash[i + 1] - CONSTANTS.squash[i]) * (q - i.astype(_F))
    return found


def _dot(w: Array, x: Array) -> np.float32:
    """Sums eight by eight, as a processor does that adds eight numbers at a time."""
    sums = np.zeros(8, _F)
    for products in (w * x).reshape(-1, 8):
        sums += products
    a, b, c, d, e, f, g, h = sums
    return np.float32(((a + e) + (c + g)) + ((b + f) + (d + h)))


def _row_of(context: int, node: int, bits: int) -> int:
    return _scramble(context * _GOLDEN + node) >> (64 - bits)


def _decide(tables: Tables, position: _Position, node: _Node) -> _Decision:
    """P of bit 1, that the symbol lies right of the cut, and all that led to it."""
    w = tables.weights
    slots: list[_Slot] = []
    seen = np.zeros(NUM_CONTEXTS, np.int64)
    odds = np.zeros((2, NUM_CONTEXTS), np.int64)
    for k in range(NUM_CONTEXTS):
        slot = _find(tables, node, k)
        slots.append(slot)
        seen[k] = slot.seen
        if seen[k]:
            odds[:, k] = slot.line["ever"][slot.at], slot.line["lately"][slot.at]
    known = np.flatnonzero(seen)
    levels = CONSTANTS.levels[seen[known]]
    x = np.zeros(NUM_INPUTS, _F)
    bins, parts = [], []
    for at, name in enumerate(("ever", "lately")):
        place = CONSTANTS.bins[odds[at, known] >> 4]
        bins.append(place.astype(np.int64))
        parts.append(place - bins[at].astype(_F))
        flat = w[name].reshape(-1)
        rows = (known * LEVELS + levels) * BINS
        x[2 * known + at] = _log_odds(_between(flat, rows + bins[at], parts[at]))
    cut = int(tables.cuts[node.node])
    agrees = []
    for m in range(NUM_MATCHES):
        within, bit = node.lo <= position.expected[m] < node.hi, position.expected[m] >= cut
        agrees.append(1 + bit if within else 0)
        if within:
            p, sign = w["match"][m, position.lengths[m]], _F(1 if bit else -1)
            x[2 * NUM_CONTEXTS + 2 * m] = sign * _log_odds(p)
            x[2 * NUM_CONTEXTS + 2 * m + 1] = sign * (p - _F(0.5)) * _F(4)
    x[2 * NUM_CONTEXTS + 2 * NUM_MATCHES] = 0.3
    longest = max((int(k) for k in known if k < NUM_ORDERS), default=0)
    choices = (
        node.node,
        (position.lengths[0] if agrees[0] else 0) * 3 + agrees[0],
        longest * DEPTHS + min(node.depth, DEPTHS - 1),
        position.last,
    )
    z = np.array([_dot(w[name][choice], x) for name, choice in zip(MIXERS, choices, strict=True)], _F)
    z = np.clip(z, _F(-13.9), _F(13.9))
    final = w["final"][node.node]
    total = np.clip(((final[0] * z[0] + final[1] * z[1]) + final[2] * z[2]) + final[3] * z[3], _F(-11.99), _F(11.99))
    mixed = _probability_of(np.array([total]))[0]
    at_z = (total + _F(12)) * (_F(4) / _F(3))
    bin_z = int(at_z)
    part_z = at_z - _F(bin_z)
    rows_z = (_row_of(position.last, node.node, FIRST_BITS), _row_of(position.last_two, node.node, SECOND_BITS))
    corrected = _between(w["first"][rows_z[0]], bin_z, part_z) + _between(w["second"][rows_z[1]], bin_z, part_z)
    probability = _F(0.5) * mixed + _F(0.25) * corrected
    return _Decision(
        slots,
        seen,
        odds[0],
        known,
        levels,
        (bins[0], bins[1]),
        (parts[0], parts[1]),
        agrees,
        x,
        choices,
        z,
        _probability_of(z),
        mixed,
        rows_z,
        bin_z,
        part_z,
        probability,
    )


def _learn_between(row: Array, bin_: int, part: Any, y: np.float32, slowest: float, seen: Array | None = None) -> None:  # noqa: ANN401
    for at, share in ((bin_, _F(1) - part), (bin_ + 1, part)):
        rate = _F(slowest)
        if seen is not None:
            rate = max(_F(1) / (seen[at] + _F(1.5)), rate)
            seen[at] += share
        row[at] = min(max(row[at] + (y - row[at]) * rate * share, _F(1e-4)), _F(1) - _F(1e-4))


def _learn_weights(tables: Tables, position: _Position, d: _Decision, bit: int, learn: Learn) -> None:
    w, y = tables.weights, _F(bit)
    num_decisions = w["decisions"][0]
    rate = _F(0.002) + _F(0.018) / (_F(1) + num_decisions * _F(2e-6))
    if learn & Learn.SLOWLY:
        rate = _F(0.001)
    if num_decisions < 1 << 24:
        w["decisions"] += _F(1)
    for s, name in enumerate(MIXERS):
        w[name][d.choices[s]] += ((y - d.p[s]) * rate) * d.inputs
    w["final"][d.choices[0]] += ((y - d.mixed) * _F(0.002)) * d.z
    for name, row in zip(("first", "second"), d.rows, strict=True):
        _learn_between(w[name][row], d.bin_z, d.part_z, y, 0.02)
    for i, k in enumerate(d.known):
        level = d.levels[i]
        _learn_between(w["ever"][k, level], d.bins[0][i], d.parts[0][i], y, 0.002, w["ever_seen"][k, level])
        _learn_between(w["lately"][k, level], d.bins[1][i], d.parts[1][i], y, 0.004)
    for m, agrees in enumerate(d.agrees):
        if agrees:
            at = (m, position.lengths[m])
            hit = _F(agrees == 1 + bit)
            rate = max(_F(1) / (w["match_seen"][at] + _F(1.5)), _F(0.002))
            w["match"][at] = min(max(w["match"][at] + (hit - w["match"][at]) * rate, _F(1e-4)), _F(1) - _F(1e-4))
            w["match_seen"][at] += _F(1)


def _learn_slot(slot: _Slot, bit: int) -> None:
    y, seen = _F(65535 if bit else 0), slot.seen
    rate = CONSTANTS.rates[seen]
    for name, pace in (("ever", rate), ("lately", max(rate, _F(0.2)))):
        value = _F(slot.line[name][slot.at])
        slot.line[name][slot.at] = np.uint16(value + (y - value) * pace)
    slot.line["seen"][slot.at] = max(seen, min(seen + 1, _MAX_SEEN))


def _learn_slots(d: _Decision, bit: int) -> None:
    worth_a_slot = [not _LAZY <= k < NUM_ORDERS or _needs_longer(d, k - 1, bit) for k in range(NUM_CONTEXTS)]
    for slot, is_worth in zip(d.slots, worth_a_slot, strict=True):
        if slot.at >= 0 or is_worth:
            _learn_slot(_claimed(slot), bit)


def _needs_longer(d: _Decision, k: int, bit: int) -> bool:
    """Whether a longer context than k is worth a slot: k was seen before, and does not yet know what comes."""
    against = 65535 - d.ever[k] if bit else d.ever[k]
    return bool(d.seen[k]) and bool(d.seen[k] < _SURE_SEEN or against >= _SURE_MARGIN)


# ---- a symbol ----


def _meet(tables: Tables, reader: Array, symbol: int, learn: Learn) -> float:
    """-ln p of the next symbol; learns from it as asked, after all its decisions: its probability is that of spread."""
    position = _look(tables, reader)
    nats, product = 0.0, 1.0
    node = _Node(0, 0, tables.num_symbols)
    made = []
    while node.hi - node.lo > 1:
        node.enter(tables, position)
        bit = int(symbol >= tables.cuts[node.node])
        decision = _decide(tables, position, node)
        p = float(decision.probability)
        product *= p if bit else 1 - p
        if product < 1e-200:  # before it is lost
            nats -= log(product)
            product = 1.0
        made.append((decision, bit))
        node = node.part(tables, bit)
    for decision, bit in made:
        if learn & Learn.WEIGHTS:
            _learn_weights(tables, position, decision, bit, learn)
        if learn & Learn.COUNTS:
            _learn_slots(decision, bit)
    return nats - log(product)


def _spread(tables: Tables, position: _Position, node: _Node, logit: float, logits: Array) -> None:
    """Ln p of every symbol of a node, ``logit`` being that of the node."""
    if node.hi - node.lo == 1:
        logits[node.lo] = logit
        return
    node.enter(tables, position)
    p = float(_decide(tables, position, node).probability)
    for bit in (0, 1):
        _spread(tables, position, node.part(tables, bit), logit + log(p if bit else 1 - p), logits)
