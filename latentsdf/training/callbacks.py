"""Functions of the user's own that a training run calls."""

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from latentsdf.utils.arrays import describe
from latentsdf.utils.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    from latentsdf.training.trainer import Trainer

_EVENTS = ("on_start", "on_step", "on_checkpoint", "on_end")


class Callback:
    """Interface of callbacks. Deriving from this class is optional: any object with one of the methods is a callback.

    `run` is the trainer: `run.step` and `run.seconds` count steps and time, `run.progress()` is the share of the budget
    that is spent, `run.model`, `run.codes.table` and `run.keys` are the model, the codes (T, L) and the names of the
    shapes, and `run.stop()` ends the run after this step, with a checkpoint. Only rank 0 of `torchrun` makes these
    calls. An exception ends the run; the last checkpoint is kept.
    """

    def on_start(self, run: "Trainer") -> None:
        """Called before the first step."""

    def on_step(self, run: "Trainer", metrics: dict[str, float]) -> None:
        """Called after each step with the loss (`loss`), its weighted terms, `step` and `seconds`."""

    def on_checkpoint(self, run: "Trainer", folder: Path) -> None:
        """Called after a checkpoint has been written to `folder`."""

    def on_end(self, run: "Trainer", metrics: dict[str, float]) -> None:
        """Called after the last checkpoint with the metrics of the last step."""


CallbackLike: TypeAlias = Callback | Callable[["Trainer", dict[str, float]], Any] | Any
"""An object with methods of `Callback`, or a function, which is called like `on_step`."""


class Callbacks:
    """Calls several callbacks in order.

    Args:
        callbacks: Objects with methods of `Callback`, or functions.

    Raises:
        ConfigError: An object has none of the methods, or a method whose name is misspelled.
    """

    def __init__(self, callbacks: Sequence[CallbackLike] = ()) -> None:
        if not isinstance(callbacks, Sequence) or isinstance(callbacks, str | bytes):
            raise ConfigError(f"callbacks must be a list of functions or objects, got {describe(callbacks)}")
        self._callbacks = list(callbacks)
        for callback in self._callbacks:
            methods = [name for name in dir(callback) if name.startswith("on_")]
            unknown = [name for name in methods if name not in _EVENTS]
            if unknown:
                close = difflib.get_close_matches(unknown[0], _EVENTS, n=1)
                raise ConfigError(
                    f"callback {_name(callback)}: no event is called {unknown[0]}; "
                    + (f"did you mean {close[0]}?" if close else f"the events are {', '.join(_EVENTS)}")
                )
            if not methods and not callable(callback):
                raise ConfigError(
                    f"a callback is a function or has one of the methods {', '.join(_EVENTS)}; "
                    f"{_name(callback)} is neither"
                )

    def __call__(self, event: str, run: "Trainer", *arguments: Any) -> None:
        """Report an event to all callbacks.

        Args:
            event: Name of the method of `Callback`.
            run: The trainer.
            *arguments: Further arguments of the method.

        Raises:
            TrainingError: A callback raised an exception; the message names it.
        """
        for callback in self._callbacks:
            method = getattr(callback, event, None)
            if method is None and event == "on_step" and callable(callback):
                method = callback
            if method is None:
                continue
            try:
                method(run, *arguments)
            except Exception as error:
                raise TrainingError(
                    f"step {run.step}: the callback {_name(callback)} failed in {event}: {type(error).__name__}: "
                    f"{error}; the last checkpoint is kept"
                ) from error


def _name(callback: Any) -> str:
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))
