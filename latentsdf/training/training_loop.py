"""Training loop shared by shape spaces, reconstruction from point clouds, and refinement of fits."""

import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from latentsdf.utils.console import track


@runtime_checkable
class Trainable(Protocol):
    """Interface of an optimization that `run_training_loop` runs."""

    seconds: float
    """Wall-clock time of the steps in seconds, over all resumed runs. Checkpoints and logging are not included."""

    def progress(self) -> float:
        """Return the share of the budget spent; the run ends at 1."""

    def train_step(self) -> dict[str, float]:
        """Take one optimization step and return its loss terms by name."""


def run_training_loop(
    trainable: Trainable,
    name: str,
    *,
    should_continue: Callable[[], bool],
    on_step: Callable[[dict[str, float], float], str | None],
    save: Callable[[], None] | None = None,
    save_seconds: float = 120.0,
) -> None:
    """Take steps until the budget is spent or `should_continue` returns False.

    Args:
        trainable: The optimization; the duration of each step is added to its `seconds`.
        name: Label of the progress bar.
        should_continue: Called before each step; the loop ends if it returns False.
        on_step: Called after each step with its loss terms and its duration in seconds. Returns a text for the progress
            bar, or None to keep the previous one.
        save: Called after a step when `save_seconds` have passed since the last call.
        save_seconds: Minimum time between calls of `save`.
    """
    saved = time.monotonic()
    with track(name, total=1, unit=None) as advance:
        shown = 0.0
        while should_continue() and trainable.progress() < 1:
            started = time.monotonic()
            terms = trainable.train_step()
            seconds = time.monotonic() - started
            trainable.seconds += seconds
            note = on_step(terms, seconds)
            fraction = min(1.0, trainable.progress())
            advance(fraction - shown, note)
            shown = fraction
            if save is not None and time.monotonic() - saved > save_seconds:
                save()
                saved = time.monotonic()
