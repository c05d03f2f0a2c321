"""Meshes against analytic truth, and against the obvious dense lattice with scikit-image's marching cubes."""

import math

import numpy as np
import pytest
import torch
import trimesh
from scipy.ndimage import binary_dilation
from scipy.spatial import KDTree
from skimage.measure import marching_cubes as dense_marching_cubes

from latentsdf.extraction.extract import extract
from latentsdf.extraction.marching_cubes import marching_cubes
from latentsdf.extraction.sparse_lattice import allocate
from latentsdf.utils.errors import ConfigError, EmptyLevelSetError, LatentSDFError


def sphere(points, radius=0.7):
    return points.norm(dim=1) - radius


def torus(points):
    ring = points[:, :2].norm(dim=1) - 0.55
    return torch.stack((ring, points[:, 2]), dim=1).norm(dim=1) - 0.2


def box(points, half=(0.5, 0.25, 0.75)):
    q = points.abs() - torch.tensor(half)
    return q.clamp(min=0).norm(dim=1) + q.amax(dim=1).clamp(max=0)


def rod(points, radius=0.02):
    along = (points @ torch.tensor([0.6, 0.48, 0.64])).clamp(-0.8, 0.8)
    return (points - along[:, None] * torch.tensor([0.6, 0.48, 0.64])).norm(dim=1) - radius


def detailed(points):
    return torus(points) + 0.012 * torch.sin(25 * points).sum(dim=1) / 3


def noise(points):
    """Uncorrelated signs near the torus: every marching cubes case and every ambiguous face occurs."""
    hashed = torch.sin(points.double() @ torch.tensor([9127.1, 3511.7, 7919.3], dtype=torch.float64)) * 4375.85
    return ((hashed - hashed.floor()) - 0.5).float() * 0.1 + torus(points)


def dense(field, resolution):
    axis = torch.linspace(-1, 1, resolution + 1, dtype=torch.float64).float()
    points = torch.cartesian_prod(axis, axis, axis)
    return field(points).reshape((resolution + 1,) * 3).numpy()


def dense_band(general, cells):
    """The band's vertices by its definition, METHODS 1.5."""
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


def dense_vertices(values):
    vertices = dense_marching_cubes(values, 0.0, method="lorensen")[0].astype(np.float64)
    return vertices * (2 / (len(values) - 1)) - 1


def assert_same_points(a, b, tolerance):
    assert len(a) == len(b)
    assert KDTree(a).query(b)[0].max() < tolerance
    assert KDTree(b).query(a)[0].max() < tolerance


def assert_same_triangles(a, b):
    """Equal sets of triangles (F, 3, 3), each from its first corner in sorted order, with its orientation."""

    def canonical(triangles):
        rows = np.round(triangles, 9)
        first = np.lexsort(rows.transpose(2, 0, 1)[::-1], axis=1)[:, 0]
        rows = rows[np.arange(len(rows))[:, None], (first[:, None] + np.arange(3)) % 3].reshape(len(rows), 9)
        return rows[np.lexsort(rows.T[::-1])]

    assert np.array_equal(canonical(a), canonical(b))


def assert_closed(mesh):
    """Every directed edge once, its reverse once: closed, consistently wound, no edge with four faces."""
    edges = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    forward = np.sort(edges[:, 0] * len(mesh.vertices) + edges[:, 1])
    backward = np.sort(edges[:, 1] * len(mesh.vertices) + edges[:, 0])
    assert np.all(np.diff(forward) > 0) and np.array_equal(forward, backward)
    assert len(np.unique(mesh.faces)) == len(mesh.vertices)
    assert mesh.area_faces.min() > 0


def test_sphere_has_its_radius_area_and_volume():
    mesh = extract(sphere, resolution=128)
    assert_closed(mesh)
    assert mesh.euler_number == 2
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.7).max() < 5e-5
    assert mesh.area == pytest.approx(4 * math.pi * 0.7**2, rel=1e-3)
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.7**3, rel=1e-3)  # positive: faces look outward


def test_torus_has_one_hole():
    mesh = extract(torus, resolution=128)
    assert_closed(mesh)
    assert mesh.euler_number == 0
    assert mesh.volume == pytest.approx(2 * math.pi**2 * 0.55 * 0.2**2, rel=5e-3)


@pytest.mark.parametrize("resolution", [16, 64, 100])
def test_box_whose_sides_lie_on_lattice_planes(resolution):
    """All side vertices of the lattice are exactly 0 at 16 and 64; nothing may collapse or open."""
    mesh = extract(box, resolution=resolution)
    assert_closed(mesh)
    assert mesh.euler_number == 2
    assert np.allclose(mesh.bounds, [[-0.5, -0.25, -0.75], [0.5, 0.25, 0.75]], atol=1e-5)


def test_zeros_at_concave_edges_do_not_break_the_weld():
    mesh = extract(lambda p: torch.minimum(box(p, (0.75, 0.25, 0.25)), box(p, (0.25, 0.75, 0.5))), resolution=32)
    assert_closed(mesh)
    assert mesh.euler_number == 2


