"""The one training loop, of a shape space as of one cloud's field: step, on_step, save, until the budget is spent."""

import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from latentsdf.utils.console import track


@runtime_checkable
class Steps(Protocol):
    """What can be trained."""

    seconds: float
    """Time spent on steps, over all runs."""

    def progress(self) -> float:
        """Share of the budget spent; 1 is the end."""

    def train_step(self) -> dict[str, float]:
        """One optimization step; returns its terms."""


def run_training_loop(
    steps: Steps,
    name: str,
    *,
    should_continue: Callable[[], bool],
    on_step: Callable[[dict[str, float], float], str | None],
    save: Callable[[], None] | None = None,
    save_seconds: float = 120.0,
) -> None:
    """Steps until their budget is spent or `should_continue` says no, under a bar called `name`.

    `on_step` receives the terms and the seconds of every step and may return a note for the progress bar; `save` is
    called every `save_seconds`.
    """
    saved = time.monotonic()
    with track(name, total=1000, unit="‰") as advance:
        shown = 0.0
        while should_continue() and steps.progress() < 1:
            started = time.monotonic()
            terms = steps.train_step()
            seconds = time.monotonic() - started
            steps.seconds += seconds
            note = on_step(terms, seconds)
            fraction = min(1.0, steps.progress())
            advance(1000 * (fraction - shown), note)
            shown = fraction
            if save is not None and time.monotonic() - saved > save_seconds:
                save()
                saved = time.monotonic()
