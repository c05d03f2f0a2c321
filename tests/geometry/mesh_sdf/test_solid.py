"""Sheets become slabs with the analytic distance, in every kind of sample; what is closed stays as it is."""

import dataclasses

import numpy as np
import pytest
import trimesh

from latentsdf.config.sampling import SamplingConfig
from latentsdf.geometry.lattice import band_width, lattice_points
from latentsdf.geometry.mesh_sdf.sampling import sample
from latentsdf.geometry.mesh_sdf.solid import Solid

CONFIG = SamplingConfig(resolution=64, band_voxels=3.0, sparse_resolution=16, near=1500, uniform=800, surface=1500)
RADIUS = band_width(64, 3.0) / 2
SHEET, BOX = np.array([0.5, 0.4]), np.array([0.15, 0.3, 0.25])
CENTER = np.array([0.0, 0.0, -0.45])


def sheet():
    x, y = SHEET
    corners = [[-x, -y, 0.3], [x, -y, 0.3], [x, y, 0.3], [-x, y, 0.3]]
    return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)


def sheet_and_box():
    return trimesh.util.concatenate([sheet(), trimesh.creation.box(2 * BOX).apply_translation(CENTER)])


def truth_of_sheet(points):
    points = points.astype(np.float64)
    aside = np.maximum(np.abs(points[:, :2]) - SHEET, 0)
    return np.sqrt((aside**2).sum(1) + (points[:, 2] - 0.3) ** 2) - RADIUS


def truth(points):
    """Signed distance of the slab around the sheet, and of the box beside it."""
    points = points.astype(np.float64)
    q = np.abs(points - CENTER) - BOX
    return np.minimum(truth_of_sheet(points), np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0))


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [(sheet(), truth_of_sheet), (sheet_and_box(), truth)],
    ids=["sheet", "sheet and box"],
)
def test_every_sample_has_the_distance_of_the_slab(mesh, expected):
    samples = sample(mesh, CONFIG, seed=1)
    dense = lattice_points(np.arange(65**3), 64)
    band = np.flatnonzero(np.abs(expected(dense)) <= band_width(64, 3.0) * (1 + 1e-6))
    np.testing.assert_array_equal(samples.band_index, band)
    np.testing.assert_allclose(samples.band_distance, expected(dense[band]), atol=1e-6)
    coarse = expected(lattice_points(np.arange(17**3), 16)).reshape(17, 17, 17)
    np.testing.assert_allclose(samples.sparse_distance, coarse, atol=1e-6)
    for cloud in (samples.near, samples.uniform):
        np.testing.assert_allclose(cloud[:, 3], expected(cloud[:, :3]), atol=1e-6)
    points, normals = samples.surface[:, :3], samples.surface[:, 3:]
    assert points.shape == (1500, 3)
    np.testing.assert_allclose(expected(points), 0, atol=2e-6)
    np.testing.assert_allclose(expected(points + 0.01 * normals), 0.01, atol=2e-6)
    assert samples.sign.sheet == pytest.approx(4 * SHEET.prod() / mesh.area)


def test_thickness_follows_the_setting_and_zero_turns_it_off():
    thick = sample(sheet_and_box(), dataclasses.replace(CONFIG, sheet_thickness=2.0), seed=1)
    on_sheet = np.ravel_multi_index((32, 32, 41), (65,) * 3)
    at = np.searchsorted(thick.band_index, on_sheet)
    gap = abs(lattice_points(np.array([on_sheet]), 64)[0, 2] - 0.3)
    assert thick.band_distance[at] == pytest.approx(gap - band_width(64, 1.0), abs=1e-6)
    off = sample(sheet_and_box(), dataclasses.replace(CONFIG, sheet_thickness=0.0), seed=1)
    assert off.sign.sheet == 0
    assert np.abs(off.band_distance[np.searchsorted(off.band_index, on_sheet)]) == pytest.approx(gap, abs=1e-6)


def test_closed_mesh_does_not_change():
    mesh = trimesh.creation.torus(0.6, 0.2)
    with_rule, without = (sample(mesh, dataclasses.replace(CONFIG, sheet_thickness=t), seed=2) for t in (3.0, 0.0))
    for field in ("band_index", "band_distance", "sparse_distance", "near", "uniform", "surface"):
        np.testing.assert_array_equal(getattr(with_rule, field), getattr(without, field))


def test_points_covered_by_the_other_part_are_left_out():
    """A sheet through a box: neither part's surface inside the other is surface of the solid."""
    mesh = trimesh.util.concatenate([sheet(), trimesh.creation.box((0.4, 0.4, 0.4)).apply_translation((0, 0, 0.3))])
    samples = sample(mesh, CONFIG, seed=0)
    solid = Solid(mesh, 2 * RADIUS)
    assert samples.sign.sheet > 0.3 and len(samples.surface) == 1500
    np.testing.assert_allclose(solid(samples.surface[:, :3].astype(np.float64)), 0, atol=2e-6)
    assert (solid(samples.surface[:, :3] + 0.01 * samples.surface[:, 3:].astype(np.float64)) > 0).all()
