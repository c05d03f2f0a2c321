"""Fixtures shared by several test packages."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import jaxtyping
import numpy as np
import pytest
import trimesh
from helpers.paths import REAL_DATA
from helpers.preprocessing import tasks_in_this_process
from helpers.settings import SMALL_SAMPLING, TINY_MODEL, small_config
from helpers.shared import built_once

if "PYTEST_XDIST_WORKER" in os.environ:
    # Parallel test processes share the cores; torch and numba read these variables when they are imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")

if TYPE_CHECKING:
    from latentsdf.data.records import ShapeRecord
    from latentsdf.data.store import SampleStore
    from latentsdf.space import ShapeSpace


@pytest.fixture(autouse=True, scope="session")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep records of the tests out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of third-party meshes beside the checkout; skips the test if it is missing."""
    if not (REAL_DATA / "meshes").is_dir():
        pytest.skip("third-party meshes are missing: there is no folder shared/data/meshes beside the checkout")
    return REAL_DATA


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample store of four tables."""
    from latentsdf.data.store import SampleStore
    from preprocessing.shape import make_record
    from preprocessing.sources import procedural

    def build(path: Path) -> None:
        store = SampleStore.create(path, SMALL_SAMPLING)
        for source in procedural(["table"], count=4):
            store.write(make_record(source, SMALL_SAMPLING, seed=0))

    return built_once(tmp_path_factory, "tables.zarr", build)


@pytest.fixture(scope="session")
def space_path(store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Space of the four tables with small networks, for tests in which its accuracy does not matter.

    It is trained long enough for fields that are roughly distances: surfaces of others cannot be found quickly.
    """
    from latentsdf.training.train import train

    return built_once(
        tmp_path_factory, "space", lambda path: train(store_path, path, small_config(model=TINY_MODEL, steps=300))
    )


@pytest.fixture(scope="session")
def space(space_path: Path) -> "ShapeSpace":
    """The space in `space_path`."""
    import latentsdf as ls

    return ls.load(space_path, device="cpu")


@pytest.fixture(scope="session")
def trained_space_path(store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Space trained on the four tables, as accurate as its size allows; for slow tests."""
    from latentsdf.training.train import train

    return built_once(tmp_path_factory, "trained_space", lambda path: train(store_path, path, small_config()))


@pytest.fixture(scope="session")
def trained_space(trained_space_path: Path) -> "ShapeSpace":
    """The space in `trained_space_path`."""
    import latentsdf as ls

    return ls.load(trained_space_path, device="cpu")


@pytest.fixture(scope="session")
def record() -> "ShapeRecord":
    """Record of a procedural lamp, lamp/a.b-1."""
    from latentsdf.data.furniture import furniture
    from latentsdf.data.records import ShapeRecord
    from latentsdf.geometry.mesh import normalize
    from latentsdf.geometry.mesh_sdf.sampling import sample

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
def lamp_store(record: "ShapeRecord", tmp_path_factory: pytest.TempPathFactory) -> "SampleStore":
    """Store of one lamp under three keys, two of which have the same id; not to be modified."""
    from latentsdf.data.store import SampleStore

    store = SampleStore.create(tmp_path_factory.mktemp("data") / "s.zarr", SMALL_SAMPLING)
    for category, id in (("lamp", "a"), ("lamp", "b.1"), ("стул", "a")):
        store.write(replace(record, category=category, id=id))
    return store


@pytest.fixture
def registrations(tmp_path: Path) -> Path:
    """D-FAUST file with two sequences of a growing box, of 25 and 3 frames."""
    box = trimesh.creation.box((1, 2, 3))
    path = tmp_path / "registrations_f.hdf5"
    with h5py.File(path, "w") as file:
        file["faces"] = box.faces.astype(np.uint32)
        for name, count in {"50002_jumping_jacks": 25, "50004_punching": 3}.items():
            file[name] = box.vertices[:, :, None] * (1 + np.arange(count)) + 5
    return path


@pytest.fixture
def in_process() -> Iterator[None]:
    """Preprocess in this process."""
    with tasks_in_this_process():
        yield


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """Switch off the shape checks of jaxtyping, for tests that pass invalid arguments on purpose."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
