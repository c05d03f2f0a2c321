"""The band as a mask for points, and tracing through it, on spheres."""

import numpy as np
import torch
from PIL import Image

from latentsdf.extraction.fusion_band import find_band
from latentsdf.rendering.render import render_field

RESOLUTION, CELL = 64, 2 / 64
VOXELS = 24.0  # 3 cells of this lattice


def sphere(points: torch.Tensor) -> torch.Tensor:
    return points.norm(dim=1) - 0.7


def clamped(points: torch.Tensor) -> torch.Tensor:
    """Right within 0.1 of a sphere and a thin rod, far too large elsewhere: as after training on clamped distances."""
    rod = (points[:, :2] - torch.tensor([0.8, 0.0])).norm(dim=1) - 0.03
    distance = torch.minimum(points.norm(dim=1) - 0.5, rod)
    return torch.where(distance.abs() < 0.1, distance, 5 * distance)


def points(count: int = 20_000) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_band_holds_around_the_surface_and_not_beyond() -> None:
    """All within the growth along an axis, none beyond its diagonal and a cell's."""
    band = find_band(sphere, resolution=RESOLUTION, band_voxels=VOXELS)
    distance, held = sphere(points()).abs(), band.contains(points())
    assert held[distance <= 3 * CELL].all() and not held[distance > 4 * CELL * 3**0.5].any()
    assert not band.contains(torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, 1, -1]])).any()


def test_clearance_never_reaches_into_the_band() -> None:
    band = find_band(sphere, resolution=RESOLUTION, band_voxels=VOXELS)
    step = band.tracing_field(sphere)(points())
    direction = torch.nn.functional.normalize(points().flip(0), dim=1)
    away = ~band.contains(points()) & (step > CELL / 2)
    assert away.float().mean() > 0.3
    for share in (0.25, 0.5, 1.0):
        assert not band.contains((points() + share * step[:, None] * direction)[away]).any()
    held = band.contains(points())
    torch.testing.assert_close(step[held], sphere(points())[held].clamp(max=CELL))


def test_a_field_without_surface_has_an_empty_band() -> None:
    band = find_band(lambda x: sphere(x) + 2, resolution=32)
    assert not band.contains(points(100)).any()


def test_rays_through_a_field_that_is_too_large_far_away_meet_thin_parts() -> None:
    exact = render_field(lambda x: torch.where(clamped(x).abs() < 0.1, clamped(x), clamped(x) / 5), size=64)
    traced = render_field(find_band(clamped, band_voxels=6.0).tracing_field(clamped), size=64)
    assert _apart(exact, traced) < 0.01
    assert _apart(exact, render_field(clamped, size=64)) > 0.03


def _apart(one: Image.Image, other: Image.Image) -> float:
    """Share of pixels whose brightness differs clearly."""
    difference = np.asarray(one.convert("L"), dtype=int) - np.asarray(other.convert("L"), dtype=int)
    return float((np.abs(difference) > 40).mean())
