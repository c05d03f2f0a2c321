"""Console messages, and progress on terminals, in notebooks and in log files."""

import io
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

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


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Text that is printed where there is no terminal, as in the log file of a cluster job."""
    text = io.StringIO()
    monkeypatch.setattr(module, "console", Console(file=text, width=40, force_terminal=False, force_jupyter=False))
    return text


def test_lines_in_log_file(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines with progress, rate, times and note appear at intervals, also during a long step, and at the end."""
    monkeypatch.setattr(module, "LINE_SECONDS", 0.05)
    with track("training", total=4, unit="step") as advance:
        advance(note="[loss] 0.5")
        deadline = time.monotonic() + 10
        while log.getvalue().count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        early = log.getvalue().splitlines()
        advance(3)
    assert len(early) >= 2
    form = r"training: 25% \(1 of 4 steps\), [\d.,]+ steps/(s|min), 0:00:0\d elapsed, 0:00:\d\d left; \[loss\] 0.5"
    assert all(re.fullmatch(form, line) for line in early)
    assert re.match(r"training: 100% \(4 of 4 steps\), .* elapsed; \[loss\] 0.5$", log.getvalue().splitlines()[-1])
    assert "\r" not in log.getvalue() and "\x1b" not in log.getvalue()


def test_line_of_short_work(log: io.StringIO) -> None:
    """Work that ends within the interval prints one line, and none if there was nothing to do."""
    with track("reading", total=2, unit="shape", hourly=True) as advance:
        advance(2)
    with track("training", total=1, unit=None) as advance:
        advance(0.5)
    with track("checking", total=0):
        pass
    lines = log.getvalue().splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"reading: 100% \(2 of 2 shapes\), [\d,]+ shapes/h, 0:00:00 elapsed", lines[0])
    assert re.fullmatch(r"training: 50%, 0:00:00 elapsed, 0:00:00 left", lines[1])


def test_progress_within_progress(log: io.StringIO) -> None:
    """Work within other work shows nothing, so that there is one bar at a time."""
    with track("outer", total=1) as advance:
        with track("inner", total=2) as advance_inner:
            advance_inner(2, note="inner")
        advance()
    with track("after", total=1) as advance:
        advance()
    assert [line.partition(":")[0] for line in log.getvalue().splitlines()] == ["outer", "after"]


def test_progress_in_threads(log: io.StringIO) -> None:
    """While one thread shows its progress, the others show nothing, and what ends there does not end it."""
    first, second = track("first", total=1), track("second", total=1)
    with ThreadPoolExecutor(1) as other:
        other.submit(second.__enter__).result()
        with track("hidden", total=1) as advance:
            advance()
        first.__enter__()
        other.submit(second.__exit__, None, None, None).result()
        with track("inner", total=1) as advance:
            advance()
        first.__exit__(None, None, None)
        with track("after", total=1) as advance:
            advance()
    assert [line.partition(":")[0] for line in log.getvalue().splitlines()] == ["second", "after"]


def test_end_of_lines_after_error(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error ends the lines, too."""
    monkeypatch.setattr(module, "LINE_SECONDS", 0.01)
    with pytest.raises(KeyError), track("decoding", total=2):
        raise KeyError
    printed = log.getvalue()
    time.sleep(0.05)
    assert log.getvalue() == printed


def test_bar_in_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook shows one HTML bar that is updated in place; ipywidgets is not imported."""
    display = pytest.importorskip("IPython.display")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setattr(module, "console", Console(file=io.StringIO(), force_jupyter=True))
    monkeypatch.setattr(module, "_NOTEBOOK_SECONDS", 0.0)
    shown: list[str] = []

    class Handle:
        def update(self, bar: object) -> None:
            shown.append(bar._repr_html_())  # type: ignore[attr-defined]

    def first(bar: object, display_id: bool) -> Handle:
        assert display_id
        shown.append(bar._repr_html_())  # type: ignore[attr-defined]
        return Handle()

    monkeypatch.setattr(display, "display", first)
    with track("evaluating", total=2, unit="shape") as advance:
        advance(note="<a>")
        advance()
    values = [re.match(r"<progress value='([\d.]+)' max='1'></progress> evaluating: ", text) for text in shown]
    assert [match and match[1] for match in values] == ["0.0000", "0.5000", "1.0000", "1.0000"]
    assert "&lt;a&gt;" in shown[-1]
