"""Tests of the preprocessing of one shape: record, thin walls, previews, full disk, imports of workers."""

import errno
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.files import files_of
from helpers.paths import REPOSITORY
from helpers.settings import SMALL_SAMPLING
from PIL import Image

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.shape_records import shape_seed
from latentsdf.data.store import SampleStore
from latentsdf.geometry.deformation import Deformation
from latentsdf.geometry.mesh import clean, normalize
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples, sample
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.geometry.mesh_sdf.solid import Solid
from latentsdf.utils.errors import StoreError
from preprocessing.shape import make_record, preprocess, thin_share
from preprocessing.sources import augmented, procedural


@pytest.mark.slow
def test_imports_of_workers() -> None:
    """Modules that run in worker processes import neither torch nor a graphical library."""
    modules = "cluster, isolation, job, outdated_shapes, pool, preview, report, shape, sources"
    code = f"import sys\nfrom preprocessing import {modules}\nprint(*({{'torch', 'OpenGL'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == ""


def test_reproducible_record() -> None:
    """A record depends on the source and the seed of the run only, and its mesh fits the unit ball."""
    source, other = procedural(["lamp"], count=2)
    one, two = (make_record(source, SMALL_SAMPLING, 3) for _ in range(2))
    assert np.array_equal(one.samples.near, two.samples.near) and one.source_sha256 == source.digest()
    assert one.seed == shape_seed(source.key, 3) != shape_seed(source.key, 4) and one.seed != shape_seed(other.key, 3)
    assert one.watertight and np.linalg.norm(one.samples.surface[:, :3], axis=1).max() <= 1 / 1.03 + 1e-6


@pytest.mark.slow
def test_record_of_deformed_copy(tmp_path: Path) -> None:
    """The store keeps the mark and the recipe of a copy, from which its surface is generated again."""
    original, copy = augmented(procedural(["lamp"], count=1, wide=True), 1, mirror="x")
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    for source in (original, copy):
        preprocess(source, store.path, SMALL_SAMPLING, 0)
    assert store.keys() == ["lamp/lamp_wide_0000", "lamp/lamp_wide_0000~1"]
    plain, info = store.info(original.key), store.info(copy.key)
    assert (plain.augmented, info.augmented) == (False, True) and info.watertight
    assert plain.recipe["parameters"]["height"] == info.recipe["parameters"]["height"]
    assert "deformation" not in plain.recipe and info.recipe["original"] == original.key
    deformation = Deformation.from_recipe(info.recipe["deformation"])
    mesh, similarity = normalize(deformation.deform(clean(original.load())[0]))
    assert similarity == info.similarity
    record = store.read(copy.key)
    assert record.augmented and record.recipe == info.recipe
    solid, surface = Solid(mesh), record.samples.surface.astype(np.float64)
    assert np.abs(solid(surface[:, :3])).max() < 1e-6
    near = record.samples.near[:200].astype(np.float64)
    np.testing.assert_allclose(solid(near[:, :3]), near[:, 3], atol=1e-5)
    assert (solid(surface[:, :3] + 1e-4 * surface[:, 3:]) > 0).mean() > 0.99


def test_invisible_store(tmp_path: Path) -> None:
    """A worker that does not see the store reports it and creates nothing."""
    with pytest.raises(StoreError, match=r"a worker on .* cannot find the store; .* file system that all machines"):
        preprocess(procedural(["lamp"], count=1)[0], tmp_path / "s.zarr", SMALL_SAMPLING, 0)
    assert not (tmp_path / "s.zarr").exists()


def _fill_disk(path: Path) -> None:
    """Write one byte and fail as a full disk does."""
    path.write_bytes(b"{")
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


@pytest.mark.slow
def test_full_disk_during_preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when the preview is written fails the shape, which succeeds when there is space."""
    out, previews, source = tmp_path / "s.zarr", tmp_path / "p", procedural(["lamp"], count=1)[0]
    store = SampleStore.create(out, SMALL_SAMPLING)
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", lambda _, path, **__: _fill_disk(path))
        with pytest.raises(StoreError, match=r"p: the disk is full; .* make room and run again to resume"):
            preprocess(source, out, SMALL_SAMPLING, 0, previews)
    assert store.keys() == [] and files_of(previews) == {}
    preprocess(source, out, SMALL_SAMPLING, 0, previews)
    assert store.keys() == [source.key] and list(files_of(previews)) == [f"{source.key}.png"]


def _plane(below: float) -> SdfSamples:
    """Half space y < 0 at 64 cells, with a given distance in its interior."""
    resolution, side = 64, 65
    j = np.arange(29, 36)
    index = (np.arange(side)[:, None, None] * side + j[:, None]) * side + np.arange(side)
    distance = np.broadcast_to(((j - 32) * 2 / resolution)[:, None], index.shape)
    distance = np.where(distance < 0, below, distance)
    points = np.random.default_rng(0).uniform(-0.9, 0.9, (500, 3))
    points[:, 1] = 0
    return SdfSamples(
        resolution=resolution,
        band_voxels=3.0,
        band_index=index.ravel().astype(np.uint32),
        band_distance=distance.ravel().astype(np.float32),
        sparse_resolution=1,
        sparse_distance=np.zeros((2, 2, 2), np.float32),
        near=np.empty((0, 4), np.float32),
        uniform=np.empty((0, 4), np.float32),
        surface=np.column_stack([points, np.tile([0, 1, 0], (500, 1))]).astype(np.float32),
        sign=SignReport("pseudonormal", 1.0),
    )


def test_thin_share_of_plane() -> None:
    """A half space has an interior everywhere, a sheet nowhere; without surface samples the share is 0."""
    assert thin_share(_plane(-0.03)) == 0
    assert thin_share(_plane(0.03)) == 1
    assert thin_share(replace(_plane(0.03), surface=np.empty((0, 6), np.float32))) == 0


def test_thin_share_of_plates() -> None:
    """A plate of half a cell is thin, a plate of four cells is not."""
    config = SamplingConfig(resolution=64, band_voxels=3.0, sparse_resolution=32, near=10, uniform=10, surface=2000)
    plates = [sample(trimesh.creation.box((1, 1, cells * 2 / 64)), config) for cells in (0.5, 4)]
    thin, thick = map(thin_share, plates)
    assert thin > 0.3 and thick < 0.1
