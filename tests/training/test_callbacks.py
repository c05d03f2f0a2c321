"""Callbacks: which objects are called, in which order, and errors."""

from types import SimpleNamespace
from typing import Any

import pytest

from latentsdf.training.callbacks import Callback, Callbacks
from latentsdf.utils.errors import ConfigError, TrainingError

RUN: Any = SimpleNamespace(step=3)
"""A trainer, of which callbacks only hand on the reference."""


class _Log:
    """Object with some of the methods, which does not derive from `Callback`."""

    def __init__(self, events: list[Any]) -> None:
        self.events = events

    def on_start(self, run: Any) -> None:
        """Called before the first step."""
        self.events.append(("start", run))

    def on_step(self, run: Any, metrics: dict[str, float]) -> None:
        """Called after each step."""
        self.events.append(("step", run, metrics))


@pytest.mark.usefixtures("without_shape_checks")
def test_order_of_calls() -> None:
    """Each object gets the events that it has a method for, in the given order; a function gets the steps."""
    events: list[Any] = []
    log, metrics = _Log(events), {"loss": 0.5}
    callbacks = Callbacks([log, lambda run, metrics: events.append(("function", run, metrics)), Callback()])
    callbacks("on_start", RUN)
    callbacks("on_step", RUN, metrics)
    callbacks("on_end", RUN, metrics)
    assert events == [("start", RUN), ("step", RUN, metrics), ("function", RUN, metrics)]


@pytest.mark.usefixtures("without_shape_checks")
def test_failing_callback() -> None:
    """An exception names the step, the callback, the event and the reason, and later callbacks are not called."""
    called: list[Any] = []

    def upload(run: Any, metrics: dict[str, float]) -> None:
        raise OSError(f"no network for {metrics} of {run}")

    callbacks = Callbacks([upload, lambda *arguments: called.append(arguments)])
    with pytest.raises(TrainingError, match=r"^step 3: the callback .*upload failed in on_step: OSError: no network"):
        callbacks("on_step", RUN, {})
    assert not called


class _Misspelled:
    def on_checkpoints(self) -> None: ...


class _Unknown:
    def on_validation(self) -> None: ...


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ([_Misspelled()], "no event is called on_checkpoints; did you mean on_checkpoint?"),
        ([_Unknown()], "no event is called on_validation; the events are on_start, on_step, on_checkpoint, on_end"),
        ([print, 3], "a callback is a function or has one of the methods on_start, .* int is neither"),
        (print, "callbacks must be a list of functions or objects, got builtin_function_or_method"),
        ("on_step", "callbacks must be a list of functions or objects, got str 'on_step'"),
    ],
)
def test_objects_that_are_no_callbacks(callbacks: Any, message: str) -> None:
    """Objects that would never be called are refused before the run."""
    with pytest.raises(ConfigError, match=message):
        Callbacks(callbacks)
