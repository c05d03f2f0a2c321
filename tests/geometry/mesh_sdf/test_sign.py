"""The sign of damaged meshes against the undamaged truth, and which faces count as sheets."""

import numpy as np
import pytest
import trimesh

from latentsdf.data.furniture import furniture
from latentsdf.geometry.lattice import lattice_points
from latentsdf.geometry.mesh import clean, load, normalize
from latentsdf.geometry.mesh_sdf.lattice_sign import lattice_inside
from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
from latentsdf.geometry.mesh_sdf.sign import sides
from latentsdf.geometry.mesh_sdf.visibility import orient_by_visibility

DAMAGES = ("deleted", "flipped 20 %", "flipped 50 %", "doubled", "wall", "overlapping")


def with_faces(mesh, faces):
    return trimesh.Trimesh(np.array(mesh.vertices), faces, process=False)


def damaged(mesh, damage, rng):
    """The mesh after one of the damages, and the meshes whose union it stands for."""
    faces, chance = np.array(mesh.faces), rng.random(len(mesh.faces))
    if damage == "deleted":
        return with_faces(mesh, faces[chance > 0.02]), [mesh]
    if damage.startswith("flipped"):
        turned = chance < (0.2 if "20" in damage else 0.5)
        faces[turned] = faces[turned][:, ::-1]
        return with_faces(mesh, faces), [mesh]
    if damage == "doubled":
        return with_faces(mesh, np.concatenate([faces, faces[:, ::-1]])), [mesh]
    deep = deepest(mesh, rng)
    depth = -float(MeshDistance(mesh)(deep[None])[0])
    if damage == "wall":
        corners = deep + 0.9 * depth * np.array([[0, 1, 0], [0.8, -0.5, 0], [-0.8, -0.5, 0]])
        return trimesh.util.concatenate([mesh, trimesh.Trimesh(corners, [[0, 1, 2]], process=False)]), [mesh]
    ball = trimesh.creation.icosphere(3, radius=2.5 * depth).apply_translation(deep)
    return trimesh.util.concatenate([mesh, ball]), [mesh, ball]


def deepest(mesh, rng):
    points = trimesh.sample.sample_surface(mesh, 500, seed=rng)[0]
    points = points + rng.normal(scale=0.02, size=points.shape)
    return points[MeshDistance(mesh)(points).argmin()]


def share_wrong(mesh, damage, count=4000):
    """Wrong signs among points near the surface of the truth."""
    rng = np.random.default_rng(0)
    broken, parts = damaged(mesh, damage, rng)
    points = np.concatenate([trimesh.sample.sample_surface(part, count, seed=rng)[0] for part in parts])
    points = points + rng.normal(scale=0.005, size=points.shape)
    truth = np.any([MeshDistance(part, "pseudonormal")(points) < 0 for part in parts], axis=0)
    return float(np.mean((MeshDistance(broken)(points) < 0) != truth))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_rocker_arm(damage, real_data):
    mesh, _ = normalize(clean(load(real_data / "meshes/single/single/rocker_arm.ply"))[0])
    assert share_wrong(mesh, damage) <= 1e-3


@pytest.mark.parametrize(
    ("family", "damage"),
    [("chair", damage) for damage in DAMAGES]
    + [("cabinet", "deleted")]
    + [(family, damage) for family in ("table", "lamp", "cabinet") for damage in ("flipped 50 %", "doubled", "wall")],
)
def test_damaged_furniture(family, damage):
    mesh, _ = normalize(clean(furniture(family, 0))[0])
    # Two percent of so few faces are large holes, and where a surface closes such a hole is open.
    while damage == "deleted" and len(mesh.faces) < 10_000:
        mesh = mesh.subdivide()
    assert share_wrong(mesh, damage, 1000) <= 1e-3


def test_cloth_is_a_sheet_and_leaves_the_solid_alone():
    frame = trimesh.creation.box((0.1, 0.1, 1.2)).apply_translation((0.8, 0, 0))
    square = [[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]]
    cloth = trimesh.Trimesh(square, [[0, 1, 2], [0, 2, 3]], process=False)
    mesh = trimesh.util.concatenate([frame, cloth])
    found = sides(mesh, 1e-3)
    np.testing.assert_array_equal(found.sheet, np.arange(len(mesh.faces)) >= len(frame.faces))
    assert found.report.sheet == pytest.approx(cloth.area / mesh.area)
    points = np.random.default_rng(0).uniform(-1, 1, (3000, 3))
    nowhere = np.zeros(len(points), int)
    np.testing.assert_array_equal(found.rule(points, nowhere), MeshDistance(frame)(points) < 0)


