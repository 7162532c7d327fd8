"""What programs and notebooks call: ``charrnn.train``, ``count``, ``mix``, ``load`` and ``runs``.

They go the ways of the commands; see ``charrnn.training.start`` for the settings they share.
"""

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from charrnn.errors import SettingsError
from charrnn.fields import Setting, Settings, did_you_mean, values_by_name
from charrnn.text.settings import TextSettings
from charrnn.training.settings import CountingSettings
from charrnn.training.start import GROUPS, OutputSettings, Start, start_run, with_config

if TYPE_CHECKING:
    from charrnn.inference.language_model import LanguageModel
    from charrnn.storage.run_summary import RunSummary
    from charrnn.training.event import Event, Finished

_COUNT_GROUPS = (TextSettings, CountingSettings)


def train(
    *texts: str | Path,
    config: str | Path | None = None,
    progress: bool = True,
    on_event: "Callable[[Event], object] | None" = None,
    **settings: Any,  # noqa: ANN401 - each of its own type
) -> "LanguageModel":
    """A model learned from text, as ``charrnn train`` learns it: the best one by held-out loss.

        model = charrnn.train("shakespeare.txt", minutes=2, cell="lstm")
        print(model.sample("KING", length=300)[0])

    Everything that is left out is chosen to suit the text, the time and the machine. The run is kept in
    ``checkpoints/shakespeare``. Ctrl-C, or the stop button of a notebook, saves the run and gives the model so far;
    ``charrnn.train(resume="shakespeare")`` goes on.

    >>> import charrnn
    >>> losses = []
    >>> def note(event):
    ...     if isinstance(event, charrnn.event.Evaluated):
    ...         losses.append((event.step, event.score.nats_per_char))
    >>> model = charrnn.train("text.txt", steps=20, eval_every=5, hidden_size=8, progress=False, on_event=note)
    >>> [step for step, _ in losses]
    [5, 10, 15, 20]

    Args:
        texts: paths of text files or directories, or "-" for standard input, read one after the other.
        config: a run whose settings to take, or a TOML file of settings; those given here win over it.
        progress: show a bar in a notebook or on a terminal, and lines elsewhere; False shows warnings alone.
        on_event: called with each event of the run as it happens, for plots of one's own; see ``charrnn.event``.
        settings: any setting of ``charrnn train`` by name; None leaves it out. They are listed below.

    Raises:
        SettingsError: a setting is unknown, out of range, or does not go with another.
        InputError: a text or a model cannot be read.
        CharRNNError: the run cannot be kept, its device is lost, or it diverged; what it stored stays.
    """
    given = _given(texts, settings, groups=GROUPS, function=train)
    if config is not None:
        given = with_config(given, config, *GROUPS)
    return _trained(given, progress=progress, on_event=on_event)


def load(path: str | Path, *, num_threads: int | None = None) -> "LanguageModel":
    """The model of a run, or in a model file, ready to sample and score.

    >>> import charrnn
    >>> model = charrnn.load("text")
    >>> model.sample("that is", length=13, temperature=0.5)
    [' the question']

    Args:
        path: a run's name or directory, or a model file.
        num_threads: CPU threads for many streams; none: as many as there are cores.

    Raises:
        SettingsError: the path is empty.
        InputError: there is no such run or file, or it is not a whole model.
    """
    from charrnn.inference.language_model import load as load_model

    return load_model(path, num_threads=num_threads)


