"""Thickened sheets against their analytic distance, in every kind of sample; closed meshes are unchanged."""

import dataclasses

import numpy as np
import pytest
import trimesh
from helpers.meshes import MESHES, box_distance, flipped_torus

from latentsdf.config.sampling import SamplingConfig
from latentsdf.geometry.lattice import band_width, lattice_points
from latentsdf.geometry.mesh_sdf.narrow_band import narrow_band
from latentsdf.geometry.mesh_sdf.sampling import sample
from latentsdf.geometry.mesh_sdf.solid import Solid, signed_narrow_band

CONFIG = SamplingConfig(resolution=64, band_voxels=3.0, sparse_resolution=16, near=1500, uniform=800, surface=1500)
RADIUS = band_width(64, 3.0) / 2
SHEET, BOX = np.array([0.5, 0.4]), np.array([0.15, 0.3, 0.25])
CENTER = np.array([0.0, 0.0, -0.45])


def sheet():
    """Horizontal rectangle at z = 0.3, single-sided."""
    x, y = SHEET
    corners = [[-x, -y, 0.3], [x, -y, 0.3], [x, y, 0.3], [-x, y, 0.3]]
    return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)


def sheet_and_box():
    """The rectangle and a closed box below it."""
    return trimesh.util.concatenate([sheet(), trimesh.creation.box(2 * BOX).apply_translation(CENTER)])


def sheet_truth(points):
    """Signed distance of the thickened rectangle."""
    points = points.astype(np.float64)
    aside = np.maximum(np.abs(points[:, :2]) - SHEET, 0)
    return np.sqrt((aside**2).sum(1) + (points[:, 2] - 0.3) ** 2) - RADIUS


def sheet_and_box_truth(points):
    """Signed distance of the union of the thickened rectangle and the box."""
    points = points.astype(np.float64)
    return np.minimum(sheet_truth(points), box_distance(points - CENTER, BOX))


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [(sheet().subdivide(), sheet_truth), (sheet_and_box(), sheet_and_box_truth)],
    ids=["sheet", "sheet and box"],
)
def test_samples_of_sheets_match_closed_form(mesh, expected):
    """Lattice values, random points, surface points and normals agree with the thickened sheet, alone or with a box."""
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


def test_configured_sheet_thickness():
    """The boundary of a sheet moves with the thickness; with thickness zero the distance is that of the mesh."""
    thick = sample(sheet_and_box(), dataclasses.replace(CONFIG, sheet_thickness=2.0), seed=1)
    on_sheet = np.ravel_multi_index((32, 32, 41), (65,) * 3)
    at = np.searchsorted(thick.band_index, on_sheet)
    gap = abs(lattice_points(np.array([on_sheet]), 64)[0, 2] - 0.3)
    assert thick.band_distance[at] == pytest.approx(gap - band_width(64, 1.0), abs=1e-6)
    off = sample(sheet_and_box(), dataclasses.replace(CONFIG, sheet_thickness=0.0), seed=1)
    assert off.sign.sheet == 0
    assert np.abs(off.band_distance[np.searchsorted(off.band_index, on_sheet)]) == pytest.approx(gap, abs=1e-6)


def test_closed_mesh_by_sheet_thickness():
    """Samples of a mesh without sheets are bit-identical with and without the sheet rule."""
    mesh = trimesh.creation.torus(0.6, 0.2)
    with_sheets, without = (sample(mesh, dataclasses.replace(CONFIG, sheet_thickness=t), seed=2) for t in (3.0, 0.0))
    for field in ("band_index", "band_distance", "sparse_distance", "near", "uniform", "surface"):
        np.testing.assert_array_equal(getattr(with_sheets, field), getattr(without, field))


def test_surface_samples_outside_covered_surface():
    """Of a sheet through a box, surface of either part inside the other one is not boundary of the solid."""
    mesh = trimesh.util.concatenate([sheet(), trimesh.creation.box((0.4, 0.4, 0.4)).apply_translation((0, 0, 0.3))])
    samples = sample(mesh, CONFIG, seed=0)
    solid = Solid(mesh, 2 * RADIUS)
    assert samples.sign.sheet > 0.3 and len(samples.surface) == 1500
    np.testing.assert_allclose(solid(samples.surface[:, :3].astype(np.float64)), 0, atol=2e-6)
    assert (solid(samples.surface[:, :3] + 0.01 * samples.surface[:, 3:].astype(np.float64)) > 0).all()


@pytest.mark.parametrize("shape", ["torus", "soup"])
def test_signed_band_by_thread_count(shape):
    """Three threads give the same signed band as one, with the distances of the unsigned band."""
    mesh = MESHES[shape]()
    one, three = signed_narrow_band(mesh, 40, 3.0), signed_narrow_band(mesh, 40, 3.0, threads=3)
    np.testing.assert_array_equal(one.index, three.index)
    np.testing.assert_array_equal(one.distance, three.distance)
    np.testing.assert_array_equal(np.abs(one.distance), narrow_band(mesh, 40, 3.0).distance)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [sheet_and_box(), flipped_torus(0.3)], ids=["sheet and box", "flipped torus"])
def test_point_distances_after_lattices(mesh):
    """Signs taken from lattices computed before equal those of the sign rule."""
    points = np.random.default_rng(0).uniform(-1, 1, (3000, 3))
    plain, prepared = Solid(mesh, 2 * RADIUS), Solid(mesh, 2 * RADIUS)
    prepared.full_lattice(16)
    prepared.narrow_band(32, 2.0)
    np.testing.assert_array_equal(prepared(points), plain(points))


def test_thin_wall_beside_body():
    """Between the faces of a thin wall the distance is that of the sheet, not the depth in the distant body."""
    box = trimesh.creation.box((0.6, 0.6, 0.6)).apply_translation((0, 0, -0.4))
    wall = trimesh.creation.box((0.7, 0.7, 1e-3)).apply_translation((0.2, 0, 0.5))
    solid = Solid(trimesh.util.concatenate([box, wall]), thickness=0.1, sign="winding")
    assert solid.is_sheet[12:].any() and not solid.is_sheet[:12].any()
    middle = np.array([[0.2, 0, 0.5], [-0.1, 0.2, 0.5]])
    np.testing.assert_allclose(solid(middle), 0.0005 - 0.05, atol=1e-9)
    band = solid.narrow_band(32, 3.0)
    at = lattice_points(band.index, 32)
    core = (np.abs(at[:, 2] - 0.5) < 1e-6) & (np.abs(at[:, 0] - 0.2) < 0.3) & (np.abs(at[:, 1]) < 0.3)
    assert core.sum() > 50  # inside the wall the body is farther away than the band is wide
    np.testing.assert_allclose(band.distance[core], 0.0005 - 0.05, atol=1e-6)