def test_a_triangulation_that_cancels_itself_keeps_its_orientation():
    """A frame cut from a plate as the plate subtract its hole, as some exporters write faces with holes."""
    plate = trimesh.creation.box((1.6, 1.6, 0.3))
    ring = trimesh.creation.annulus(r_min=0.3, r_max=0.6, height=0.3, sections=24)
    lid = trimesh.Trimesh([[-0.7, -0.7, 0.3], [0.7, -0.7, 0.3], [0, 0.7, 0.3]], [[0, 1, 2]], process=False)
    other = trimesh.Trimesh(
        [[-0.7, -0.7, 0.3], [0.7, -0.7, 0.3], [0, 0.7, 0.3], [0, 0, 0.3]],
        [[1, 0, 3], [2, 1, 3], [0, 2, 3]],
        process=False,
    )
    found = sides(trimesh.util.concatenate([plate, ring, lid, other]), 1e-3)
    assert found.report.method == "winding"
    np.testing.assert_array_equal(np.flatnonzero(found.sheet), len(plate.faces) + len(ring.faces) + np.arange(4))


def shallow_bowl():
    ball = trimesh.creation.icosphere(4, radius=0.9)
    bowl = with_faces(ball, ball.faces[ball.triangles_center[:, 2] < -0.7])
    bowl.remove_unreferenced_vertices()
    return bowl


def test_a_curved_sheet_has_no_inside_though_its_winding_number_does():
    """Beside the hollow side of a shallow bowl the winding number is above 1/2."""
    bowl = shallow_bowl()
    hollow = bowl.triangles_center * 0.99
    assert (MeshDistance(bowl, "winding").rule(hollow, np.arange(len(hollow))) == 1).all()
    found = sides(bowl, 1e-3)
    assert found.report.method == "visibility" and found.sheet.all()
    assert not found.rule(hollow, np.arange(len(hollow))).any()


def test_a_closed_part_turned_inside_out_beside_a_larger_one_is_solid():
    """Its winding number is whole, -1, and the volume of the pair is positive."""
    ball = trimesh.creation.icosphere(3, radius=0.6).apply_translation((0.35, 0, 0))
    box = trimesh.creation.box((0.3, 0.3, 0.3)).apply_translation((-0.7, 0, 0))
    pair = trimesh.util.concatenate([ball, with_faces(box, box.faces[:, ::-1])])
    points = np.random.default_rng(0).uniform(-1, 1, (3000, 3))
    truth = np.minimum(MeshDistance(ball)(points), MeshDistance(box)(points)) < 0
    np.testing.assert_array_equal(MeshDistance(pair)(points) < 0, truth)


def test_faces_hidden_in_a_cavity_turn_with_their_patch():
    """Almost no ray leaves a flask with a narrow neck, so its inner faces follow those outside, whatever they say."""
    profile = [(0, -0.5), (0.5, -0.5), (0.5, 0.5), (0.01, 0.5), (0.01, 0.1), (0.4, 0.1), (0.4, -0.4), (0, -0.4)]
    flask = trimesh.creation.revolve(profile, sections=24)
    assert flask.is_watertight and flask.volume > 0
    flipped = np.random.default_rng(0).random(len(flask.faces)) < 0.5
    faces = np.where(flipped[:, None], flask.faces[:, ::-1], flask.faces)
    turn = orient_by_visibility(flask.vertices, faces).turn
    np.testing.assert_array_equal(turn, np.where(flipped, -1, 1))


@pytest.mark.parametrize("order", [1, -1])
def test_a_curved_wall_within_a_solid_is_solid_on_both_sides(order):
    bowl, box = shallow_bowl(), trimesh.creation.box((2, 2, 2))
    mesh = trimesh.util.concatenate([box, with_faces(bowl, bowl.faces[:, ::order])])
    beside = np.concatenate([0.99 * bowl.triangles_center, 1.01 * bowl.triangles_center])
    found = sides(mesh, 1e-3)
    assert found.rule(beside, np.zeros(len(beside), int)).all() and not found.sheet.any()


def test_specks_are_no_sheets():
    speck = trimesh.Trimesh([[1.3, 0, 0], [1.32, 0, 0], [1.3, 0.02, 0]], [[0, 1, 2]], process=False)
    mesh = trimesh.util.concatenate([trimesh.creation.box((2, 2, 2)), speck])
    found = sides(mesh, 1e-3)
    assert not found.sheet.any() and found.report.sheet == 0


def test_votes_find_a_small_body_with_a_hole_and_ask_few(monkeypatch):
    """The hole joins inside and outside into one piece of the lattice, of which the body is a hundredth."""
    mesh = trimesh.creation.icosphere(4, radius=0.27)
    leaking = MeshDistance(with_faces(mesh, mesh.faces[mesh.triangles_center[:, 2] < 0.24]))
    index = np.arange(65**3, dtype=np.uint32)
    points = lattice_points(index, 64).astype(np.float64)
    truth, (unsigned, face, _) = leaking(points) < 0, leaking.unsigned(points)
    asked, number = [], leaking.rule.number
    monkeypatch.setattr(leaking.rule, "number", lambda x: asked.append(len(x)) or number(x))
    inside = lattice_inside(leaking.rule, index, 64, unsigned, face)
    assert truth.sum() > 2000 and (inside != truth).sum() <= 0.005 * truth.sum()
    assert sum(asked) < 0.1 * len(index)
