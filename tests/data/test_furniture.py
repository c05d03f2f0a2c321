"""Furniture made in code: closed, in one piece, thick enough for the lattice, the same for the same seed."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import trimesh
from helpers import REPOSITORY
from manifold3d import Manifold

from latentsdf.data.furniture import FAMILIES, furniture, parameters
from latentsdf.data.furniture.cabinet import Cabinet
from latentsdf.data.furniture.chair import Chair
from latentsdf.data.furniture.lamp import Lamp
from latentsdf.data.furniture.parameters import Parameters, Range, domains
from latentsdf.data.furniture.solids import bar, block, bowed, ellipse, lathe, post, rectangle, slab, union
from latentsdf.data.furniture.surface import (
    DETAIL,
    FLAT,
    boundary_mesh,
    collapse_short_edges,
    flip_flat_triangles,
    triangle_heights,
)
from latentsdf.utils.errors import ConfigError

SEEDS = range(16)
THINNEST = 0.03
"""Share of the largest half extent that every member is at least thick: two cells of a 128^3 lattice."""

every_family = pytest.mark.parametrize("family", FAMILIES)


@cache
def made(family: str, seed: int) -> trimesh.Trimesh:
    return furniture(family, seed)


def digest(family: str, seed: int) -> str:
    mesh = furniture(family, seed)
    return hashlib.sha256(mesh.vertices.tobytes() + mesh.faces.tobytes()).hexdigest()


def extreme(family: str, seed: int) -> Parameters:
    """A member with every length and angle at one end of its range, the ends and the switches drawn from the seed."""
    member = parameters(family, seed)
    generator = np.random.default_rng(seed)
    ranges = {name: domain for name, domain in domains(type(member)).items() if isinstance(domain, Range)}
    return replace(member, **{n: (r.low if generator.random() < 0.5 else r.high) for n, r in ranges.items()})


def check_surface(mesh: trimesh.Trimesh) -> None:
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    assert mesh.body_count == 1
    assert 500 <= len(mesh.faces) <= 6000
    np.testing.assert_allclose(mesh.bounds[0, 1], 0.0, atol=1e-6)


def thickness(mesh: trimesh.Trimesh, count: int) -> np.ndarray:
    """Lengths of inward rays between walls that face each other (edges, where a ray grazes a corner, do not count)."""
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


# --- the members of each family


@every_family
def test_members_are_closed_and_in_one_piece(family: str) -> None:
    for seed in SEEDS:
        check_surface(made(family, seed))


@every_family
def test_members_at_the_ends_of_every_range_are_closed_and_in_one_piece(family: str) -> None:
    for seed in SEEDS:
        check_surface(boundary_mesh(extreme(family, seed).solid()))


@every_family
def test_members_stay_closed_after_rounding_welding_and_dropping_flat_faces(family: str) -> None:
    for seed in SEEDS:
        mesh = made(family, seed).copy()
        mesh.vertices = mesh.vertices.astype(np.float32)
        vertices = len(mesh.vertices)
        mesh.merge_vertices()
        mesh.update_faces(mesh.nondegenerate_faces() & mesh.unique_faces())
        assert len(mesh.vertices) == vertices
        assert mesh.is_watertight


@pytest.mark.parametrize(("family", "seed"), [("chair", 33), ("chair", 69), ("table", 38), ("lamp", 116), ("lamp", 4)])
def test_members_whose_solids_have_slivers_have_none(family: str, seed: int) -> None:
    mesh = made(family, seed)
    assert triangle_heights(np.array(mesh.vertices), np.array(mesh.faces)).min() >= FLAT
    assert mesh.edges_unique_length.min() >= DETAIL / 2


@every_family
def test_no_wall_is_thinner_than_the_lattice_can_hold(family: str) -> None:
    for seed in range(12):
        mesh = boundary_mesh(extreme(family, seed).solid())
        walls = thickness(mesh, 250)
        assert len(walls) > 60
        assert walls.min() >= THINNEST * mesh.extents.max() / 2


@every_family
def test_the_same_seed_gives_the_same_mesh_and_another_seed_another(family: str) -> None:
    digests = [digest(family, seed) for seed in range(6)]
    assert digests == [digest(family, seed) for seed in range(6)]
    assert len(set(digests)) == len(digests)
    assert digest(family, 2**70) == digest(family, 2**70)


def test_another_process_makes_the_same_meshes() -> None:
    code = "from tests.test_furniture import FAMILIES, digest\nfor family in FAMILIES: print(digest(family, 5))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.split() == [digest(family, 5) for family in FAMILIES]


@every_family
def test_parameters_lie_in_their_ranges_and_use_them(family: str) -> None:
    members = [parameters(family, seed) for seed in range(200)]
    fields = domains(type(members[0]))
    assert len(fields) >= 8
    for name, domain in fields.items():
        values = [getattr(member, name) for member in members]
        if isinstance(domain, Range):
            assert domain.low <= min(values) < max(values) <= domain.high
            assert max(values) - min(values) > 0.9 * (domain.high - domain.low)
        else:
            assert set(values) == set(domain)


def test_families_do_not_share_their_draws() -> None:
    """At one seed, no two families stand at the same place in their ranges."""
    places = [
        (getattr(member, name) - domain.low) / (domain.high - domain.low)
        for member in (parameters(family, 3) for family in FAMILIES)
        for name, domain in domains(type(member)).items()
        if isinstance(domain, Range)
    ]
    assert len(np.unique(np.round(places, 9))) == len(places)


@every_family
def test_a_small_step_of_a_length_is_a_small_step_of_the_shape(family: str) -> None:
    """Half a percent of every range moves the volume by little: what a latent code can follow."""
    for seed in range(2):
        member = parameters(family, seed)
        ranges = {name: domain for name, domain in domains(type(member)).items() if isinstance(domain, Range)}
        for name, domain in ranges.items():
            step = 0.005 * (domain.high - domain.low)
            value = getattr(member, name)
            moved = replace(member, **{name: value - step if value + step > domain.high else value + step})
            assert abs(moved.solid().volume() / member.solid().volume() - 1) < 0.005


# --- what makes them furniture


def test_a_chair_leans_back_and_its_mirror_image_is_itself() -> None:
    member = replace(parameters("chair", 0), arms=False, back_lean=12.0)
    assert isinstance(member, Chair)
    chair = boundary_mesh(member.solid())
    top = chair.vertices[chair.vertices[:, 1] > member.seat_height + 0.9 * member.back_height]
    assert top[:, 2].max() < -member.seat_depth / 2
    np.testing.assert_allclose(chair.bounds[0, 0], -chair.bounds[1, 0], atol=1e-3)
    np.testing.assert_allclose(chair.center_mass[0], 0.0, atol=1e-3)


def test_a_shade_is_a_shell_open_below() -> None:
    """Half-way up, the shade is a ring of the stated wall around the pole; its hollow is joined to the outside."""
    lamp = replace(parameters("lamp", 1), stand="pole", open_top=False)
    assert isinstance(lamp, Lamp)
    solid = lamp.solid()
    y = lamp.height - 0.5 * lamp.shade_height
    section = solid.rotate((90.0, 0.0, 0.0)).slice(y)  # The plane of height y: y has become z.
    radius = lamp.shade_width / 2 * (1 + lamp.shade_taper) / 2
    slant = (1 + (lamp.shade_width / 2 * (1 - lamp.shade_taper) / lamp.shade_height) ** 2) ** 0.5
    wall = lamp.shade_wall * slant
    ring = np.pi * (radius**2 - (radius - wall) ** 2)
    pole = np.pi * (lamp.pole_width / 2) ** 2
    assert section.area() == pytest.approx(ring + pole, rel=0.03)
    assert solid.genus() == 0  # No void and no handle: the hollow opens below and nowhere else.


def test_a_cabinet_of_shelves_is_open_in_front_and_closed_behind() -> None:
    member = replace(parameters("cabinet", 0), front="shelves")
    assert isinstance(member, Cabinet)
    solid, face = member.solid(), member.width * member.height
    assert solid.slice(0.0).area() < 0.4 * face  # Sides, shelves and lid only.
    assert solid.slice(member.depth / 2 - 0.008).area() < 0.4 * face
    assert solid.slice(-member.depth / 2 + 0.010).area() > 0.9 * face
    assert solid.slice(member.depth / 2 + 0.023).is_empty()  # No doors, no handles.


def test_the_doors_of_a_cabinet_cover_its_lower_part() -> None:
    member = replace(parameters("cabinet", 0), front="doors")
    assert isinstance(member, Cabinet)
    door = member.solid().slice(member.depth / 2 + 0.5 * member.panel_depth)
    assert door.area() > 0.8 * member.width * member.height * member.split


# --- parts


def test_parts_have_their_analytic_volumes() -> None:
    assert block((0, 0, 0), (1, 2, 3), 1e-4).volume() == pytest.approx(6, rel=1e-3)
    assert slab(rectangle(2, 1, 1e-4), 0.5, 0.25, 1e-4).volume() == pytest.approx(0.5, rel=1e-3)
    assert slab(ellipse(2, 1, 400), 0, 1, 1e-4).volume() == pytest.approx(np.pi / 2, rel=1e-3)
    square = rectangle(0.1, 0.1, 1e-5)
    assert bar((0, 0, 0), (1, 1, 1), square).volume() == pytest.approx(0.01 * 3**0.5, rel=1e-3)
    assert bar((0, 0, 0), (0, 2, 0), square).volume() == pytest.approx(0.02, rel=1e-3)
    assert post((0, 0, 0), (0.5, 3, 0), square, 0.5 * square).volume() == pytest.approx(0.03 * 1.75 / 3, rel=1e-3)
    assert lathe([(0, 0), (1, 0), (0, 1)], 400).volume() == pytest.approx(np.pi / 3, rel=1e-3)
    straight, bent = bowed(0.5, 0.1, 0.02, 0.0).volume(), bowed(0.5, 0.1, 0.02, 0.03).volume()
    assert bent == pytest.approx(straight, rel=1e-3)  # Shearing keeps volume.


def test_the_narrow_end_of_a_rectangle_is_behind() -> None:
    outline = rectangle(2.0, 1.0, 0.05, back=0.5)
    front, rear = outline[outline[:, 1] > 0.4], outline[outline[:, 1] < -0.4]
    assert np.ptp(rear[:, 0]) < 0.6 * np.ptp(front[:, 0])


def test_a_union_of_parts_that_only_touch_is_more_than_one_body() -> None:
    apart = union([block((0, 0, 0), (1, 1, 1), 0.1), block((2, 0, 0), (3, 1, 1), 0.1)])
    assert boundary_mesh(apart).body_count == 2


def test_flat_triangles_are_flipped_and_the_solid_kept() -> None:
    """A tetrahedron with a vertex on an edge that only one side knows of: one flat triangle."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0, 0]], dtype=np.float64)
    faces = np.array([[0, 4, 2], [4, 1, 2], [0, 1, 4], [0, 3, 1], [0, 2, 3], [1, 3, 2]])[:, ::-1].astype(np.int64)
    before = trimesh.Trimesh(vertices, faces, process=False)
    assert before.is_watertight
    assert (triangle_heights(vertices, faces) < FLAT).sum() == 1
    after = trimesh.Trimesh(vertices, flip_flat_triangles(vertices, faces), process=False)
    assert (triangle_heights(vertices, after.faces) > FLAT).all()
    assert after.is_watertight and after.is_winding_consistent
    assert after.volume == pytest.approx(before.volume)
    np.testing.assert_array_equal(flip_flat_triangles(vertices, np.array(after.faces)), after.faces)


