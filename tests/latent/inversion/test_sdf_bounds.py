"""Bounds on signed distances against exact ones."""

import numpy as np
import pytest
from helpers.points import sphere_points

from latentsdf.latent.inversion.sdf_bounds import distance_bounds


@pytest.mark.parametrize("normals", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_bounds_of_sphere_points(normals: bool, partial: bool) -> None:
    """The exact distances of a sphere are within the bounds from its points."""
    cloud = sphere_points(3000, 0.6)
    if partial:
        cloud = cloud[cloud[:, 0] > 0]
    known = distance_bounds(cloud, cloud / 0.6 if normals else None, partial=partial, rng=np.random.default_rng(1))
    truth = np.linalg.norm(known.points, axis=1) - 0.6
    slack = 2e-3  # spheres bend away from the flat surface that the lower bound assumes
    held = (known.low - slack <= truth) & (truth <= known.high + slack)
    assert held.mean() > 0.999
    if partial:
        # No lower bound excludes a surface in the missing half.
        hidden = known.points[:, 0] < -0.3
        assert (np.abs(truth[hidden]) < 0.05).sum() > 10
        assert (known.low[hidden] < -0.1).all() or normals
    else:
        assert (known.low > 0.05).sum() > 300 and (known.high < -0.05).sum() > 100
