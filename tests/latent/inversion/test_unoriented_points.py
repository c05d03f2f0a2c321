"""Orientation of point clouds without normals."""

import numpy as np
import pytest
import trimesh

from latentsdf.config.sampling import SamplingConfig
from latentsdf.geometry.mesh_sdf.sampling import solid_from_config
from latentsdf.latent.inversion.observation import observe, orient_observation
from latentsdf.latent.inversion.unoriented_points import UnorientedPointCloud


def test_faces_of_thin_board() -> None:
    """Tangent planes separate the two faces of a thin board."""
    board = trimesh.creation.box((1.2, 0.8, 0.03))
    points, face = trimesh.sample.sample_surface(board, 2000, seed=0)
    seen = observe(np.asarray(points), "none")
    assert seen.cloud is not None
    known = orient_observation(seen, np.asarray(board.face_normals)[face].astype(np.float32))
    fresh = (known.low == known.high) & (known.low != 0)
    beyond = np.abs(known.points[fresh]) - np.array([0.6, 0.4, 0.015])
    exact = np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(1), 0)
    # Neighbors are as far apart as the faces, 0.03, so planes through both faces would be perpendicular to them.
    assert len(exact) > 3800 and (np.abs(known.low[fresh] - exact) > 1e-4).mean() < 0.06


@pytest.mark.parametrize(
    ("mesh", "share"),
    [
        (trimesh.creation.box((1.2, 0.8, 0.03)), 0.95),
        (trimesh.creation.cylinder(0.03, 1.4), 0.95),
        (trimesh.creation.box((0.9, 0.9, 0.9)), 0.25),
    ],
    ids=["board", "rod", "cube"],
)
def test_protruding_points(mesh: trimesh.Trimesh, share: float) -> None:
    """Both faces of a board, all of a rod, and the points near the edges of a cube are oriented without a fit."""
    points = np.asarray(trimesh.sample.sample_surface(mesh, 2000, seed=0)[0])
    known = UnorientedPointCloud(points, np.random.default_rng(0)).bounds()
    exact = (known.low == known.high) & (known.low != 0)
    distance = solid_from_config(mesh, SamplingConfig())(known.points[exact])
    assert exact.sum() > share * 2 * len(points) * 0.8
    assert (np.sign(distance) == np.sign(known.low[exact])).mean() > 0.97
