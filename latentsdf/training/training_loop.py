"""The one training loop, of a shape space as of one cloud's field: step, tell, keep, until the budget is spent."""

import time
from collections.abc import Callable
from typing import Protocol

from latentsdf.utils.console import track


class Steps(Protocol):
    """What can be trained."""

    seconds: float
    """Time spent on steps, over all runs."""

    def progress(self) -> float:
        """Share of the budget spent; 1 is the end."""

    def train_step(self) -> dict[str, float]:
        """One optimization step; returns its terms."""


def take_steps(
    steps: Steps,
    name: str,
    *,
    going: Callable[[], bool],
    tell: Callable[[dict[str, float], float], str | None],
    keep: Callable[[], None] | None = None,
    keep_seconds: float = 120.0,
) -> None:
    """Steps until their budget is spent or `going` says no, under a bar called `name`.

    `tell` hears the terms and the seconds of every step, and may answer with a note for the bar; `keep` is called now
    and then to save the state.
    """
    kept = time.monotonic()
    with track(name, total=1000, unit="‰") as advance:
        shown = 0.0
        while going() and steps.progress() < 1:
            started = time.monotonic()
            terms = steps.train_step()
            seconds = time.monotonic() - started
            steps.seconds += seconds
            note = tell(terms, seconds)
            fraction = min(1.0, steps.progress())
            advance(1000 * (fraction - shown), note)
            shown = fraction
            if keep is not None and time.monotonic() - kept > keep_seconds:
                keep()
                kept = time.monotonic()
