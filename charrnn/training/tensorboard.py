"""A run's history as events that TensorBoard shows.

The history in ``metrics.jsonl`` is what counts; the events are made of its lines, all of them anew where a run goes on.
So they have each step once, also after a crash, and those of a run that began without them are complete.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.errors import SettingsError

if TYPE_CHECKING:
    from tensorboardX.event_file_writer import EventsWriter

DIRECTORY = "tensorboard"
"""In that of the run."""

_SUFFIX = ".charrnn"  # of the files that may be made anew
# What a line's number is called; names before a slash are groups.
_SCALARS = {
    "updated": {"nats": "loss/update", "gradient_norm": "gradient_norm", "learning_rate": "learning_rate"},
    "evaluated": {
        "train_nats": "loss/training",
        "nats_per_symbol": "loss/held-out",
        "bits_per_char": "bits_per_char/held-out",
    },
}


class EventLog:
    """Events in the directory of a run; the file is made with the first of them.

    Args:
        run: the run's directory.
        seconds: that the run has taken so far.
    """

    def __init__(self, run: Path, *, seconds: float) -> None:
        self._directory = run / DIRECTORY
        self._began = time.time() - seconds  # as if it had never stopped: TensorBoard shows times of the day
        self._writer: EventsWriter | None = None

    def add(self, line: dict[str, Any]) -> None:
        """Adds what a line of the history says; passes over a line that has nothing to show.

        Raises:
            OSError: it cannot be written.
        """
        from tensorboardX import summary
        from tensorboardX.proto.event_pb2 import Event

        what, step = line.get("event"), line.get("step")
        values = [
            summary.scalar(name, line[key]).value[0]
            for key, name in _SCALARS.get(str(what), {}).items()
            if isinstance(line.get(key), float)
        ]
        if what == "sampled":
            text = str(line.get("text")).encode(errors="replace").decode()
            values.append(summary.text("sample", _as_markdown(text)).value[0])
        if not values:
            return
        writer = self._writer or self._open()
        event = Event(step=step, wall_time=self._began + float(line.get("seconds", 0.0)))
        event.summary.value.extend(values)
        writer.write_event(event)
        if what != "updated":  # a flush waits for the disk
            writer.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
            self._writer = None

    def _open(self) -> "EventsWriter":
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._directory.mkdir(exist_ok=True)
        for path in self._directory.glob(f"events.out.tfevents.*{_SUFFIX}"):
            path.unlink()
        self._writer = EventsWriter(str(self._directory / "events"), filename_suffix=_SUFFIX)
        # A TensorBoard that runs already forgets what it has read.
        self._writer.write_event(Event(step=0, wall_time=self._began, session_log=SessionLog(status=SessionLog.START)))
        return self._writer


def require_writer() -> None:
    """Makes sure that events can be written, without loading what writes them.

    Raises:
        SettingsError: it is not installed.
    """
    from importlib.util import find_spec

    if find_spec("tensorboardX") is None:
        raise SettingsError(
            "`tensorboard` needs tensorboardX, which is not installed: pip install 'charrnn[tensorboard]'"
        )


def _as_markdown(text: str) -> str:
    """The text as code, which TensorBoard shows as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())
