"""Tests of the import of DeepSDF samples: detection, selection, training, invalid files."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.settings import small_config
from numpy.typing import NDArray

from latentsdf.data import sdf_batches, sdf_samples
from latentsdf.data.deepsdf_npz import SETTINGS, find_samples, read_record
from latentsdf.data.import_export import export_samples, import_samples
from latentsdf.data.mesh_datasets import ShapeFile
from latentsdf.data.store import SampleStore
from latentsdf.geometry.similarity import IDENTITY
from latentsdf.space import load
from latentsdf.training.train import train
from latentsdf.utils.errors import ConfigError, StoreError

RADIUS = 0.6


def _write_npz(path: Path, radius: float = RADIUS, scale: float = 1.0) -> None:
    """Write samples of a sphere as DeepSDF does: near the surface, some in the box, and a row of NaN."""
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(4000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    points = np.concatenate([direction * rng.normal(radius, 0.03, (4000, 1)), rng.uniform(-1, 1, (500, 3))]) * scale
    distance = np.linalg.norm(points, axis=1) - radius * scale
    rows = np.column_stack([points, distance]).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    pos = np.vstack([rows[distance >= 0], np.full((1, 4), np.nan, np.float32)])
    np.savez(path, pos=pos, neg=rows[distance < 0])


@pytest.fixture
def deepsdf(tmp_path: Path) -> Path:
    """DeepSDF data folder with two spheres and the normalization parameters of one of them."""
    root = tmp_path / "data"
    for name in ("aa", "bb"):
        _write_npz(root / "SdfSamples" / "ShapeNetV2" / "04256520" / f"{name}.npz")
    other = root / "NormalizationParameters" / "ShapeNetV2" / "04256520"
    other.mkdir(parents=True)
    np.savez(other / "aa.npz", offset=np.zeros(3), scale=1.0)
    return root


def _sort_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows[np.lexsort(rows.T)]


def test_record_of_sphere(tmp_path: Path) -> None:
    """A record has the finite samples as `near`, the identity as similarity, and no other samples."""
    _write_npz(tmp_path / "ball" / "a.npz")
    assert find_samples(tmp_path) == [ShapeFile("ball", "a", tmp_path / "ball" / "a.npz")]
    record = read_record(ShapeFile("ball", "a", tmp_path / "ball" / "a.npz"), SETTINGS)
    near = record.samples.near
    assert near.shape == (4500, 4) and near.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(near[:, :3], axis=1) - RADIUS, near[:, 3], atol=1e-6)
    assert record.similarity.scale == 1 and not any(record.similarity.center)
    for array in ("band_index", "sparse_distance", "uniform", "surface"):
        assert getattr(record.samples, array).size == 0


@pytest.mark.slow
def test_training_on_imported_samples(deepsdf: Path, tmp_path: Path) -> None:
    """Imported samples keep their distances, form batches, and train a space that reproduces the sphere."""
    out = tmp_path / "s.zarr"
    assert import_samples(deepsdf, out).imported == ["04256520/aa", "04256520/bb"]
    store = SampleStore.open(out)
    near, uniform = store.offsurface_samples("04256520/aa")
    assert len(near) == 4500 and len(uniform) == 0 and len(store.band("04256520/aa")[0]) == 0
    assert np.allclose(np.linalg.norm(near[:, :3], axis=1) - RADIUS, near[:, 3], atol=1e-6)
    store.verify("04256520/aa")
    rng = np.random.default_rng(0)
    shapes = [sdf_samples.load_samples(store, key, 1.0, "even", rng) for key in ("04256520/aa", "04256520/bb")]
    sizes = sdf_batches.BatchSizes(band=1000, offsurface=500, box=0, heat=0)
    batch = sdf_batches.draw_batch(shapes, [0, 1], sizes, store.config.resolution, "even", [rng, rng])
    assert batch.band_points.shape == (2, 1000, 3) and batch.offsurface_points.shape == (2, 500, 3)
    assert batch.band_distance.abs().max() <= 6 * 2 / 512
    assert batch.band_distance.std() > 0.005 and batch.offsurface_distance.abs().max() > 0.1
    export_samples(store, tmp_path / "s.h5")
    assert import_samples(tmp_path / "s.h5", tmp_path / "t.zarr").imported == store.keys()
    back = SampleStore.open(tmp_path / "t.zarr").offsurface_samples("04256520/aa")[0]
    assert np.array_equal(_sort_rows(back), _sort_rows(near))

    metrics = train(out, tmp_path / "space", small_config(steps=100, points_per_shape=512, shapes_per_batch=2))
    assert metrics["overfit"] < 0.003
    mesh = load(tmp_path / "space", device="cpu").extract("aa", 64, "general")
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - RADIUS).mean() < 0.01


def test_selection_by_split_and_folder(deepsdf: Path, tmp_path: Path) -> None:
    """Samples are found from any level of the folder tree and selected by split and category."""
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"ShapeNetV2": {"04256520": ["bb"]}}))
    classes = deepsdf / "SdfSamples" / "ShapeNetV2"
    assert import_samples(classes, tmp_path / "s.zarr", split=split).imported == ["04256520/bb"]
    assert import_samples(classes / "04256520", tmp_path / "s.zarr", categories=["sofa"]).imported == ["04256520/aa"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="expected DeepSDF samples <class>/<id>.npz, or point clouds"):
        import_samples(tmp_path / "empty", tmp_path / "s.zarr")


@pytest.mark.parametrize("level", ["", "SdfSamples/ShapeNetV2/04256520"])
def test_normalization_parameters(level: str, deepsdf: Path, tmp_path: Path) -> None:
    """Shapes have the frame before DeepSDF's normalization, x_model = (x + offset) scale."""
    offset, scale = np.array((1.0, -2.0, 3.0)), np.array((0.25,))
    folder = deepsdf / "NormalizationParameters" / "ShapeNetV2" / "04256520"
    np.savez(folder / "aa.npz", offset=offset, scale=scale)
    import_samples(deepsdf / level, tmp_path / "s.zarr")
    store = SampleStore.open(tmp_path / "s.zarr")
    corner = np.array([[0.5, 0.6, 0.7]])
    np.testing.assert_allclose(store.info("04256520/aa").similarity.to_model(corner), (corner + offset) * scale)
    assert store.info("04256520/bb").similarity == IDENTITY