def count(
    *texts: str | Path,
    progress: bool = False,
    num_threads: int | None = None,
    **settings: Any,  # noqa: ANN401 - each of its own type
) -> "LanguageModel":
    """A model of counts of texts, as ``charrnn count`` makes it in seconds; it is kept as a run.

    >>> import charrnn
    >>> counts = charrnn.count("text.txt", memory=1, out="others")
    >>> counts.path.parent.name
    'text-counts'

    Args:
        texts: as of ``train``.
        progress: show a bar on a terminal.
        num_threads: as of ``load``.
        settings: any setting of ``charrnn count`` by name, such as memory, name, val_fraction; None leaves it out.

    Raises:
        SettingsError: a setting is unknown or out of range, or no text is named.
        InputError: a text cannot be read.
        CharRNNError: the run cannot be kept.
    """
    from charrnn.inference.language_model import load as load_model
    from charrnn.reports.progress import counting_bar
    from charrnn.training.counting import counted_run

    given = _given(texts, settings, groups=_COUNT_GROUPS, function=count)
    if not given.get("texts"):
        raise SettingsError("name at least one text to count")
    text = TextSettings(**TextSettings.part_of(given))
    counting = CountingSettings(**CountingSettings.part_of(given))
    with counting_bar(quiet=not progress) as shown:
        _, directory = counted_run(text, counting, progress=shown)
    return load_model(directory, num_threads=num_threads)


def mix(
    *models: str | Path,
    fit: str | Path | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    num_threads: int | None = None,
) -> "LanguageModel":
    """Models of one vocabulary made one, as ``charrnn mix`` makes it; it is kept as a run.

        both = charrnn.mix("shakespeare", "shakespeare-counts", fit="sonnets.txt")

    Args:
        models: two or more runs or model files.
        fit: a text that none of them has learned, to fit how far each is trusted; None: each counts by its own
            held-out score.
        name: of the run; None for that of the first model with "-mix" after it.
        out: directory that holds runs; None for where ``charrnn train`` puts them.
        num_threads: as of ``load``.

    Raises:
        SettingsError: there are too few models or too many, or the run cannot have that name.
        InputError: a model or the text cannot be read, or vocabularies differ.
        CharRNNError: the run cannot be kept.
    """
    from charrnn.inference.language_model import load as load_model
    from charrnn.inference.mixing import mixed_run

    text = None if fit is None else os.fspath(fit)
    _, directory = mixed_run(models, fit=text, name=name, out=None if out is None else Path(out))
    return load_model(directory, num_threads=num_threads)


def runs(out: str | Path | None = None) -> "list[RunSummary]":
    """What has been trained, the run that changed last at the end; no weights are read.

    >>> import charrnn
    >>> [(run.name, run.state) for run in charrnn.runs()]
    [('text', 'finished')]

    Args:
        out: directory that holds runs; None for where ``charrnn train`` puts them.

    Raises:
        InputError: the directory cannot be looked into.
    """
    from charrnn.storage.run_summary import all_runs

    return all_runs(None if out is None else Path(out))


def _given(
    texts: Sequence[str | Path],
    settings: Mapping[str, Any],
    *,
    groups: Sequence[type[Settings]],
    function: Callable[..., object],
) -> dict[str, Any]:
    """The settings as the command takes them: checked, and only those that were given."""
    known = _settings_of(groups)
    for name in settings:
        if name not in known:
            own = inspect.signature(function).parameters
            hint = did_you_mean(name, own) or f"; help(charrnn.{function.__name__}) lists them"
            raise SettingsError(f"there is no setting {name!r}{hint}")
    values = {name: _plain(value, known[name]) for name, value in settings.items() if value is not None}
    if texts:
        if "texts" in values:
            raise SettingsError("`texts` are given twice, by position and by name")
        values["texts"] = _plain(texts, known["texts"])
    if any(isinstance(name, str) and "\n" in name for name in values.get("texts", ())):
        raise SettingsError(
            "a text is given by the path of its file; write it to one first, as Path('text.txt').write_text(text) does"
        )
    return values_by_name(values, *groups)


def _plain(value: Any, known: Setting) -> Any:  # noqa: ANN401 - of a setting
    """The value as a file of settings would hold it: a number of numpy's is a number, one path is a list of one."""
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    if not known.is_many:
        return value
    if isinstance(value, str | Path):
        value = [value]
    if not isinstance(value, list | tuple):
        return value  # and is refused by its name
    return [os.fspath(each) if isinstance(each, Path) else each for each in value]


