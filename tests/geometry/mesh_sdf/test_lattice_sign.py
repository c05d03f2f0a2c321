"""Signs of lattice components against the sign rule evaluated at every vertex."""

import numpy as np
import pytest
import trimesh
from helpers.meshes import flipped_torus, torus, vertex_positions, with_faces

from latentsdf.geometry.mesh_sdf.lattice_sign import lattice_inside
from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mesh", "allowed"),
    [(torus(), 0), (flipped_torus(0.3), 0), (with_faces(torus(), torus().faces[200:]), 5e-4)],
    ids=["closed", "flipped", "open"],
)
def test_component_signs_match_sign_of_every_vertex(mesh, allowed):
    """Voting by component equals the sign rule at each vertex; holes may change a few signs."""
    distance, resolution = MeshDistance(mesh), 48
    index = np.arange(49**3, dtype=np.uint32)
    x = vertex_positions(index, resolution)
    unsigned, face, _ = distance.unsigned(x)
    fast = lattice_inside(distance.rule, index, resolution, unsigned, face)
    assert (fast != (distance(x) < 0)).mean() <= allowed


@pytest.mark.slow
def test_small_body_near_hole(monkeypatch):
    """A hole joins a small body and the outside into one component; few vertices are evaluated."""
    mesh = trimesh.creation.icosphere(4, radius=0.27)
    leaking = MeshDistance(with_faces(mesh, mesh.faces[mesh.triangles_center[:, 2] < 0.24]))
    index = np.arange(65**3, dtype=np.uint32)
    points = vertex_positions(index, 64).astype(np.float32).astype(np.float64)
    truth, (unsigned, face, _) = leaking(points) < 0, leaking.unsigned(points)
    evaluated, winding_number = [], leaking.rule.winding_number
    monkeypatch.setattr(leaking.rule, "winding_number", lambda x: evaluated.append(len(x)) or winding_number(x))
    inside = lattice_inside(leaking.rule, index, 64, unsigned, face)
    assert truth.sum() > 2000 and (inside != truth).sum() <= 0.005 * truth.sum()
    assert sum(evaluated) < 0.1 * len(index)


@pytest.mark.slow
def test_sign_of_selected_vertices():
    """A sorted subset of the lattice has the signs that the whole lattice gives its vertices."""
    distance, resolution = MeshDistance(flipped_torus(0.3)), 32
    index = np.arange(33**3, dtype=np.uint32)
    unsigned, face, _ = distance.unsigned(vertex_positions(index, resolution))
    whole = lattice_inside(distance.rule, index, resolution, unsigned, face)
    near = np.flatnonzero(unsigned < 3 * 2 / resolution)
    part = lattice_inside(distance.rule, index[near], resolution, unsigned[near], face[near])
    np.testing.assert_array_equal(part, whole[near])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("layer", [1, 3, 8, 13, 15])
def test_component_that_contains_both_signs(axis, layer):
    """Where nothing separates the two signs (a wide hole), the votes notice it, whichever layer the signs change at."""
    resolution = 15  # one block
    index = np.arange(16**3, dtype=np.uint32)

    def half_space(points, _):
        return points[:, axis] > 2 * (layer - 0.5) / resolution - 1

    far, nowhere = np.ones(len(index), dtype=np.float32), np.zeros(len(index), dtype=np.int32)
    inside = lattice_inside(half_space, index, resolution, far, nowhere)
    np.testing.assert_array_equal(inside, half_space(vertex_positions(index, resolution), nowhere))
