"""Stored shapes with impossible attributes or values, although every checksum is right."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.files import change_metadata

import latentsdf as ls
from latentsdf.data import store_checks, zarr_layout
from latentsdf.data.store import SampleStore
from latentsdf.data.store_checks import verify_shape


@pytest.fixture
def store(lamp_store: SampleStore, tmp_path: Path) -> SampleStore:
    """Store of three lamps, which a test may modify."""
    shutil.copytree(lamp_store.path, tmp_path / "s.zarr")
    return SampleStore.open(tmp_path / "s.zarr")


def test_written_shapes(lamp_store: SampleStore) -> None:
    """What the library writes passes all checks."""
    verify_shape(lamp_store.path / "shapes" / "lamp" / "a", lamp_store.config)


def _sphere_samples(cells: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples (N, 4) of a sphere of radius 0.6, some beyond the box, and its distances on a lattice in float16."""
    axis = np.linspace(-1, 1, cells + 1)
    lattice = np.linalg.norm(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1), axis=-1) - 0.6
    points = np.random.default_rng(0).uniform(-1.1, 1.1, (count, 3))
    samples = np.column_stack((points, np.linalg.norm(points, axis=1) - 0.6))
    return samples.astype(np.float32), lattice.astype(np.float16)


@pytest.mark.parametrize("cells", [4, 16, 64])
def test_distances_of_sphere(cells: int) -> None:
    """Right distances agree with a lattice of any resolution; without lattice or samples nothing is compared."""
    samples, lattice = _sphere_samples(cells, 2000)
    store_checks._verify_signs("near", samples, lattice)
    store_checks._verify_signs("near", -samples, np.empty((0, 0, 0), np.float16))
    store_checks._verify_signs("near", samples[:0], lattice)


def test_share_of_wrong_signs() -> None:
    """A few samples with doubtful signs are accepted, more than a twentieth are not."""
    samples, lattice = _sphere_samples(32, 2000)
    samples = samples[(np.abs(samples[:, :3]).max(axis=1) <= 1) & (np.abs(samples[:, 3]) > 0.1)][:1000]
    few, many = samples.copy(), samples.copy()
    few[:40, 3] *= -1
    many[:60, 3] *= -1
    store_checks._verify_signs("near", few, lattice)
    with pytest.raises(ValueError, match="^6% of the samples of near contradict the distances of sparse_sdf"):
        store_checks._verify_signs("near", many, lattice)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 0.0}, "expected a scale from 1e-12"),
        ({"scale": -1.0}, "expected a scale from 1e-12"),
        ({"center": [0.0, float("nan"), 0.0]}, "expected a finite center"),
        ({"center": [0.0, 0.0]}, "expected a finite center"),
        ({"band_samples": -3}, "band_samples is -3"),
        ({"band_samples": 10}, "band_samples is 10"),
        ({"band_samples": "many"}, "band_samples is 'many'"),
        ({"area": -1.0}, "its area is -1.0"),
        ({"area": float("inf")}, "its area is inf"),
        ({"recipe": "[" * 50_000}, "nested too deeply"),
        ({"recipe": "[]"}, "expected a JSON object"),
        ({"sign": {"method": 3, "confidence": 1.0, "sheet": 0.0}}, "sign is"),
        ({"sign": {"method": "winding", "confidence": 7.0, "sheet": 0.0}}, "not from 0 to 1"),
        ({"sign": []}, "sign is"),
        ({"sign": {"method": "winding", "confidence": "high", "sheet": 0.0}}, "sign has confidence 'high'"),
        ({"array_sha256": {}}, "does not list the arrays"),
        ({"array_sha256": None}, ""),
    ],
)
def test_attributes_of_stores(changes: dict[str, Any], message: str, store: SampleStore) -> None:
    """`verify` sees impossible attributes."""
    group = store.path / "shapes" / "lamp" / "a"
    attributes = json.loads((group / "zarr.json").read_text())["attributes"] | changes
    change_metadata(group, attributes=attributes)
    if not message:
        store.verify("lamp/a")  # as of a store of an earlier version
        return
    with pytest.raises(ls.StoreError, match=message):
        store.verify("lamp/a")


@pytest.mark.slow
def test_values_of_stores(store: SampleStore) -> None:
    """`verify` sees values that are impossible although every checksum is right.

    Slow: Zarr takes 0.1 s to write an array, to read the shape and to write the array back.
    """
    group = store.path / "shapes" / "lamp" / "a"
    arrays = {name: zarr_layout.read_array(group, name) for name in zarr_layout.ARRAYS}

    def changed(name: str, change: Any) -> None:
        values = arrays[name].copy()
        values = change(values)
        shutil.rmtree(group / name)
        zarr_layout._write_array(group, name, values, zarr_layout._SPARSE_CHUNK if name == "sparse_sdf" else 65_536)
        attributes = json.loads((group / "zarr.json").read_text())["attributes"]
        attributes["array_sha256"][name] = zarr_layout.values_digest(values)
        change_metadata(group, attributes=attributes)

    def put(value: float) -> Any:
        def change(values: np.ndarray) -> np.ndarray:
            values.reshape(-1)[7] = value
            return values

        return change

    def flip(values: np.ndarray) -> np.ndarray:
        values[:, 3] *= -1
        return values

    for name, change, message in (
        ("near", put(np.nan), "near has values that are not finite"),
        ("uniform", put(1e9), "uniform has values up to 1e"),
        ("surface", put(np.inf), "surface has values that are not finite"),
        ("surface", lambda v: v * np.float32(0.5), "normals that are not unit vectors"),
        ("sparse_sdf", put(np.nan), "sparse_sdf has values that are not finite"),
        ("near", flip, "of the samples of near contradict"),
        ("uniform", flip, "of the samples of uniform contradict"),
        ("near", lambda v: v[:, [3, 1, 2, 0]], "contradict"),
        ("band_index", put(2**32 - 1), "band_index|outside|is damaged"),
        ("band_sdf", lambda v: v[:-1], "different lengths|is damaged"),
    ):
        changed(name, change)
        with pytest.raises(ls.StoreError, match=message):
            store.verify("lamp/a")
        changed(name, lambda v: v)
    store.verify("lamp/a")
    digests = json.loads((group / "zarr.json").read_text())["attributes"]["array_sha256"]
    attributes = json.loads((group / "zarr.json").read_text())["attributes"]
    attributes["array_sha256"] = digests | {"near": "0" * 64}
    change_metadata(group, attributes=attributes)
    with pytest.raises(ls.StoreError, match="array near has another SHA-256"):
        store.verify("lamp/a")
