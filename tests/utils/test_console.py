"""Console messages and progress bars."""

import pytest
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from latentsdf.utils import console as module
from latentsdf.utils.console import HourlyRateColumn, show_error, show_note, track


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Console:
    """Console that records its output instead of the shared one."""
    recorder = Console(record=True, width=200, force_terminal=True)
    monkeypatch.setattr(module, "console", recorder)
    return recorder


def test_messages_verbatim(recorder: Console) -> None:
    """Square brackets in errors and notes are printed, not interpreted as markup."""
    show_error(ValueError("pip install 'latentsdf[open3d]'"))
    show_note("warning", "[bold]chair.obj")
    assert recorder.export_text().splitlines() == [
        "error: pip install 'latentsdf[open3d]'",
        "warning [bold]chair.obj",
    ]


def test_bar_without_rate(recorder: Console) -> None:
    """Without a unit, the bar shows the share and the remaining time only."""
    with track("training", total=1, unit=None) as advance:
        advance(0.5)
        advance(0.5)
    text = recorder.export_text()
    assert "100%" in text and "/s" not in text and "/min" not in text and "None" not in text


@pytest.mark.parametrize("hourly", [False, True])
def test_progress_and_note(recorder: Console, hourly: bool) -> None:
    """The bar shows its description, the share of completed steps and the latest note."""
    with track("training", total=4, unit="step", hourly=hourly) as advance:
        advance(2, note="loss 0.5")
        advance(note="loss 0.25")
        advance()
    text = recorder.export_text()
    assert "training" in text and "100%" in text and "loss 0.25" in text.splitlines()[-1]


def test_hourly_rate() -> None:
    """Rate and remaining time follow the mean since the start, over more than the 30 s of Rich's columns."""
    clock = 0.0
    progress = Progress(HourlyRateColumn("shape"), get_time=lambda: clock, auto_refresh=False)
    task = progress.add_task("", total=4)
    column = progress.columns[0]
    assert isinstance(column, HourlyRateColumn) and column(progress.tasks[0]) == Text("")
    clock = 90.0
    progress.advance(task)
    assert str(column(progress.tasks[0])) == "40 shapes/h, 0:04:30 left"
    progress.advance(task, 3)
    assert str(column(progress.tasks[0])) == "160 shapes/h"


@pytest.mark.parametrize(("speed", "text"), [(None, ""), (0.5, "30.0 step/min"), (1234.5, "1,234.5 step/s")])
def test_rate_units(speed: float | None, text: str) -> None:
    """Rates below one per second are shown per minute."""
    progress = Progress(auto_refresh=False)
    progress.add_task("", total=1)
    task = progress.tasks[0]
    task.finished_speed = speed
    assert str(module._RateColumn("step").render(task)) == text
