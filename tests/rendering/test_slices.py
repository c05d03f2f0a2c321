"""Slices of an analytic sphere and of its fusion band."""

import numpy as np
import pytest
import torch
from helpers.fields import sphere

from latentsdf.extraction.fusion_band import find_band
from latentsdf.rendering.level_sets import Axis
from latentsdf.rendering.slices import render_slice


def _ball(points: torch.Tensor) -> torch.Tensor:
    return sphere(points, 0.5)


def _is_blue(image: np.ndarray) -> np.ndarray:
    return image[..., 2] > image[..., 0].astype(float) + 5


def test_fill_zero_set_and_level_sets_of_sphere_slice() -> None:
    """Blue fills the disc, black marks its circle, and gray circles are at multiples of the spacing."""
    image = np.asarray(render_slice(_ball, size=200, spacing=0.1), dtype=float)
    radius = np.hypot(*((np.mgrid[:200, :200] + 0.5) / 100 - 1))
    blue = _is_blue(image)
    assert not blue[radius > 0.51].any() and blue[(radius < 0.48) & (radius > 0.42)].all()
    black = image.sum(-1) == 0
    assert black.any() and np.abs(radius[black] - 0.5).max() < 0.02
    gray = (image == 140).all(-1)
    assert gray.any() and np.abs((radius[gray] * 10 + 0.5) % 1 - 0.5).max() < 0.2


@pytest.mark.parametrize(("axis", "right", "down"), [("x", 0.3, -0.2), ("y", 0.1, 0.3), ("z", 0.1, -0.2)])
def test_sphere_position_on_each_axis(axis: Axis, right: float, down: float) -> None:
    """The disc of a sphere away from the origin lies where the orientation of the slice puts it."""
    center = torch.tensor([0.1, 0.2, 0.3])
    rows, columns = np.nonzero(_is_blue(np.asarray(render_slice(lambda p: _ball(p - center), axis=axis, size=100))))
    np.testing.assert_allclose((columns.mean() / 50 - 1, rows.mean() / 50 - 1), (right, down), atol=0.03)


def test_slice_past_sphere() -> None:
    """A plane at a distance of 0.6 does not intersect a sphere of radius 0.5."""
    assert not _is_blue(np.asarray(render_slice(_ball, axis="x", offset=0.6, size=50))).any()


def test_band_tint_around_circle() -> None:
    """With a band, pixels change color near the circle and only there."""
    band = find_band(_ball, resolution=64, band_voxels=24.0)  # 3 cells of this lattice
    plain, tinted = (np.asarray(render_slice(_ball, size=128, spacing=9.0, band=b), dtype=float) for b in (None, band))
    changed = (plain != tinted).any(-1)
    near = np.abs(np.hypot(*((np.mgrid[:128, :128] + 0.5) / 64 - 1)) - 0.5)
    surface = (plain == 0).all(-1)
    assert changed[(near < 3 / 32) & ~surface].all() and not changed[near > 4 * 3**0.5 / 32].any()
