"""Extracted meshes against analytic truth, and against scikit-image's marching cubes on the dense lattice."""

import math

import numpy as np
import pytest
import torch
import trimesh
from helpers.fields import box, detailed, noise, rod, sphere, torus
from helpers.mesh_assertions import assert_closed, assert_same_points, dense, dense_vertices
from scipy.ndimage import binary_dilation
from scipy.spatial import KDTree
from skimage.measure import marching_cubes as dense_marching_cubes

from latentsdf.extraction.extract import extract
from latentsdf.extraction.marching_cubes import marching_cubes
from latentsdf.extraction.sparse_lattice import allocate
from latentsdf.utils.errors import ConfigError, EmptyLevelSetError, LatentSDFError


def dense_band(general, cells):
    """Vertices of the band by its definition: sign-changing cells, dilated by a number of cells in each index."""
    inside = general < 0
    count = sum(
        inside[i : i - 1 or None, j : j - 1 or None, k : k - 1 or None].astype(int)
        for i in (0, 1) for j in (0, 1) for k in (0, 1)
    )  # fmt: skip
    crossed = binary_dilation((count > 0) & (count < 8), np.ones((2 * cells + 1,) * 3))
    vertices = np.zeros_like(inside)
    for i, j, k in np.ndindex(2, 2, 2):
        vertices[i : i - 1 or None, j : j - 1 or None, k : k - 1 or None] |= crossed
    return vertices


def assert_same_triangles(a, b):
    """Equal sets of triangles (F, 3, 3), each from its first corner in sorted order, with its orientation."""

    def canonical(triangles):
        rows = np.round(triangles, 9)
        first = np.lexsort(rows.transpose(2, 0, 1)[::-1], axis=1)[:, 0]
        rows = rows[np.arange(len(rows))[:, None], (first[:, None] + np.arange(3)) % 3].reshape(len(rows), 9)
        return rows[np.lexsort(rows.T[::-1])]

    assert np.array_equal(canonical(a), canonical(b))


def test_sphere_radius_area_and_volume_match_closed_form():
    """Vertices lie on the sphere, and area and volume match to 1e-3; a positive volume means outward faces."""
    mesh = extract(sphere, resolution=128)
    assert_closed(mesh)
    assert mesh.euler_number == 2
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.7).max() < 5e-5
    assert mesh.area == pytest.approx(4 * math.pi * 0.7**2, rel=1e-3)
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.7**3, rel=1e-3)


def test_torus_topology_and_volume_match_closed_form():
    """The mesh is closed with Euler number 0, and its volume matches."""
    mesh = extract(torus, resolution=128)
    assert_closed(mesh)
    assert mesh.euler_number == 0
    assert mesh.volume == pytest.approx(2 * math.pi**2 * 0.55 * 0.2**2, rel=5e-3)


@pytest.mark.parametrize("resolution", [16, 64, 100])
def test_closed_box_with_sides_on_lattice_planes(resolution):
    """Side vertices of the lattice are exactly 0 at 16 and 64 cells; nothing may collapse or open."""
    mesh = extract(box, resolution=resolution)
    assert_closed(mesh)
    assert mesh.euler_number == 2
    assert np.allclose(mesh.bounds, [[-0.5, -0.25, -0.75], [0.5, 0.25, 0.75]], atol=1e-5)


def test_closed_mesh_with_zeros_at_concave_edges():
    """Two crossing boxes with exact zeros on their concave edges give one closed surface."""
    mesh = extract(lambda p: torch.minimum(box(p, (0.75, 0.25, 0.25)), box(p, (0.25, 0.75, 0.5))), resolution=32)
    assert_closed(mesh)
    assert mesh.euler_number == 2


def test_completeness_of_thin_rod():
    """A rod of radius 0.02, thinner than a coarse cell, is extracted over its whole length."""
    mesh = extract(rod, resolution=256)
    assert_closed(mesh)
    assert mesh.euler_number == 2
    assert np.ptp(mesh.vertices @ [0.6, 0.48, 0.64]) == pytest.approx(1.64, abs=0.002)


@pytest.mark.parametrize(
    ("field", "resolution", "lipschitz"),
    [(torus, 64, 1.5), (torus, 128, 1.0), (rod, 128, 1.0), (detailed, 96, 1.5), (noise, 64, 8.0)],
)
def test_general_mode_matches_dense_lattice(field, resolution, lipschitz):
    """Sparse extraction has the vertices of scikit-image's marching cubes on the dense lattice."""
    mesh = extract(field, resolution=resolution, lipschitz=lipschitz)
    assert_closed(mesh)
    assert_same_points(mesh.vertices, dense_vertices(dense(field, resolution)), 2.1e-4 / resolution + 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("resolution", "voxels", "cells"), [(64, 3, 2), (128, 3, 2), (128, 12, 3), (64, 1, 1)])
