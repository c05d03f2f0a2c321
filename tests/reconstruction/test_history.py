"""Means of loss terms and the stopping rule."""

from latentsdf.reconstruction.history import WINDOW_STEPS, LossHistory


def _history(surface: list[float]) -> LossHistory:
    history = LossHistory()
    for window, value in enumerate(surface):
        for step in range(WINDOW_STEPS):
            history.add({"surface": value}, window * WINDOW_STEPS + step + 1, 0.0)
    return history


def test_window_means() -> None:
    """An entry holds the means of 100 steps; a term that is missing in a step is left out."""
    history = LossHistory()
    for step in range(1, 101):
        terms = {"surface": float(step), "heat": 1.0} if step < 50 else {"surface": float(step)}
        assert history.add(terms, step, 0.5 * step) == (step == 100)
    assert history.entries == [{"step": 100, "seconds": 50.0, "surface": 50.5}]
    history.close_window(100, 50.0)
    assert len(history.entries) == 1
    history.add({"surface": 2.0, "heat": 3.0}, 101, 51.0)
    history.close_window(101, 51.0)
    assert history.entries[1] == {"step": 101, "seconds": 51.0, "surface": 2.0, "heat": 3.0}


def test_stall_rule() -> None:
    """A run stalls if no window of the last `patience` is 1 % below all earlier ones."""
    assert not _history([1.0, 1.0, 1.0]).has_stalled(0)
    assert not _history([1.0, 1.0]).has_stalled(2)
    assert _history([1.0, 1.0, 0.995]).has_stalled(2)
    assert not _history([1.0, 1.0, 0.98]).has_stalled(2)
    assert _history([0.5, 1.0, 0.98]).has_stalled(2)


def test_windows_without_surface_term() -> None:
    """Windows before the surface term exists, such as those of a heat step, do not count as stalled."""
    history = LossHistory()
    for step in range(3 * WINDOW_STEPS):
        history.add({"heat_near": -1.0}, step + 1, 0.0)
    assert len(history.entries) == 3 and not history.has_stalled(2)
    for step in range(3 * WINDOW_STEPS):
        history.add({"surface": 1.0}, step + 1, 0.0)
        assert history.has_stalled(2) == (step + 1 == 3 * WINDOW_STEPS)


def test_state_dict_round_trip() -> None:
    """An open window survives saving and loading."""
    history, loaded = _history([1.0]), LossHistory()
    history.add({"surface": 3.0}, 101, 1.0)
    loaded.load_state_dict(history.state_dict())
    loaded.close_window(101, 1.0)
    assert [entry["surface"] for entry in loaded.entries] == [1.0, 3.0]
