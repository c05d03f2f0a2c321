"""Sphere tracing steps, counted as in the release of HotSpot."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from latentsdf.rendering.step_counts import count_steps, trace_from_both_ends


def _steps_of_one_ray(field: Callable[[np.ndarray], float], origin: np.ndarray, direction: np.ndarray) -> int:
    """Count the steps of a ray one by one, as the release describes them."""
    along = float(direction @ origin)
    under_root = along**2 - (origin @ origin - 1)
    if under_root <= 0:
        return 0
    start, end = max(-along - under_root**0.5, 0.0), max(-along + under_root**0.5, 0.0)
    at = [field(origin + start * direction), field(origin + end * direction)]
    running, steps = [True, True], 0
    for iteration in range(31):
        running = [active and value > 5e-5 for active, value in zip(running, at, strict=True)]
        steps += running[0]
        if not any(running) or iteration == 30:
            return steps
        moved = [value if active else 0.0 for active, value in zip(running, at, strict=True)]
        start, end = start + moved[0], end - moved[1]
        at = [field(origin + x * direction) if on else 0.0 for x, on in zip((start, end), running, strict=True)]
        for halving in (2, 4, 8):
            if at[0] < 0:
                start -= moved[0] / halving
                at[0] = field(origin + start * direction)
            if at[1] < 0:
                end += moved[1] / halving
                at[1] = field(origin + end * direction)
        running = [active and start < end for active in running]
    raise AssertionError


@pytest.mark.parametrize("slope", [0.3, 1.0, 1.7, 3.0])
def test_counts_of_single_rays(slope: float) -> None:
    """Counts of many rays at once equal those of one ray after the other, also where steps cross the surface."""
    rng = np.random.default_rng(0)
    origin = np.array([1.0, 0.5, 0.0])
    directions = -origin + rng.normal(0, 0.6, (60, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    def field(points: torch.Tensor) -> torch.Tensor:
        return slope * torch.minimum(points.norm(dim=1) - 0.4, (points - 0.3).norm(dim=1) - 0.25)

    found = trace_from_both_ends(field, *(torch.from_numpy(x) for x in (origin, directions)))
    wanted = [_steps_of_one_ray(lambda x: float(field(torch.from_numpy(x)[None])), origin, ray) for ray in directions]
    assert found.tolist() == wanted
    assert 0 in wanted and max(wanted) >= 1


def test_steps_toward_a_sphere() -> None:
    """An exact distance is traced radially in one step; half of it leaves half of the gap at each of 13 steps."""
    origin = torch.tensor([1.2, 0.0, 0.0])
    rays = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    for slope, steps in ((1.0, 1), (0.5, 13)):
        counts = trace_from_both_ends(lambda points, slope=slope: slope * (points.norm(dim=1) - 0.5), origin, rays)
        assert counts.tolist() == [steps, 0]
    never = trace_from_both_ends(lambda points: torch.full_like(points[:, 0], 1e-3), origin, rays)
    assert never.tolist() == [31, 0]


def test_images() -> None:
    """An exact distance takes fewer steps than an underestimate; images see the whole ball."""
    exact, slow = (
        count_steps(lambda points, slope=slope: slope * (points.norm(dim=1) - 0.5), size=24, views=2)
        for slope in (1.0, 0.2)
    )
    assert 0.5 < exact.mean < slow.mean and exact.unfinished < 0.1 < slow.unfinished
    # The ball fills the images, and without a surface the ends of each ray meet after one or two steps.
    empty = count_steps(lambda points: torch.full_like(points[:, 0], 0.6), size=24, views=2)
    assert 1 <= empty.mean <= 2 and empty.unfinished == 0
