"""Mean loss terms over windows of steps, and the stopping rule based on them."""

from typing import Any

WINDOW_STEPS = 100
"""Steps per entry of the history."""
_MIN_IMPROVEMENT = 0.01


class LossHistory:
    """Loss terms averaged over windows of 100 steps.

    `entries` holds a dictionary per window: `step` and `seconds` at its end, and the mean of each unweighted term. A
    term that was not evaluated in all steps of the window is left out.
    """

    def __init__(self) -> None:
        self.entries: list[dict[str, int | float]] = []
        self._window: list[dict[str, float]] = []

    def add(self, terms: dict[str, float], step: int, seconds: float) -> bool:
        """Record the terms of a step; returns True if they complete a window."""
        self._window.append(terms)
        if len(self._window) < WINDOW_STEPS:
            return False
        self.close_window(step, seconds)
        return True

    def close_window(self, step: int, seconds: float) -> None:
        """Append an entry for the steps since the last entry, if there are any."""
        if not self._window:
            return
        names = [name for name in self._window[0] if all(name in terms for terms in self._window)]
        mean = {name: sum(terms[name] for terms in self._window) / len(self._window) for name in names}
        self.entries.append({"step": step, "seconds": seconds} | mean)
        self._window = []

    def has_stalled(self, patience: int) -> bool:
        """Return True if the surface term has not fallen by 1 % in the last `patience` windows; False if it is 0.

        Windows without a surface term, such as those of the heat step of HeatSDF, do not count.
        """
        errors = [entry["surface"] for entry in self.entries if "surface" in entry]
        if patience == 0 or self._window or len(errors) <= patience:
            return False
        return min(errors[-patience:]) > (1 - _MIN_IMPROVEMENT) * min(errors[:-patience])

    def state_dict(self) -> dict[str, Any]:
        """Return all entries and the steps of the open window."""
        return {"entries": self.entries, "window": self._window}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.entries, self._window = state["entries"], state["window"]
