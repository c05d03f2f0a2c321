"""Tests of all furniture families: closed surfaces, wall thickness, determinism, independent draws."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import trimesh
from helpers.paths import REPOSITORY

from latentsdf.data.furniture import FAMILIES, furniture, parameters
from latentsdf.data.furniture.parameters import Parameters, Range, domains
from latentsdf.data.furniture.surface import DETAIL, FLAT, boundary_mesh, triangle_heights
from latentsdf.utils.errors import ConfigError

SEEDS = range(16 if "LATENTSDF_TORTURE" in os.environ else 5)
THINNEST = 0.03
"""Minimum wall thickness relative to the largest half extent: two cells of a 128^3 lattice."""

THINNEST_WIDE = 0.02
"""The same for the wide distribution: two and a half cells of a 256^3 lattice."""
EXTENTS = {
    "chair": ((0.3, 0.9), (0.6, 1.3), (0.35, 1.0)),
    "table": ((0.5, 2.1), (0.35, 1.0), (0.5, 1.6)),
    "lamp": ((0.15, 0.6), (0.28, 1.2), (0.15, 1.0)),
    "cabinet": ((0.45, 1.8), (0.6, 1.8), (0.25, 0.7)),
    "sofa": ((0.5, 4.1), (0.6, 1.1), (0.6, 1.9)),
    "bed": ((0.8, 2.1), (0.3, 2.2), (1.8, 2.4)),
    "bench": ((0.9, 2.0), (0.39, 1.1), (0.33, 0.8)),
    "stool": ((0.28, 0.9), (0.39, 1.25), (0.28, 0.9)),
    "shelf": ((0.45, 1.75), (0.7, 2.2), (0.2, 0.6)),
}
"""Smallest and largest width, height and depth in meters."""

every_family = pytest.mark.parametrize("family", FAMILIES)
both_distributions = pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])


@cache
def made(family: str, seed: int, wide: bool = False) -> trimesh.Trimesh:
    """Generate a mesh once per test run."""
    return furniture(family, seed, wide=wide)


def digest(family: str, seed: int, wide: bool = False) -> str:
    """SHA-256 of a newly generated mesh."""
    mesh = furniture(family, seed, wide=wide)
    return hashlib.sha256(mesh.vertices.tobytes() + mesh.faces.tobytes()).hexdigest()


def extreme(family: str, seed: int, wide: bool = False) -> Parameters:
    """Parameters at one end of every range; the ends and the choices are drawn from the seed."""
    member = parameters(family, seed, wide=wide)
    generator = np.random.default_rng(seed)
    ranges = {name: domain for name, domain in domains(type(member)).items() if isinstance(domain, Range)}
    ends = {name: domain.bounds(wide=wide) for name, domain in ranges.items()}
    return replace(member, **{name: low if generator.random() < 0.5 else high for name, (low, high) in ends.items()})


def check_surface(mesh: trimesh.Trimesh) -> None:
    """Check that a mesh is one closed, oriented surface on the floor with a moderate number of faces."""
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    assert mesh.body_count == 1
    assert 350 <= len(mesh.faces) <= 6000
    np.testing.assert_allclose(mesh.bounds[0, 1], 0.0, atol=1e-6)


def thickness(mesh: trimesh.Trimesh, count: int) -> np.ndarray:
    """Wall thickness along inward rays between facing walls; rays that graze an edge are ignored."""
    points, face = trimesh.sample.sample_surface(mesh, count, seed=0)
    inward = -mesh.face_normals[face]
    origins, normals, loops = points + 1e-5 * inward, mesh.face_normals, mesh.triangles
    lengths = []
    for origin, direction in zip(origins, inward, strict=True):
        facing = normals @ direction
        ahead = facing > 0.97
        corners, normal = loops[ahead], normals[ahead]
        travel = np.einsum("ij,ij->i", corners[:, 0] - origin, normal) / facing[ahead]
        hits = origin + travel[:, None] * direction
        edges = np.roll(corners, -1, axis=1) - corners
        side = np.einsum("ijk,ik->ij", np.cross(edges, hits[:, None] - corners), normal)
        travel = travel[(side >= 0).all(axis=1) & (travel > 0)]
        lengths.extend(np.sort(travel)[:1])
    return np.asarray(lengths)


@pytest.mark.slow
@both_distributions
@every_family
def test_closed_connected_surface(family: str, wide: bool) -> None:
    """Random shapes are closed and connected."""
    for seed in SEEDS:
        check_surface(made(family, seed, wide))


@pytest.mark.slow
@every_family
def test_size(family: str) -> None:
    """Width, height and depth of every shape are those of its category."""
    for seed in SEEDS:
        for mesh in (made(family, seed, True), boundary_mesh(extreme(family, seed, True).solid())):
            for extent, (low, high) in zip(mesh.extents, EXTENTS[family], strict=True):
                assert low <= extent <= high


@pytest.mark.slow
@both_distributions
@every_family
def test_closed_connected_surface_at_range_limits(family: str, wide: bool) -> None:
    """Shapes with all parameters at the ends of their ranges are closed and connected."""
    for seed in SEEDS:
        check_surface(boundary_mesh(extreme(family, seed, wide).solid()))


@every_family
def test_closed_after_float32_cleaning(family: str) -> None:
    """Meshes stay closed after rounding to float32, merging of vertices and removal of degenerate faces."""
    for seed in SEEDS:
        mesh = made(family, seed).copy()
        mesh.vertices = mesh.vertices.astype(np.float32)
        vertices = len(mesh.vertices)
        mesh.merge_vertices()
        mesh.update_faces(mesh.nondegenerate_faces() & mesh.unique_faces())
        assert len(mesh.vertices) == vertices
        assert mesh.is_watertight


@pytest.mark.parametrize(("family", "seed"), [("chair", 33), ("chair", 69), ("table", 38), ("lamp", 116), ("lamp", 4)])
def test_no_slivers(family: str, seed: int) -> None:
    """Solids with slivers give meshes without flat triangles and short edges."""
    mesh = made(family, seed)
    assert triangle_heights(np.array(mesh.vertices), np.array(mesh.faces)).min() >= FLAT
    assert mesh.edges_unique_length.min() >= DETAIL / 2


@pytest.mark.slow
@both_distributions
@every_family
def test_wall_thickness(family: str, wide: bool) -> None:
    """No wall is thinner than two and a half cells of a 256^3 lattice, or two of 128^3 if there is a narrow range."""
    narrow = not wide and bool(type(parameters(family, 0)).STYLES)
    for seed in range(12):
        mesh = boundary_mesh(extreme(family, seed, wide).solid())
        walls = thickness(mesh, 250)
        assert len(walls) > 60
        assert walls.min() >= (THINNEST if narrow else THINNEST_WIDE) * mesh.extents.max() / 2


@pytest.mark.slow
@every_family
def test_determinism(family: str) -> None:
    """Seed and distribution determine the mesh; other seeds and the other distribution give other meshes."""
    digests = [digest(family, seed, wide) for wide in (False, True) for seed in range(6)]
    assert digests == [digest(family, seed, wide) for wide in (False, True) for seed in range(6)]
    assert len(set(digests)) == len(digests)
    assert digest(family, 2**70) == digest(family, 2**70)


@pytest.mark.slow
def test_determinism_across_processes() -> None:
    """Another process generates the same meshes."""
    code = """