@pytest.mark.parametrize("overfit", [detailed, noise])
def test_fused_mode_matches_dense_fusion(resolution, voxels, cells, overfit):
    """The mesh matches dense fusion; `noise` leaves the band, so the jump between the fields is meshed as well."""
    mesh = extract(torus, overfit, resolution=resolution, band_voxels=voxels)
    assert_closed(mesh)
    general = dense(torus, resolution)
    fused = np.where(dense_band(general, cells), dense(overfit, resolution), general)
    assert_same_points(mesh.vertices, dense_vertices(fused), 2.1e-4 / resolution + 1e-6)


def tilted(points):
    """The torus plus a linear function, so that its surface leaves the band."""
    return torus(points) + 0.3 * points[:, 0]


def specked(points):
    """The torus and a ball that contains one vertex of 128 cells, in the middle of a cell of 64."""
    return torch.minimum(torus(points), (points - torch.tensor([51, 1, 1]) / 64).norm(dim=1) - 0.012)


@pytest.mark.slow
@pytest.mark.parametrize(("overfit", "lipschitz"), [(detailed, 1.5), (tilted, 1.5), (specked, 1.5), (noise, 1e3)])
def test_thick_band_matches_dense_fusion_with_fewer_evaluations(overfit, lipschitz):
    """A thick band is searched from half the resolution; `tilted` and `noise` leave it through its border."""
    evaluated = 0

    def recorder(points):
        nonlocal evaluated
        evaluated += len(points)
        return overfit(points)

    mesh = extract(torus, recorder, resolution=128, band_voxels=24, lipschitz=lipschitz)
    assert_closed(mesh)
    general = dense(torus, 128)
    band = dense_band(general, 6)
    fused = np.where(band, dense(overfit, 128), general)
    assert_same_points(mesh.vertices, dense_vertices(fused), 2.1e-4 / 128 + 1e-6)
    if lipschitz < 2:
        assert evaluated < 0.5 * band.sum()


@pytest.mark.slow
def test_exact_values_in_thick_band_with_steep_field():
    """Ends of sign-changing edges are evaluations of the field, on either side of the band's border."""
    mesh = extract(torus, noise, resolution=128, band_voxels=24)
    assert_closed(mesh)
    general = dense(torus, 128)
    fused = np.where(dense_band(general, 6), dense(noise, 128), general)
    assert KDTree(dense_vertices(fused)).query(mesh.vertices)[0].max() < 2.1e-4 / 128 + 1e-6


def test_start_on_a_coarser_lattice_takes_fewer_evaluations():
    """The mesh is the same, bit for bit."""
    counts = []

    def counted(points):
        counts[-1] += len(points)
        return torus(points)

    meshes = []
    for coarsest in (32, 16):
        counts.append(0)
        meshes.append(extract(counted, resolution=64, coarsest=coarsest))
    assert counts[1] < 0.8 * counts[0]
    assert np.array_equal(meshes[0].vertices, meshes[1].vertices)
    assert np.array_equal(meshes[0].faces, meshes[1].faces)


def test_triangles_match_dense_lattice():
    """With the same tables every triangle is equal; scikit-image cuts some polygons along other diagonals."""
    mesh = extract(torus, detailed, resolution=64)
    fused = np.where(dense_band(general := dense(torus, 64), 2), dense(detailed, 64), general)
    lattice = allocate(64)
    lattice.value[lattice.vertex_mask()] = np.inf
    inside = lattice.vertex_mask() & ~lattice.padding_mask()
    lattice.value[inside] = fused[tuple(lattice.vertex_indices(inside).T)]
    vertices, faces = marching_cubes(lattice)
    assert len(vertices) == len(mesh.vertices)
    assert_same_triangles(mesh.vertices[mesh.faces], vertices[faces])

    vertices, faces, _, _ = dense_marching_cubes(fused, 0.0, method="lorensen")
    reference = trimesh.Trimesh(vertices.astype(np.float64) / 32 - 1, faces)
    assert len(mesh.faces) == len(reference.faces)
    assert mesh.euler_number == reference.euler_number == 0
    assert mesh.area == pytest.approx(reference.area, rel=1e-3)
    assert mesh.volume == pytest.approx(abs(reference.volume), rel=1e-3)