def test_a_thin_rod_is_found_whole():
    mesh = extract(rod, resolution=256)
    assert_closed(mesh)
    assert mesh.euler_number == 2
    assert np.ptp(mesh.vertices @ [0.6, 0.48, 0.64]) == pytest.approx(1.64, abs=0.002)


@pytest.mark.parametrize(
    ("field", "resolution", "lipschitz"),
    [(torus, 64, 1.5), (torus, 128, 1.0), (rod, 128, 1.0), (detailed, 96, 1.5), (noise, 64, 8.0)],
)
def test_general_equals_the_dense_lattice(field, resolution, lipschitz):
    mesh = extract(field, resolution=resolution, lipschitz=lipschitz)
    assert_closed(mesh)
    assert_same_points(mesh.vertices, dense_vertices(dense(field, resolution)), 2.1e-4 / resolution + 1e-6)


@pytest.mark.parametrize(("resolution", "voxels", "cells"), [(64, 3, 2), (128, 3, 2), (128, 12, 3), (64, 1, 1)])
@pytest.mark.parametrize("overfit", [detailed, noise])
def test_fused_equals_pasting_into_the_dense_lattice(resolution, voxels, cells, overfit):
    """`noise` leaves the band, so the jump between the fields at its border is meshed too."""
    mesh = extract(torus, overfit, resolution=resolution, band_voxels=voxels)
    assert_closed(mesh)
    general = dense(torus, resolution)
    fused = np.where(dense_band(general, cells), dense(overfit, resolution), general)
    assert_same_points(mesh.vertices, dense_vertices(fused), 2.1e-4 / resolution + 1e-6)


def tilted(points):
    return torus(points) + 0.3 * points[:, 0]


def specked(points):
    """A ball that one vertex of 128 cells is in, in the middle of a cell of 64."""
    return torch.minimum(torus(points), (points - torch.tensor([51, 1, 1]) / 64).norm(dim=1) - 0.012)


@pytest.mark.parametrize(("overfit", "lipschitz"), [(detailed, 1.5), (tilted, 1.5), (specked, 1.5), (noise, 1e3)])
def test_a_thick_band_equals_pasting_too(overfit, lipschitz):
    """It is searched coarse to fine; `tilted` and `noise` leave it, through its border."""
    asked = 0

    def spy(points):
        nonlocal asked
        asked += len(points)
        return overfit(points)

    mesh = extract(torus, spy, resolution=128, band_voxels=24, lipschitz=lipschitz)
    assert_closed(mesh)
    general = dense(torus, 128)
    band = dense_band(general, 6)
    fused = np.where(band, dense(overfit, 128), general)
    assert_same_points(mesh.vertices, dense_vertices(fused), 2.1e-4 / 128 + 1e-6)
    if lipschitz < 2:
        assert asked < 0.5 * band.sum()


def test_a_thick_band_follows_what_is_steeper_than_its_guard():
    """Ends of crossed edges are always the field's own values, on whichever side of the border they lie."""
    mesh = extract(torus, noise, resolution=128, band_voxels=24)
    assert_closed(mesh)
    general = dense(torus, 128)
    fused = np.where(dense_band(general, 6), dense(noise, 128), general)
    assert KDTree(dense_vertices(fused)).query(mesh.vertices)[0].max() < 2.1e-4 / 128 + 1e-6


def test_faces_equal_those_of_the_dense_lattice():
    """Through the same tables every triangle is the same; scikit-image cuts some polygons along other diagonals."""
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


def test_every_case_and_every_pair_of_faces_is_closed():
    """Random values on all of a lattice: each of the 256 cases many times, next to each other in every way."""
    lattice = allocate(16)
    lattice.value[lattice.vertex_mask()] = np.inf
    inside = lattice.vertex_mask() & ~lattice.padding_mask()
    lattice.value[inside] = np.random.default_rng(0).uniform(-1, 1, inside.sum())
    assert_closed(trimesh.Trimesh(*marching_cubes(lattice), process=False))


def test_overfit_is_asked_only_in_the_band():
    asked = []

    def spy(points):
        asked.append(points)
        return detailed(points)

    extract(torus, spy, resolution=64, chunk=1000)
    assert max(len(points) for points in asked) <= 1000
    points = torch.cat(asked)
    expected = np.argwhere(dense_band(dense(torus, 64), 2))
    assert_same_points(points.numpy(), expected / 32 - 1, 1e-6)


def test_cost_follows_the_surface():
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


def test_signs_beyond_the_refined_cells_are_looked_up():
    """A wide band reaches past every vertex the search visited, yet `general` is not asked again there."""
    asked = []

    def general(points):
        asked.append(len(points))
        return sphere(points)

    extract(general, resolution=128)
    alone = sum(asked)
    extract(general, sphere, resolution=128, band_voxels=24)
    assert sum(asked) - alone <= alone


def test_modes():
    """Fields 0.01 apart: the band takes the second, the gate lies between, and general ignores it."""
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


