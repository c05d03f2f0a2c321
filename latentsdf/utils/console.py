"""Console output: messages, and progress bars with rate and remaining time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.text import Text

from latentsdf.utils.progress_listener import ProgressListener, progress_listener

console = Console(stderr=True, highlight=False)
"""Console for messages and progress bars; it writes to stderr, because `--json` writes to stdout."""
if not console.is_terminal:
    console.width = 160  # wide enough for tables in log files


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


@contextmanager
def track(
    description: str, total: float | int, unit: str | None = "it", *, hourly: bool = False
) -> Iterator[Callable[..., None]]:
    """Show a progress bar while the block runs.

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
    rate_columns: list[ProgressColumn]
    if unit is None:
        rate_columns = [TimeRemainingColumn()]
    else:
        rate_columns = [HourlyRateColumn(unit)] if hourly else [_RateColumn(unit), TimeRemainingColumn()]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        *rate_columns,
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total, note="")

        def advance(amount: float | int = 1, note: str | None = None) -> None:
            progress.advance(task, amount)
            if note is not None:
                progress.update(task, note=note)

        yield advance


def _reporting_to(listener: ProgressListener, description: str, total: float) -> Callable[..., None]:
    done = 0.0

    def advance(amount: float | int = 1, note: str | None = None) -> None:  # noqa: ARG001
        nonlocal done
        done += amount
        listener(description, min(1.0, done / total) if total else 1.0)

    return advance