def _trained(
    given: Mapping[str, Any], *, progress: bool, on_event: "Callable[[Event], object] | None"
) -> "LanguageModel":
    with start_run(given) as started:
        is_shown = progress and started.world.is_first
        finished = _follow(started, given, is_shown=is_shown, on_event=on_event)
        started.world.from_first(None)  # the others wait until the first process has written the model
    if is_shown:
        _tell(_end_line(finished, started))

    from charrnn.inference.language_model import load

    return load(started.directory, num_threads=given.get("threads"))


def _follow(
    started: Start, given: Mapping[str, Any], *, is_shown: bool, on_event: "Callable[[Event], object] | None"
) -> "Finished":
    from charrnn.reports.opening import opening_lines
    from charrnn.reports.watching import follow, report_to

    if is_shown:
        for line in opening_lines(
            started.prepared,
            started.placement,
            started.directory,
            started.checkpoint,
            num_processes=started.world.size,
        ):
            _tell(line)
    samples = OutputSettings(**OutputSettings.part_of(given)).samples
    level = started.prepared.task.vocab.level
    with (
        _stop_on_interrupt() as should_stop,
        report_to(sys.stderr, quiet=not is_shown, samples=samples, level=level) as report,
    ):
        watchers = (report.show,) if on_event is None else (report.show, on_event)
        return follow(started.run.events(should_stop), *watchers)


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C, or the stop button of a notebook, was pressed within the block; a second one interrupts it."""
    asked = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (None, signal.SIG_IGN):
        yield asked.is_set  # signals are not this thread's to handle, or nobody's
        return

    def hear(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, hear)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _end_line(finished: "Finished", started: Start) -> str:
    from charrnn.reports.part import held_out_part, num_scored
    from charrnn.storage.run_name import name_to_type

    level, best = started.prepared.task.vocab.level, finished.best
    part = held_out_part(num_scored(best), finished.num_held_out, level=level)
    line = f"best:  {best.nats_per_symbol:.4f} nats/{level} of {part}, at step {finished.best_step:,}"
    if finished.reason == "stopped":
        run = name_to_type(started.directory, quote=repr)
        line += f"; stopped at step {finished.step:,}: charrnn.train(resume={run}) goes on"
    return line


def _tell(line: str) -> None:
    from charrnn.reports.progress import is_notebook
    from charrnn.reports.terminal import inert, say

    if is_notebook():
        sys.stdout.write(f"{inert(line)}\n")  # notebooks show standard error as errors
    else:
        say(line)


def _described(known: Setting) -> str:
    choices = f" One of {', '.join(known.choices)}." if known.choices else ""
    chosen = f" Left out: {known.shown_default}." if known.shown_default else ""
    return f"        {known.name}: {known.help}{choices}{chosen}\n"


def _parameter(known: Setting) -> inspect.Parameter:
    is_chosen = known.shown_default is not None or known.is_many
    kind = str | Path if known.kind is Path or known.is_many else known.kind
    return inspect.Parameter(
        known.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if is_chosen else known.default,
        annotation=kind | None,
    )


def _settings_of(groups: Sequence[type[Settings]]) -> dict[str, Setting]:
    return {name: each for group in groups for name, each in group.settings().items() if not each.is_internal}


def _show_settings(function: Callable[..., object], groups: Sequence[type[Settings]]) -> None:
    """Makes help, and a notebook's completion and tooltip, show every setting that a function takes."""
    listed = [each for each in _settings_of(groups).values() if not each.is_argument]
    own = inspect.signature(function)
    function.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*[p for p in own.parameters.values() if p.kind != p.VAR_KEYWORD], *map(_parameter, listed)]
    )
    function.__doc__ = f"{function.__doc__}\n    Settings:\n{''.join(map(_described, listed))}"


_show_settings(train, GROUPS)
_show_settings(count, _COUNT_GROUPS)
