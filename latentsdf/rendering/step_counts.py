"""Sphere tracing steps, counted as in the release of HotSpot (Wang et al. 2025), whose tracer is that of IDR.

Ten cameras look at the origin from (cos a, 1/2, sin a), a = 0, 36, ... degrees, with a field of view of 60 degrees.
Each ray is traced inside the unit ball from both of its ends, toward each other. An end moves by the signed distance,
moves back by 1/2, 1/4 and 1/8 of its step while it is inside the surface, and stops where the distance is at most 5e-5,
where the ends meet, or after 30 steps. The count of a ray is the number of steps of its first end; it is 31 for a ray
that is not finished, and 0 for a ray that misses the ball. Mean and variance are over all rays of all images.

Counts depend on the size of the shape. HotSpot's shapes have a bounding box whose longest side is 1, with the mean of
the points at the origin.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.extraction.field import SignedDistance

VIEWS = 10
SIZE = 500
"""Pixels per side of the published images."""
_HEIGHT, _FIELD_OF_VIEW = 0.5, np.radians(60)
_THRESHOLD = 5e-5
_MAX_STEPS = 30
_BACKWARD_STEPS = 3


@dataclass(frozen=True)
class StepCounts:
    """Statistics of the steps of all rays."""

    mean: float
    """Mean number of steps."""
    variance: float
    """Variance of the number of steps."""
    unfinished: float
    """Share of rays that are not finished after 30 steps."""


def count_steps(
    field: SignedDistance, *, size: int = SIZE, views: int = VIEWS, device: torch.device | str = "cpu"
) -> StepCounts:
    """Count the sphere tracing steps of images of a field.

    Args:
        field: Signed distance, (N, 3) to (N,), of a shape in the unit ball.
        size: Pixels per side of an image.
        views: Number of images.
        device: Device of the field.

    Returns:
        Statistics over `views` size^2 rays.
    """
    counts = []
    for view in range(views):
        origin, directions = _camera_rays(2 * np.pi * view / views, size)
        traced = trace_from_both_ends(
            field, *(torch.from_numpy(np.float32(a)).to(device) for a in (origin, directions))
        )
        counts.append(traced.cpu().numpy())
    steps = np.concatenate(counts)
    return StepCounts(float(steps.mean()), float(steps.var()), float((steps > _MAX_STEPS).mean()))


@torch.no_grad()
def trace_from_both_ends(
    field: SignedDistance, origin: Float[Tensor, " 3"], directions: Float[Tensor, "N 3"]
) -> Int[Tensor, " N"]:
    """Return the number of steps (N,) of the first end of each ray; see the module docstring.

    Args:
        field: Signed distance.
        origin: Common origin of the rays, outside the unit ball.
        directions: Unit directions (N, 3).
    """
    along = directions @ origin
    inside = along.square() - (origin.square().sum() - 1)
    reach = inside.clamp(min=0).sqrt()
    ends = torch.stack((-along - reach, -along + reach)).clamp(min=0)  # (2, N)
    active = (inside > 0).repeat(2, 1)
    forward = torch.tensor([[1.0], [-1.0]], device=directions.device)
    counts = torch.zeros(len(directions), dtype=torch.long, device=directions.device)

    def evaluate(where: Tensor) -> Tensor:
        distance = torch.zeros_like(ends)
        rays = where.nonzero()[:, 1]
        if len(rays):
            distance[where] = field(origin + ends[where][:, None] * directions[rays])
        return distance

    distance = evaluate(active)
    for _ in range(_MAX_STEPS):
        active &= distance > _THRESHOLD
        counts += active[0]
        if not active.any():
            return counts
        step = torch.where(active, distance, 0.0)
        ends += forward * step
        distance = evaluate(active)
        for halving in range(1, _BACKWARD_STEPS + 1):
            crossed = distance < 0
            if not crossed.any():
                break
            ends -= torch.where(crossed, forward * step / 2**halving, 0.0)
            distance = torch.where(crossed, evaluate(crossed), distance)
        active &= ends[0] < ends[1]
    return counts + (active[0] & (distance[0] > _THRESHOLD))


def _camera_rays(angle: float, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Origin (3,) and unit directions (size^2, 3) of the rays of a pinhole camera that looks at the origin."""
    position = np.array([np.cos(angle), _HEIGHT, np.sin(angle)])
    ahead = -position / np.linalg.norm(position)
    right = np.cross([0.0, 1.0, 0.0], ahead)
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    pixel = (np.arange(size) - size / 2) / (size / 2 / np.tan(_FIELD_OF_VIEW / 2))
    across, down = np.meshgrid(pixel, pixel)
    directions = ahead + across.reshape(-1, 1) * right + down.reshape(-1, 1) * up
    return position, directions / np.linalg.norm(directions, axis=1, keepdims=True)