def test_damaged_normalization_parameters(deepsdf: Path) -> None:
    """Impossible or missing parameters are refused by name."""
    sample = deepsdf / "SdfSamples" / "ShapeNetV2" / "04256520" / "aa.npz"
    other = deepsdf / "NormalizationParameters" / "ShapeNetV2" / "04256520" / "aa.npz"
    good = {"offset": np.ones(3), "scale": np.ones(1)}
    for change in ({"scale": np.zeros(1)}, {"offset": np.full(3, np.nan)}, {"scale": np.ones(2)}, {"offset": None}):
        np.savez(other, **{name: value for name, value in (good | change).items() if value is not None})
        with pytest.raises(StoreError, match="its normalization parameters are damaged"):
            read_record(ShapeFile("04256520", "aa", sample), SETTINGS)


def test_invalid_files(deepsdf: Path, tmp_path: Path) -> None:
    """Files with other arrays, signs, ranges or scales are reported and skipped."""
    folder = deepsdf / "SdfSamples" / "ShapeNetV2" / "04256520"
    one, none = np.full((1, 4), 0.01, np.float32), np.empty((0, 4), np.float32)
    np.savez(folder / "names.npz", offset=one)
    np.savez(folder / "shape.npz", pos=one[:, :3], neg=none)
    np.savez(folder / "sign.npz", pos=-one, neg=one)
    np.savez(folder / "far.npz", pos=one + 0.5, neg=none)
    near = np.full((500, 4), 0.01, np.float32)
    np.savez(folder / "outside.npz", pos=near, neg=none)
    np.savez(folder / "inside.npz", pos=none, neg=near * (1, 1, 1, -1))
    np.savez(folder / "nan.npz", pos=one * np.nan, neg=none)
    _write_npz(folder / "large.npz", radius=0.9, scale=20)
    (folder / "text.npz").write_text("no")
    report = import_samples(deepsdf, tmp_path / "s.zarr")
    assert report.imported == ["04256520/aa", "04256520/bb"]
    reasons = {key.partition("/")[2]: reason for key, reason in report.failed.items()}
    assert reasons["names"].startswith("names.npz: expected arrays pos and neg (N, 4), but they cannot be read")
    assert reasons["text"].startswith("text.npz: expected arrays pos and neg (N, 4), but they cannot be read")
    assert reasons["shape"] == "shape.npz: expected pos (N, 4) of floats, got float32 (1, 3)"
    assert reasons["sign"] == "sign.npz: expected distances >= 0 in pos and <= 0 in neg, got others"
    assert reasons["far"] == "far.npz: none of its 1 samples is within 0.0234 of the surface"
    assert "none of its 500 distances is negative" in reasons["outside"]
    assert "none of its 500 distances is positive" in reasons["inside"]
    assert reasons["nan"] == "nan.npz: none of its 0 samples is within 0.0234 of the surface"
    assert reasons["large"].startswith("large.npz: samples at the surface reach 18, outside [-1, 1]; sample the shape")
