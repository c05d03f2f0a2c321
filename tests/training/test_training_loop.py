"""The training loop on a counter."""

from collections.abc import Callable

import pytest

from latentsdf.training import training_loop
from latentsdf.training.training_loop import run_training_loop


class Counter:
    """Ten steps."""

    def __init__(self) -> None:
        self.step, self.seconds = 0, 0.0

    def progress(self) -> float:
        """Share of the ten steps."""
        return self.step / 10

    def train_step(self) -> dict[str, float]:
        """Count."""
        self.step += 1
        return {"loss": 1 / self.step}


def _run(counter: Counter, should_continue: Callable[[], bool], save_seconds: float) -> tuple[list[float], list[int]]:
    losses: list[float] = []
    saved: list[int] = []
    run_training_loop(
        counter,
        "counting",
        should_continue=should_continue,
        on_step=lambda terms, _: losses.append(terms["loss"]),
        save=lambda: saved.append(counter.step),
        save_seconds=save_seconds,
    )
    return losses, saved


def test_end_of_loop_by_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop takes the steps of the budget, adds up their time, and saves at intervals."""
    clock = iter(range(1000))
    monkeypatch.setattr(training_loop.time, "monotonic", lambda: float(next(clock)))
    counter = Counter()
    losses, saved = _run(counter, lambda: True, save_seconds=7.5)
    assert losses == [1 / step for step in range(1, 11)]
    assert counter.seconds == 10.0
    assert 2 <= len(saved) <= 5 and saved == sorted(set(saved))


def test_stop_of_loop_on_request() -> None:
    """`should_continue` is evaluated before each step."""
    counter = Counter()
    losses, saved = _run(counter, lambda: counter.step < 4, save_seconds=1e9)
    assert len(losses) == 4 and saved == []
