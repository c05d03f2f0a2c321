"""The one console, and progress bars with rate and ETA for long work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.text import Text

console = Console(stderr=True, highlight=False)
"""Messages for people go to stderr, so that stdout stays clean for `--json`."""
if not console.is_terminal:
    console.width = 160  # A log file takes whole tables.


def show_error(error: BaseException) -> None:
    """Print an error as it is: brackets in paths and extras are not markup."""
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)


def show_note(label: str, text: str) -> None:
    """Print a warning with its label, the text as it is."""
    console.print(Text.assemble((label, "yellow"), " ", text), soft_wrap=True)


class _RateColumn(ProgressColumn):
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


class HourlyColumn(ProgressColumn):
    """Units an hour and the time left, by the mean of the whole run: Rich forgets steps older than 30 s."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: RichTask) -> Text:
        """Empty until the first step is done."""
        seconds = task.finished_time or task.elapsed
        if not task.completed or not seconds:
            return Text("")
        rate = f"{task.completed / seconds * 3600:,.0f} {self.unit}s/h"
        left = timedelta(seconds=round((task.remaining or 0) / task.completed * seconds))
        return Text(f"{rate}, {left} left" if task.remaining else rate)


@contextmanager
def track(description: str, total: float, unit: str = "it", *, hourly: bool = False) -> Iterator[Callable[..., None]]:
    """Show a bar while the block runs; yields `advance(amount=1, note="")`, where `note` follows the bar.

    `hourly` is for steps of many seconds.
    """
    pace = (HourlyColumn(unit),) if hourly else (_RateColumn(unit), TimeRemainingColumn())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        *pace,
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total, note="")

        def advance(amount: float = 1, note: str | None = None) -> None:
            progress.advance(task, amount)
            if note is not None:
                progress.update(task, note=note)

        yield advance
