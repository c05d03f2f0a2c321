"""Tests of the import of point clouds: normalization, normals, export, invalid files."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.points import oriented_sphere_points
from scipy.spatial import cKDTree

from latentsdf.data.import_export import export_samples, import_samples
from latentsdf.data.import_pointclouds import find_clouds
from latentsdf.data.mesh_datasets import ShapeFile
from latentsdf.data.store import SampleStore
from latentsdf.utils.errors import ConfigError, StoreError

SPHERE_RADII = (0.3, 0.4, 0.5, 0.6, 0.7)


def test_files_found_by_suffix(tmp_path: Path) -> None:
    """The folder is the category, the stem is the id, and meshes and other files are ignored."""
    (tmp_path / "ball").mkdir()
    for name in ("a.xyz", "b.PLY", "c.obj", "d.md"):
        (tmp_path / "ball" / name).touch()
    found = sorted(find_clouds(tmp_path), key=lambda file: file.id)
    assert found == [
        ShapeFile("ball", "a", tmp_path / "ball" / "a.xyz"),
        ShapeFile("ball", "b", tmp_path / "ball" / "b.PLY"),
    ]


@pytest.mark.slow
def test_clouds_in_model_space(sphere_stores: dict[bool, Path], tmp_path: Path) -> None:
    """Points and unit normals are stored unchanged or normalized, and survive export and import."""
    for oriented, path in sphere_stores.items():
        store = SampleStore.open(path)
        assert store.keys() == [f"ball/r{radius}" for radius in SPHERE_RADII]
        surface = store.read("ball/r0.6").samples.surface
        assert store.surface_array_shape("ball/r0.6") == surface.shape == (2000, 6 if oriented else 3)
        points, normals = oriented_sphere_points(0.6)
        expected = np.hstack((points, normals))[:, : surface.shape[1]].astype(np.float32)
        np.testing.assert_allclose(surface[np.lexsort(surface.T)], expected[np.lexsort(expected.T)], atol=1e-7)
        export_samples(store, tmp_path / "out.h5")
        back = tmp_path / f"{oriented}.zarr"
        assert import_samples(tmp_path / "out.h5", back).imported == store.keys()
        assert SampleStore.open(back).read("ball/r0.6").samples.surface.shape == surface.shape
    (tmp_path / "clouds").mkdir()
    far = oriented_sphere_points(0.5)[0] * 400 + (7, -5, 3)
    np.save(tmp_path / "clouds" / "far.npy", far)
    import_samples(tmp_path / "clouds", tmp_path / "far.zarr")
    record = SampleStore.open(tmp_path / "far.zarr").read("clouds/far")
    lengths = np.linalg.norm(record.samples.surface, axis=1)
    assert lengths.max() == pytest.approx(1 / 1.03, abs=1e-6) and lengths.min() > 0.95
    away, nearest = cKDTree(far).query(record.similarity.to_user(record.samples.surface))
    assert away.max() < 1e-3 and len(np.unique(nearest)) == len(far)


def test_invalid_files(sphere_stores: dict[bool, Path], tmp_path: Path) -> None:
    """Files that are not point clouds are reported and skipped; conflicting settings are rejected."""
    points = oriented_sphere_points(0.5, 300)[0]
    np.savetxt(tmp_path / "good.xyz", points)
    radius = np.linspace(0.4, 0.8, len(points))[:, None]
    np.savetxt(tmp_path / "signed.xyz", np.hstack((points / 0.5 * radius, radius - 0.5)))
    np.savetxt(tmp_path / "flat.xyz", points[:, :2])
    np.savetxt(tmp_path / "few.xyz", points[:50])
    (tmp_path / "notes.txt").write_text("not points")
    trimesh.creation.box().export(tmp_path / "mesh.ply")
    report = import_samples(tmp_path, tmp_path / "s.zarr")
    name = tmp_path.name
    assert report.imported == [f"{name}/good"]
    for stem, message in (
        ("signed", r"signed.xyz: expected points \(N, 3\) or with normals \(N, 6\), got signed samples"),
        ("flat", r"flat.xyz: expected points .* got planar points"),
        ("few", "50 points are too few"),
        ("notes", "notes.txt: expected a table of numbers"),
        ("mesh", "mesh.ply: has faces; meshes are sampled by latentsdf-preprocess"),
    ):
        with pytest.raises(StoreError, match=message):
            raise StoreError(report.failed[f"{name}/{stem}"])
    with pytest.raises(StoreError, match="normalization .sphere in the store, none requested."):
        import_samples(tmp_path, tmp_path / "s.zarr", normalization="none")
    export_samples(SampleStore.open(sphere_stores[True]), tmp_path / "s.h5")
    with pytest.raises(ConfigError, match="in model space already; leave the normalization out"):
        import_samples(tmp_path / "s.h5", tmp_path / "t.zarr", normalization="none")
