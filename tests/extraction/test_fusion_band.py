"""Membership in the fusion band and sphere tracing through it, on spheres."""

import numpy as np
import pytest
import torch
from helpers.fields import sphere
from PIL import Image

from latentsdf.extraction.fusion_band import find_band
from latentsdf.rendering.render import render_field

RESOLUTION, CELL = 64, 2 / 64
VOXELS = 24.0  # 3 cells of this lattice


def clamped(points: torch.Tensor) -> torch.Tensor:
    """Exact within 0.1 of a sphere and a thin rod, far too large elsewhere, as after training on clamped distances."""
    rod = (points[:, :2] - torch.tensor([0.8, 0.0])).norm(dim=1) - 0.03
    distance = torch.minimum(points.norm(dim=1) - 0.5, rod)
    return torch.where(distance.abs() < 0.1, distance, 5 * distance)


def points(count: int = 20_000) -> torch.Tensor:
    """Uniform random points of the box."""
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_surface_neighborhood_in_band() -> None:
    """Points within the dilation are in the band; points beyond its diagonal plus a cell are not."""
    band = find_band(sphere, resolution=RESOLUTION, band_voxels=VOXELS)
    distance, inside = sphere(points()).abs(), band.contains(points())
    assert inside[distance <= 3 * CELL].all() and not inside[distance > 4 * CELL * 3**0.5].any()
    assert not band.contains(torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, 1, -1]])).any()


def test_tracing_steps_outside_band() -> None:
    """Steps outside the band end outside; inside, the field is clamped to one cell."""
    band = find_band(sphere, resolution=RESOLUTION, band_voxels=VOXELS)
    step = band.tracing_field(sphere)(points())
    direction = torch.nn.functional.normalize(points().flip(0), dim=1)
    away = ~band.contains(points()) & (step > CELL / 2)
    assert away.float().mean() > 0.3
    for share in (0.25, 0.5, 1.0):
        assert not band.contains((points() + share * step[:, None] * direction)[away]).any()
    inside = band.contains(points())
    torch.testing.assert_close(step[inside], sphere(points())[inside].clamp(max=CELL))


def test_empty_band_without_surface() -> None:
    """A positive field has no band."""
    band = find_band(lambda x: sphere(x) + 2, resolution=32)
    assert not band.contains(points(100)).any()


@pytest.mark.slow
def test_thin_parts_of_overestimating_field() -> None:
    """A field that overestimates far from the surface loses a rod in plain tracing, but not through its band."""
    exact = render_field(lambda x: torch.where(clamped(x).abs() < 0.1, clamped(x), clamped(x) / 5), size=64)
    traced = render_field(find_band(clamped, band_voxels=6.0).tracing_field(clamped), size=64)
    assert _differing_share(exact, traced) < 0.01
    assert _differing_share(exact, render_field(clamped, size=64)) > 0.03


def _differing_share(one: Image.Image, other: Image.Image) -> float:
    """Fraction of pixels whose brightness differs by more than 40."""
    difference = np.asarray(one.convert("L"), dtype=int) - np.asarray(other.convert("L"), dtype=int)
    return float((np.abs(difference) > 40).mean())