@pytest.mark.parametrize("method", ["sparse", "skimage"])
def test_overfit_branch_in_whole_box(method):
    """`overfit_box` shows a surface of the overfit branch far from the band, which no other mode does."""

    def with_ball(points):
        return torch.minimum(sphere(points, 0.3), sphere(points - 0.7, 0.2))

    volume = {
        mode: extract(lambda p: sphere(p, 0.3), with_ball, resolution=64, mode=mode, method=method).volume
        for mode in ("fused", "overfit", "overfit_box")
    }
    assert volume["fused"] == pytest.approx(4 / 3 * math.pi * 0.3**3, rel=0.02)
    assert volume["overfit_box"] == pytest.approx(4 / 3 * math.pi * (0.3**3 + 0.2**3), rel=0.02)
    assert volume["overfit"] < 0.9 * volume["overfit_box"]
    with pytest.raises(ConfigError, match="mode 'overfit_box' needs the `overfit` field"):
        extract(torus, mode="overfit_box")


def test_overfit_evaluations_at_band_vertices():
    """The overfit branch is evaluated once at each vertex of the band, in chunks of the given size."""
    evaluated = []

    def recorder(points):
        evaluated.append(points)
        return detailed(points)

    extract(torus, recorder, resolution=64, chunk=1000)
    assert max(len(points) for points in evaluated) <= 1000
    points = torch.cat(evaluated)
    expected = np.argwhere(dense_band(dense(torus, 64), 2))
    assert_same_points(points.numpy(), expected / 32 - 1, 1e-6)


@pytest.mark.slow
def test_growth_of_evaluation_count():
    """Doubling the resolution takes about four times the evaluations, a small fraction of the dense lattice."""

    def cost(resolution):
        count = 0

        def field(points):
            nonlocal count
            count += len(points)
            return sphere(points)

        extract(field, resolution=resolution)
        return count

    assert cost(256) < 0.025 * 257**3
    assert cost(256) < 4.2 * cost(128)


def test_coarse_signs_in_wide_band():
    """A band wider than the refined cells needs no further evaluations of the general branch."""
    evaluated = []

    def general(points):
        evaluated.append(len(points))
        return sphere(points)

    extract(general, resolution=128)
    alone = sum(evaluated)
    extract(general, sphere, resolution=128, band_voxels=24)
    assert sum(evaluated) - alone <= alone


def test_branch_of_each_mode():
    """Of two spheres 0.01 apart, fused and overfit take the second, smooth lies between, general takes the first."""
    shifted = lambda p: sphere(p, 0.71)  # noqa: E731
    radius = {
        mode: np.linalg.norm(extract(sphere, shifted, resolution=64, mode=mode).vertices, axis=1).mean()
        for mode in ("general", "fused", "overfit", "smooth")
    }
    assert radius["general"] == pytest.approx(0.7, abs=3e-4)
    assert radius["fused"] == pytest.approx(0.71, abs=3e-4)
    assert radius["overfit"] == pytest.approx(0.71, abs=3e-4)
    assert radius["smooth"] == pytest.approx(0.71, abs=1e-3)
    assert radius["smooth"] < radius["fused"]


def test_smooth_mode_matches_dense_blend():
    """The mesh matches the Gaussian blend of both branches on the dense lattice."""
    mesh = extract(torus, detailed, resolution=64, mode="smooth")
    assert_closed(mesh)
    general, overfit = dense(torus, 64), dense(detailed, 64)
    gate = np.exp(-((general / (2 * 2 / 64)) ** 2)) * dense_band(general, 4)
    assert_same_points(mesh.vertices, dense_vertices(gate * overfit + (1 - gate) * general), 1e-5)


def test_sphere_offset_by_level():
    """Level 0.1 of a sphere of radius 0.7 is a sphere of radius 0.8."""
    mesh = extract(sphere, resolution=64, level=0.1)
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.8).max() < 3e-4


@pytest.mark.parametrize("overfit", [None, lambda p: sphere(p, 1.19)])
def test_caps_of_shape_cut_by_box(overfit):
    """A sphere larger than the box gets closed caps, and the volume of the truncated sphere matches."""
    mesh = extract(lambda p: sphere(p, 1.2), overfit, resolution=64)
    assert_closed(mesh)
    assert np.abs(mesh.vertices).max() == pytest.approx(1, abs=1e-5)
    radius = 1.2 if overfit is None else 1.19
    cap = math.pi * (radius - 1) ** 2 * (3 * radius - (radius - 1)) / 3
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * radius**3 - 6 * cap, rel=2e-3)


def test_removal_of_small_components():
    """Components below the share of the largest one's area are removed, and other shares are refused."""

    def two(points):
        return torch.minimum(sphere(points, 0.4), sphere(points - 0.65, 0.1))

    assert extract(two, resolution=64).body_count == 2
    mesh = extract(two, resolution=64, largest_component=True)
    assert_closed(mesh)
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=1e-2)
    # The small sphere has a sixteenth of the large one's area.
    assert extract(two, resolution=64, smallest_piece=0.05).body_count == 2
    assert extract(two, resolution=64, smallest_piece=0.08).body_count == 1
    with pytest.raises(ConfigError, match="smallest_piece is a share of an area"):
        extract(two, resolution=64, smallest_piece=2)