def test_short_edges_are_collapsed_and_the_solid_kept() -> None:
    """A box, its faces cut in four, with one vertex moved next to its neighbour."""
    box = trimesh.creation.box()
    middle = trimesh.Trimesh(*trimesh.remesh.subdivide(box.vertices, box.faces))
    moved = middle.vertices.copy()
    edge = middle.edges_unique[0]
    moved[edge[1]] = moved[edge[0]] + 0.1 * DETAIL
    faces = collapse_short_edges(moved, np.array(middle.faces))
    assert len(faces) == len(middle.faces) - 2
    assert trimesh.Trimesh(moved, faces, process=False).is_watertight


def test_an_edge_whose_collapse_would_pinch_the_surface_stays() -> None:
    """Any two ring vertices of a double pyramid over a triangle share three neighbours: the third and both tips."""
    vertices = np.array([[0, 0, 0], [0.1 * DETAIL, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]])
    ring = [(0, 1), (1, 2), (2, 0)]
    faces = np.array([(a, b, 3) for a, b in ring] + [(b, a, 4) for a, b in ring])
    np.testing.assert_array_equal(collapse_short_edges(vertices, faces), faces)


def test_a_surface_is_oriented_outward() -> None:
    assert boundary_mesh(Manifold.cube((1.0, 2.0, 3.0))).volume == pytest.approx(6.0)


# --- bad input


def test_an_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match="unknown furniture family 'sofa'; expected one of chair, table, lamp, cabinet"
    ):
        furniture("sofa", 0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be an integer >= 0, got -1"):
        furniture("chair", -1)


def test_a_seed_that_is_no_integer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be an integer >= 0, got 1\.5"):
        furniture("chair", 1.5)  # type: ignore[arg-type]


def test_values_outside_their_range_are_refused() -> None:
    member = parameters("chair", 0)
    with pytest.raises(ConfigError, match=r"Chair\.seat_width must lie in \[0\.428, 0\.512\], got 2\.0"):
        replace(member, seat_width=2.0)
    with pytest.raises(ConfigError, match=r"Chair\.seat_width must lie in .* got nan"):
        replace(member, seat_width=float("nan"))
    with pytest.raises(ConfigError, match=r"Chair\.legs must be one of \('square', 'round', 'pedestal'\), got 'three'"):
        replace(member, legs="three")
