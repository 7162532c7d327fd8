"""Well-formed UTF-8 as a finite automaton: which byte may follow which.

States count what is still owed: START (nothing), one, two or three continuation bytes, and four states after the
lead bytes whose first continuation byte is restricted (no overlong forms, no surrogates, nothing past U+10FFFF).

Source: RFC 3629, section 4, the syntax of UTF-8 byte sequences.
"""

import numpy as np
from numpy.typing import NDArray

START = 0
_ONE, _TWO, _THREE, _AFTER_E0, _AFTER_ED, _AFTER_F0, _AFTER_F4 = range(1, 8)
REJECT = 8
NUM_STATES = 9

_EDGES = [
    (START, 0x00, 0x7F, START),
    (START, 0xC2, 0xDF, _ONE),
    (START, 0xE0, 0xE0, _AFTER_E0),
    (START, 0xE1, 0xEC, _TWO),
    (START, 0xED, 0xED, _AFTER_ED),
    (START, 0xEE, 0xEF, _TWO),
    (START, 0xF0, 0xF0, _AFTER_F0),
    (START, 0xF1, 0xF3, _THREE),
    (START, 0xF4, 0xF4, _AFTER_F4),
    (_AFTER_E0, 0xA0, 0xBF, _ONE),
    (_AFTER_ED, 0x80, 0x9F, _ONE),
    (_AFTER_F0, 0x90, 0xBF, _TWO),
    (_AFTER_F4, 0x80, 0x8F, _TWO),
    (_ONE, 0x80, 0xBF, START),
    (_TWO, 0x80, 0xBF, _ONE),
    (_THREE, 0x80, 0xBF, _TWO),
]


def _tables() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    transitions = np.full((NUM_STATES, 256), REJECT, np.uint8)
    for state, low, high, target in _EDGES:
        transitions[state, low : high + 1] = target
    return transitions, transitions != REJECT


TRANSITIONS, ALLOWED = _tables()
"""(NUM_STATES, 256): the state after a byte, and whether the byte may come there."""


def step(state: int, byte: int) -> int:
    """The state after ``byte``; REJECT where it may not come, and always after that.

    >>> [step(START, b) for b in b"a\\xc3\\xff"] == [START, 1, REJECT]
    True
    """
    return int(TRANSITIONS[state, byte])
