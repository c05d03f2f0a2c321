"""The one console, and progress bars with rate and ETA for long work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


@contextmanager
def track(description: str, total: float, unit: str = "it") -> Iterator[Callable[..., None]]:
    """Show a bar while the block runs; yields `advance(amount=1, note="")`, where `note` follows the bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _RateColumn(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total, note="")

        def advance(amount: float = 1, note: str | None = None) -> None:
            progress.advance(task, amount)
            if note is not None:
                progress.update(task, note=note)

        yield advance
