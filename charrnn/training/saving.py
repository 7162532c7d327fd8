"""Writing what a run has made: a failure warns and is tried again later; the third in a row ends the run."""

from collections import Counter
from collections.abc import Callable, Iterator

from charrnn.errors import OutputError
from charrnn.training import event

_MAX_FAILURES = 3


class Saver:
    """Counts the failures of each thing that is written.

    Args:
        writes: whether this process writes; of several that share a run, only one does.
    """

    def __init__(self, *, writes: bool) -> None:
        self._writes = writes
        self._failures: Counter[str] = Counter()  # in a row

    def attempt(
        self, write: Callable[[], None], what: str, *, step: int, is_last: bool = False
    ) -> Iterator[event.Event]:
        """Writes; yields a warning where that failed.

        Args:
            write: does it.
            what: is written, in words.
            step: updates made.
            is_last: whether the run makes no attempt after this one: then it is repeated at once.

        Raises:
            OutputError: it failed three times in a row.
        """
        if not self._writes:
            return
        goes_on = "it is tried again" if is_last else "training goes on"
        while True:
            try:
                write()
                self._failures[what] = 0
                return
            except OutputError as error:
                self._failures[what] += 1
                if self._failures[what] >= _MAX_FAILURES:
                    raise
                yield event.Warned(f"{what} could not be saved at step {step}: {error}; {goes_on}")
            if not is_last:
                return

    def has_failed(self, what: str) -> bool:
        """Whether the last attempt to write it failed."""
        return self._failures[what] > 0
