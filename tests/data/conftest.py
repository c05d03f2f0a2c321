"""Fixtures of the tests of sample stores."""

from pathlib import Path

import numpy as np
import pytest
from helpers.points import oriented_sphere_points

from latentsdf import cli

SPHERE_RADII = (0.3, 0.4, 0.5, 0.6, 0.7)


@pytest.fixture(scope="session")
def sphere_stores(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Stores of five spheres around the origin, imported from point clouds with normals (True) and without (False)."""
    stores = {}
    for oriented in (True, False):
        root = tmp_path_factory.mktemp("clouds")
        (root / "ball").mkdir()
        for radius in SPHERE_RADII:
            points, normals = oriented_sphere_points(radius)
            if oriented:
                np.savez(root / "ball" / f"r{radius}.npz", points=points, normals=3 * normals)
            else:
                np.savetxt(root / "ball" / f"r{radius}.xyz", points)
        stores[oriented] = root / "balls.zarr"
        assert cli.main(["import", str(root), str(stores[oriented]), "--normalization", "none"]) == 0
    return stores