def blended(points):
    """Mode `smooth` at 64^3, with bands of 2 cells, of `torus` and `detailed`."""
    gate = torch.exp(-((torus(points) / (2 * 2 / 64)) ** 2))
    return gate * detailed(points) + (1 - gate) * torus(points)


@pytest.mark.parametrize(
    ("mode", "truth"), [("general", torus), ("fused", detailed), ("overfit", detailed), ("smooth", blended)]
)
def test_normals_of_extracted_field(mode, truth):
    """In each mode vertex normals equal central differences of the field that the mode extracts."""
    mesh = extract(torus, detailed, resolution=64, mode=mode, normals=True)
    points = torch.from_numpy(mesh.vertices)
    steps = 1e-6 * torch.eye(3, dtype=torch.float64)
    slope = torch.stack([truth(points + step) - truth(points - step) for step in steps], dim=1)
    slope = torch.nn.functional.normalize(slope, dim=1).numpy()
    np.testing.assert_allclose(mesh.vertex_normals, slope, atol=1e-4)
    own = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).vertex_normals
    assert np.abs(own - slope).max() > 0.01


def test_topology_volume_and_normals_of_simplified_mesh():
    """A torus of 1000 faces stays watertight, and its normals are those of the field."""
    full = extract(torus, resolution=64)
    mesh = extract(torus, resolution=64, faces=1000, normals=True)
    assert 900 <= len(mesh.faces) <= 1000 and mesh.is_watertight and mesh.euler_number == 0
    assert mesh.volume == pytest.approx(full.volume, rel=0.02)
    ring = mesh.vertices * [1, 1, 0]
    radial = mesh.vertices - 0.55 * ring / np.linalg.norm(ring, axis=1, keepdims=True)
    np.testing.assert_allclose(mesh.vertex_normals, radial / np.linalg.norm(radial, axis=1, keepdims=True), atol=1e-4)
    assert len(extract(torus, resolution=16, faces=10**6).faces) == len(extract(torus, resolution=16).faces)
    with pytest.raises(ConfigError, match="a surface has at least 4 faces, got 3"):
        extract(torus, resolution=16, faces=3)


def test_continuation_of_steep_field():
    """Continuation along sign-changing edges closes a surface whose cells the Lipschitz guard skipped."""
    mesh = extract(lambda p: 20 * torus(p), resolution=128)
    assert_closed(mesh)
    assert mesh.euler_number == 0


@pytest.mark.slow
def test_empty_level_sets():
    """The error names the field, the range of its values and the side of the level."""
    with pytest.raises(EmptyLevelSetError, match=r"general field takes values from 0\.5 to .*outside of level 0"):
        extract(lambda p: sphere(p, -0.5), resolution=64)
    with pytest.raises(EmptyLevelSetError, match="inside of level 0"):
        extract(lambda p: sphere(p, 3), resolution=64)
    with pytest.raises(EmptyLevelSetError, match="overfit field takes values from 1 to 1"):
        extract(lambda p: sphere(p, 0.1), lambda p: torch.ones(len(p)), resolution=64)


def test_non_finite_values():
    """NaN and infinity raise errors that name the field."""
    with pytest.raises(LatentSDFError, match=r"general field is not finite at \d+ of \d+ points"):
        extract(lambda p: torch.where(p[:, 0] > 0.5, torch.nan, sphere(p)), resolution=32)
    with pytest.raises(LatentSDFError, match="overfit field is not finite"):
        extract(sphere, lambda p: sphere(p) * torch.inf, resolution=32)


@pytest.mark.usefixtures("without_shape_checks")
def test_invalid_arguments():
    """Each error names the argument, its accepted values and the given value."""
    with pytest.raises(ValueError, match=r"distances \(N,\), here \(\d+,\), got shape \(\d+, 1\)"):
        extract(lambda p: sphere(p)[:, None], resolution=32)
    with pytest.raises(ConfigError, match="nearest that do are 300 and 304"):
        extract(sphere, resolution=301)
    with pytest.raises(ConfigError, match="16 to 1024"):
        extract(sphere, resolution=8)
    with pytest.raises(ConfigError, match="mode: expected one of 'general', .*, got str 'both'"):
        extract(sphere, mode="both")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs the `overfit` field"):
        extract(sphere, mode="smooth")
    with pytest.raises(ConfigError, match="band_voxels must be positive"):
        extract(sphere, sphere, band_voxels=0)