def test_smooth_equals_the_dense_blend():
    mesh = extract(torus, detailed, resolution=64, mode="smooth")
    assert_closed(mesh)
    general, overfit = dense(torus, 64), dense(detailed, 64)
    gate = np.exp(-((general / (2 * 2 / 64)) ** 2)) * dense_band(general, 4)
    assert_same_points(mesh.vertices, dense_vertices(gate * overfit + (1 - gate) * general), 1e-5)


def test_level():
    mesh = extract(sphere, resolution=64, level=0.1)
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.8).max() < 3e-4


@pytest.mark.parametrize("overfit", [None, lambda p: sphere(p, 1.19)])
def test_a_shape_cut_by_the_box_is_capped(overfit):
    mesh = extract(lambda p: sphere(p, 1.2), overfit, resolution=64)
    assert_closed(mesh)
    assert np.abs(mesh.vertices).max() == pytest.approx(1, abs=1e-5)
    radius = 1.2 if overfit is None else 1.19
    cap = math.pi * (radius - 1) ** 2 * (3 * radius - (radius - 1)) / 3
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * radius**3 - 6 * cap, rel=2e-3)


def test_small_pieces_are_left_out():
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
def test_normals_are_the_gradient_of_the_field_that_is_meshed(mode, truth):
    mesh = extract(torus, detailed, resolution=64, mode=mode, normals=True)
    points = torch.from_numpy(mesh.vertices)
    steps = 1e-6 * torch.eye(3, dtype=torch.float64)
    slope = torch.stack([truth(points + step) - truth(points - step) for step in steps], dim=1)
    slope = torch.nn.functional.normalize(slope, dim=1).numpy()
    np.testing.assert_allclose(mesh.vertex_normals, slope, atol=1e-4)
    own = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).vertex_normals
    assert np.abs(own - slope).max() > 0.01


def test_a_field_that_cannot_be_differentiated_has_normals_by_differences():
    def measured(points):
        return torch.from_numpy(np.linalg.norm(points.numpy(), axis=1) - 0.7)

    mesh = extract(measured, resolution=64, normals=True)
    radial = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    np.testing.assert_allclose(mesh.vertex_normals, radial, atol=1e-3)


def test_the_cap_at_the_box_keeps_the_normals_of_the_mesh():
    mesh = extract(lambda p: sphere(p, 1.2), resolution=32, normals=True)
    inner = (np.abs(mesh.vertices) < 0.999).all(axis=1)
    top = (mesh.vertices[:, 1] > 0.999) & (np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 2]) < 0.5)
    assert inner.any() and top.any()
    np.testing.assert_allclose(mesh.vertex_normals[top], np.tile([0.0, 1, 0], (top.sum(), 1)), atol=1e-6)
    radial = mesh.vertices[inner] / np.linalg.norm(mesh.vertices[inner], axis=1, keepdims=True)
    np.testing.assert_allclose(mesh.vertex_normals[inner], radial, atol=1e-5)


def test_fewer_faces_keep_the_shape():
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


def test_a_field_steeper_than_the_guard_is_followed():
    """Values of the wrong scale make the guard skip cells; growing along crossed edges closes the surface again."""
    mesh = extract(lambda p: 20 * torus(p), resolution=128)
    assert_closed(mesh)
    assert mesh.euler_number == 0


def test_empty():
    with pytest.raises(EmptyLevelSetError, match=r"general field takes values from 0\.5 to .*outside of level 0"):
        extract(lambda p: sphere(p, -0.5), resolution=64)
    with pytest.raises(EmptyLevelSetError, match="inside of level 0"):
        extract(lambda p: sphere(p, 3), resolution=64)
    with pytest.raises(EmptyLevelSetError, match="overfit field takes values from 1 to 1"):
        extract(lambda p: sphere(p, 0.1), lambda p: torch.ones(len(p)), resolution=64)


def test_values_that_are_not_finite():
    with pytest.raises(LatentSDFError, match=r"general field is not finite at \d+ of \d+ points"):
        extract(lambda p: torch.where(p[:, 0] > 0.5, torch.nan, sphere(p)), resolution=32)
    with pytest.raises(LatentSDFError, match="overfit field is not finite"):
        extract(sphere, lambda p: sphere(p) * torch.inf, resolution=32)


def test_wrong_use():
    with pytest.raises(ValueError, match=r"shape \(\d+,\), got shape \(\d+, 1\)"):
        extract(lambda p: sphere(p)[:, None], resolution=32)
    with pytest.raises(ConfigError, match="nearest that do are 300 and 304"):
        extract(sphere, resolution=301)
    with pytest.raises(ConfigError, match="16 to 1024"):
        extract(sphere, resolution=8)
    with pytest.raises(ConfigError, match="mode must be one of general, overfit, fused, smooth, got 'both'"):
        extract(sphere, mode="both")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs the `overfit` field"):
        extract(sphere, mode="smooth")
    with pytest.raises(ConfigError, match="band_voxels must be positive"):
        extract(sphere, sphere, band_voxels=0)
