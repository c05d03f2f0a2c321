"""Console output: messages, and progress with rate and remaining time on terminals, in notebooks and in log files."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from html import escape
from threading import Event, Lock, Thread

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.text import Text

from latentsdf.utils.progress_listener import ProgressListener, progress_listener

console = Console(stderr=True, highlight=False)
"""Console for messages and progress bars; it writes to stderr, because `--json` writes to stdout."""
if not console.is_terminal:
    console.width = 160  # wide enough for tables in log files

LINE_SECONDS = 30.0
"""Seconds between lines of progress where there is no terminal."""
_is_tracking: ContextVar[bool] = ContextVar("is_tracking", default=False)
"""Whether the current thread is inside a `track` block."""
_display = Lock()
"""Held by the one progress that is shown: a terminal has room for one bar."""
_NOTEBOOK_SECONDS = 0.2  # between updates of a bar in a notebook


def show_error(error: BaseException) -> None:
    """Print an error verbatim: square brackets in paths and names of extras are not markup."""
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)


def show_note(label: str, text: str) -> None:
    """Print a note or warning with a highlighted label, verbatim."""
    console.print(Text.assemble((label, "yellow"), " ", text), soft_wrap=True)


class _RateColumn(ProgressColumn):
    """Units per second, or per minute below one per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: RichTask) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        if speed < 1:
            return Text(f"{speed * 60:.1f} {self.unit}/min")
        return Text(f"{speed:,.1f} {self.unit}/s")


class HourlyRateColumn(ProgressColumn):
    """Units per hour and remaining time, both from the mean rate since the start.

    The columns of Rich average over the last 30 s, too short an interval for steps of many seconds.
    """

    def __init__(self, unit: str) -> None:
        """Create a column for a unit, given in the singular."""
        super().__init__()
        self.unit = unit

    def render(self, task: RichTask) -> Text:
        """Return the text of the column; empty before the first step is done."""
        seconds = task.finished_time or task.elapsed
        if not task.completed or not seconds:
            return Text("")
        rate = f"{task.completed / seconds * 3600:,.0f} {self.unit}s/h"
        remaining = timedelta(seconds=round((task.remaining or 0) / task.completed * seconds))
        return Text(f"{rate}, {remaining} left" if task.remaining else rate)


class _Count:
    """Progress of a task: amount done, time, and the latest note, as texts."""

    def __init__(self, description: str, total: float, unit: str | None, hourly: bool) -> None:
        self.description, self.total, self.unit, self.hourly = description, total, unit, hourly
        self.done, self.note, self.started = 0.0, "", time.monotonic()

    def share(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 1.0

    def line(self) -> str:
        """Return share, count, rate, elapsed and remaining time, and note; rates are means since the start."""
        seconds = time.monotonic() - self.started
        parts = [f"{self.share():.0%}"]
        if self.unit is not None:
            parts[0] += f" ({self.done:,.0f} of {self.total:,.0f} {self.unit}s)"
            if self.done and seconds:
                rate = self.done / seconds
                amount, per = (rate * 3600, "h") if self.hourly else (rate, "s") if rate >= 1 else (rate * 60, "min")
                parts.append(f"{amount:,.{0 if self.hourly else 1}f} {self.unit}s/{per}")
        parts.append(f"{_duration(seconds)} elapsed")
        if 0 < self.done < self.total:
            parts.append(f"{_duration(seconds * (self.total / self.done - 1))} left")
        return f"{self.description}: {', '.join(parts)}" + (f"; {self.note}" if self.note else "")


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class _NotebookProgress:
    """Progress bar in a notebook; the HTML element needs no ipywidgets."""

    def __init__(self, count: _Count) -> None:
        self.count = count

    def __repr__(self) -> str:
        return self.count.line()

    def _repr_html_(self) -> str:
        return f"<progress value='{self.count.share():.4f}' max='1'></progress> {escape(self.count.line())}"


@contextmanager
def track(
    description: str, total: float | int, unit: str | None = "it", *, hourly: bool = False
) -> Iterator[Callable[..., None]]:
    """Show progress while the block runs.

    Terminals and notebooks show a bar. Otherwise, as in the log file of a cluster job, a line is printed every
    `LINE_SECONDS`, also while no step is completed, and a last one at the end. Nothing is shown within the block of
    another `track`, and while the progress of another thread is shown.

    Args:
        description: Text before the bar.
        total: Number of steps.
        unit: Name of a step in the singular; None to show no rate.
        hourly: Show steps per hour instead of per second; for steps of many seconds.

    Yields:
        Function `advance(amount=1, note=None)` to call after each step; a `note` replaces the text after the bar.
    """
    listener = progress_listener()
    if listener is not None:
        yield _reporting_to(listener, description, total)
        return
    count = _Count(description, total, unit, hourly)
    with ExitStack() as stack:
        is_nested = _is_tracking.get()
        stack.callback(_is_tracking.reset, _is_tracking.set(True))
        if is_nested or not _display.acquire(blocking=False):
            yield lambda *_, **__: None
            return
        stack.callback(_display.release)
        if console.is_jupyter:
            refresh = stack.enter_context(_notebook_bar(count))
        elif console.is_terminal:
            refresh = stack.enter_context(_terminal_bar(count))
        else:
            refresh = stack.enter_context(_lines(count))

        def advance(amount: float | int = 1, note: str | None = None) -> None:
            count.done += amount
            if note is not None:
                count.note = note
            refresh()

        yield advance


@contextmanager
def _terminal_bar(count: _Count) -> Iterator[Callable[[], None]]:
    rate_columns: list[ProgressColumn]
    if count.unit is None:
        rate_columns = [TimeRemainingColumn()]
    else:
        rate_columns = [HourlyRateColumn(count.unit)] if count.hourly else [_RateColumn(count.unit)]
        rate_columns += [] if count.hourly else [TimeRemainingColumn()]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        *rate_columns,
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(count.description, total=count.total, note="")
        yield lambda: progress.update(task, completed=count.done, note=count.note)


@contextmanager
def _notebook_bar(count: _Count) -> Iterator[Callable[[], None]]:
    from IPython.display import display

    shown = display(_NotebookProgress(count), display_id=True)
    last = time.monotonic()

    def refresh() -> None:
        nonlocal last
        if shown is not None and time.monotonic() - last >= _NOTEBOOK_SECONDS:
            shown.update(_NotebookProgress(count))
            last = time.monotonic()

    try:
        yield refresh
    finally:
        if shown is not None:
            shown.update(_NotebookProgress(count))


@contextmanager
def _lines(count: _Count) -> Iterator[Callable[[], None]]:
    ended = Event()

    def print_lines() -> None:
        while not ended.wait(LINE_SECONDS):
            print_line()

    def print_line() -> None:
        console.print(Text(count.line()), soft_wrap=True)

    printer = Thread(target=print_lines, name="progress", daemon=True)
    printer.start()
    try:
        yield lambda: None
    finally:
        ended.set()
        printer.join()
        if count.total:
            print_line()


def _reporting_to(listener: ProgressListener, description: str, total: float) -> Callable[..., None]:
    done = 0.0

    def advance(amount: float | int = 1, note: str | None = None) -> None:  # noqa: ARG001
        nonlocal done
        done += amount
        listener(description, min(1.0, done / total) if total else 1.0)

    return advance
