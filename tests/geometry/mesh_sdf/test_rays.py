"""Rays with and without Embree."""

import sys

import numpy as np
import pytest
import trimesh
from helpers.meshes import flipped_torus, torus
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.rays import RayScene, ray_scene
from latentsdf.geometry.mesh_sdf.visibility import orient_by_visibility
from latentsdf.rendering.render import render_mesh


@pytest.fixture
def without_embree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the package, as on Linux on Arm, where it has no wheel."""
    monkeypatch.setitem(sys.modules, "embreex", None)


def _rays(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    origins = rng.normal(size=(count, 3))
    return 2 * origins / np.linalg.norm(origins, axis=1, keepdims=True), rng.normal(size=(count, 3)) - origins


def _brute_force(mesh: trimesh.Trimesh, origins: NDArray[np.float64], directions: NDArray[np.float64]) -> list[int]:
    """First face of each ray, by solving o + t d = a + u (b - a) + v (c - a) for every face."""
    found = []
    for o, d in zip(origins, directions, strict=True):
        a, b, c = mesh.triangles.transpose(1, 0, 2)
        u, v, t = np.linalg.solve(np.stack([b - a, c - a, np.broadcast_to(-d, a.shape)], 2), (o - a)[..., None])[
            ..., 0
        ].T
        t = np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0), t, np.inf)
        found.append(int(t.argmin()) if np.isfinite(t.min()) else -1)
    return found


def _check(scene: RayScene, mesh: trimesh.Trimesh) -> None:
    origins, directions = _rays(300)
    expected = _brute_force(mesh, origins, directions)
    assert 0 < expected.count(-1) < 250
    np.testing.assert_array_equal(scene.first_face(origins, directions), expected)
    np.testing.assert_array_equal(scene.is_hit(origins, directions), np.array(expected) >= 0)


def test_first_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both implementations find the first face of a mesh with several layers."""
    mesh = trimesh.util.concatenate([trimesh.creation.icosphere(1, radius) for radius in (0.3, 0.6, 0.9)])
    pytest.importorskip("embreex")
    _check(ray_scene(np.array(mesh.triangles)), mesh)
    monkeypatch.setitem(sys.modules, "embreex", None)
    scene = ray_scene(np.array(mesh.triangles))
    assert type(scene).__name__ == "_Hierarchy"
    _check(scene, mesh)


@pytest.mark.usefixtures("without_embree")
def test_shared_edges_and_axes() -> None:
    """No ray passes between the faces of a closed mesh, also along axes, through corners, and in many parts."""
    box = trimesh.creation.box((1, 1, 1))
    scene = ray_scene(np.array(box.triangles))
    line = np.linspace(-0.5, 0.5, 151)
    x, y = (axis.ravel() for axis in np.meshgrid(line, line))
    origins = np.stack([x, y, np.full(len(x), 2.0)], axis=1)
    assert len(origins) > 20_000  # several tasks
    assert scene.is_hit(origins, np.tile([0.0, 0.0, -3.0], (len(origins), 1))).all()
    assert not scene.is_hit(origins, np.tile([0.0, 0.0, 3.0], (len(origins), 1))).any()
    face = scene.first_face(origins, np.tile([0.0, 0.0, -3.0], (len(origins), 1)))
    inside = (abs(x) < 0.5) & (abs(y) < 0.5)
    assert (box.face_normals[face[inside], 2] == 1).all()


@pytest.mark.usefixtures("without_embree")
def test_orientation() -> None:
    """Faces that point inward are found by visibility, as with Embree."""
    mesh, whole = flipped_torus(0.2), torus()
    sign = orient_by_visibility(np.array(mesh.vertices), np.array(mesh.faces)).sign
    outward = (mesh.face_normals * whole.face_normals).sum(1) > 0
    assert 0.5 < outward.mean() < 0.95
    np.testing.assert_array_equal(sign, np.where(outward, 1, -1))


def test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image without Embree differs from one with it by rounding at edges only."""
    pytest.importorskip("embreex")
    mesh = trimesh.creation.icosphere(2)
    expected = np.asarray(render_mesh(mesh, size=48), dtype=int)
    monkeypatch.setitem(sys.modules, "embreex", None)
    difference = abs(np.asarray(render_mesh(mesh, size=48), dtype=int) - expected)
    assert difference.mean() < 0.2 and (difference > 8).mean() < 0.01
