"""What the benchmarks of unseen shapes observe: points on the surface, with its normals, of the side they mean."""

import sys

import numpy as np
import pytest
import trimesh
from helpers.paths import REPOSITORY

sys.path.append(str(REPOSITORY / "benchmarks"))


@pytest.mark.parametrize("name", ["points", "oriented", "half", "view", "noisy"])
def test_observations_of_a_ball(name: str) -> None:
    """Points of a ball are at its radius, and its normals point away from the center."""
    from unseen import CLOUDS

    ball = trimesh.creation.icosphere(4, 0.5)
    observed, _ = CLOUDS[name](ball)
    points, tolerance = np.asarray(observed)[:, :3], 0.05 if name == "noisy" else 3e-3
    assert len(points) > 500 and np.abs(np.linalg.norm(points, axis=1) - 0.5).max() < tolerance
    if observed.shape[1] == 6:
        assert ((points * observed[:, 3:]).sum(1) > 0.49).all()
    if name == "half":
        assert points[:, 0].min() > 0
    if name == "view":  # from 35 degrees to the right and 20 degrees above
        depth = points @ [0.539, 0.342, 0.770]
        assert depth.min() > -0.01 and depth.max() > 0.49
