"""Fixtures of the tests of sample stores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.points import oriented_sphere_points
from helpers.settings import SMALL_SAMPLING

from latentsdf import cli
from latentsdf.data.furniture import furniture
from latentsdf.data.records import ShapeRecord
from latentsdf.data.store import SampleStore
from latentsdf.geometry.mesh import normalize
from latentsdf.geometry.mesh_sdf.sampling import sample

SPHERE_RADII = (0.3, 0.4, 0.5, 0.6, 0.7)


@pytest.fixture(scope="session")
def record() -> ShapeRecord:
    """Record of a procedural lamp, lamp/a.b-1."""
    mesh, similarity = normalize(furniture("lamp", 0))
    return ShapeRecord(
        category="lamp",
        id="a.b-1",
        samples=sample(mesh, SMALL_SAMPLING, 0),
        similarity=similarity,
        source="a.obj",
        source_sha256="0f",
        watertight=True,
        area=float(mesh.area),
        seed=7,
    )


@pytest.fixture(scope="session")
def lamp_store(record: ShapeRecord, tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    """Store of one lamp under three keys, two of which have the same id; not to be modified."""
    store = SampleStore.create(tmp_path_factory.mktemp("data") / "s.zarr", SMALL_SAMPLING)
    for category, id in (("lamp", "a"), ("lamp", "b.1"), ("стул", "a")):
        store.write(replace(record, category=category, id=id))
    return store


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