import hashlib
import os
from latentsdf.data.furniture import FAMILIES, furniture
for mesh in (furniture(family, 5) for family in FAMILIES):
    print(hashlib.sha256(mesh.vertices.tobytes() + mesh.faces.tobytes()).hexdigest())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.split() == [digest(family, 5) for family in FAMILIES]


def test_independent_draws_of_families() -> None:
    """At one seed, parameters of different families lie at different positions in their ranges."""
    places = [
        (getattr(member, name) - domain.low) / (domain.high - domain.low)
        for member in (parameters(family, 3) for family in FAMILIES)
        for name, domain in domains(type(member)).items()
        if isinstance(domain, Range)
    ]
    assert len(np.unique(np.round(places, 9))) == len(places)


@pytest.mark.slow
@every_family
def test_continuity_of_volume(family: str) -> None:
    """A change of a parameter by half a percent of its range changes the volume by less than half a percent."""
    for seed in range(2):
        member = parameters(family, seed)
        ranges = {name: domain for name, domain in domains(type(member)).items() if isinstance(domain, Range)}
        for name, domain in ranges.items():
            low, high = domain.bounds(wide=False)
            step = 0.005 * (high - low)
            value = getattr(member, name)
            moved = replace(member, **{name: value - step if value + step > high else value + step})
            assert abs(moved.solid().volume() / member.solid().volume() - 1) < 0.005


def test_unknown_family() -> None:
    """The error for an unknown family lists the known ones."""
    with pytest.raises(
        ConfigError, match="unknown furniture family 'piano'; expected one of chair, table, lamp, cabinet, sofa"
    ):
        furniture("piano", 0)


def test_negative_seed() -> None:
    """A negative seed is rejected."""
    with pytest.raises(ConfigError, match=r"must be an integer >= 0, got -1"):
        furniture("chair", -1)


@pytest.mark.usefixtures("without_shape_checks")
def test_non_integer_seed() -> None:
    """A seed that is not an integer is rejected."""
    with pytest.raises(ConfigError, match=r"must be an integer >= 0, got 1\.5"):
        furniture("chair", 1.5)  # type: ignore[arg-type]
