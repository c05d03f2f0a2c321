"""Tests of the Zarr layout of a shape: documented arrays, determinism, partial reads."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from helpers.files import change_metadata, files_of
from helpers.settings import SMALL_SAMPLING

from latentsdf.data import band_codec, zarr_layout
from latentsdf.data.records import ShapeRecord
from latentsdf.utils.errors import ConfigError

LATTICES = SMALL_SAMPLING.resolution, SMALL_SAMPLING.band_voxels


def test_arrays_match_documentation(record: ShapeRecord, tmp_path: Path) -> None:
    """Names, shapes, dtypes and chunks are those of the module documentation, and each array is a single file."""
    zarr_layout.write_shape(tmp_path / "s", record)
    band, cells = len(record.samples.band_index), SMALL_SAMPLING.sparse_resolution
    expected = {
        "band_index": ((band,), np.uint32),
        "band_sdf": ((band,), np.int16),
        "sparse_sdf": ((cells + 1,) * 3, np.float16),
        "near": ((4000, 4), np.float32),
        "uniform": ((4000, 4), np.float32),
        "surface": ((1000, 6), np.float32),
    }
    assert tuple(expected) == zarr_layout.ARRAYS
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == sorted([*expected, "zarr.json"])
    for name, (shape, dtype) in expected.items():
        array = zarr.open_array(tmp_path / "s" / name, mode="r")
        assert array.shape == shape and array.dtype == dtype
        assert array.chunks[0] <= {"sparse_sdf": 64, "band_index": 131_072, "band_sdf": 131_072}.get(name, 65_536)
        assert len([path for path in (tmp_path / "s" / name / "c").rglob("*") if path.is_file()]) == 1
    attributes = zarr_layout.read_attributes(tmp_path / "s")
    assert attributes.keys() == record.attributes().keys() | {"sign", "band_samples", "array_shapes", "array_sha256"}


def test_bytes_of_equal_records(record: ShapeRecord, tmp_path: Path) -> None:
    """The files do not depend on the time or the folder."""
    for name in ("a", "b"):
        zarr_layout.write_shape(tmp_path / name, record)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_summary_from_one_file(record: ShapeRecord, tmp_path: Path) -> None:
    """The summary needs the attributes only; those of older stores lack the shapes, which the arrays have as well."""
    zarr_layout.write_shape(tmp_path / "s", record)
    summary = zarr_layout.read_summary(tmp_path / "s")
    assert summary.band_samples == len(record.samples.band_index) and summary.similarity == record.similarity
    assert (summary.offsurface_samples, summary.surface_shape) == (8000, (1000, 6))
    attributes = json.loads((tmp_path / "s" / "zarr.json").read_text())["attributes"]
    older = {name: value for name, value in attributes.items() if name != "array_shapes"}
    change_metadata(tmp_path / "s", attributes=older)
    assert zarr_layout.read_summary(tmp_path / "s") == summary
    shutil.rmtree(tmp_path / "s" / "near")
    with pytest.raises(FileNotFoundError):
        zarr_layout.read_summary(tmp_path / "s")
    change_metadata(tmp_path / "s", attributes=attributes)
    assert zarr_layout.read_summary(tmp_path / "s") == summary
    for wrong in ({}, 3, {"near": [1]}, attributes["array_shapes"] | {"near": [-1, 4]}):
        change_metadata(tmp_path / "s", attributes=attributes | {"array_shapes": wrong})
        with pytest.raises(ValueError, match="array_shapes"):
            zarr_layout.read_summary(tmp_path / "s")


def test_partial_reads(record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and band chunks that are read separately make up the whole arrays."""
    monkeypatch.setattr(band_codec, "CHUNK_ROWS", 1000)
    folder = tmp_path / "s"
    zarr_layout.write_shape(folder, record)
    near = zarr_layout.read_array(folder, "near")
    rows = [zarr_layout.read_rows(folder, "near", slice(start, start + 999)) for start in range(0, len(near), 999)]
    assert np.array_equal(np.concatenate(rows), near)
    assert zarr_layout.count_rows(folder, "near") == len(near)
    count = zarr_layout.count_band_chunks(folder)
    assert count == -(-len(record.samples.band_index) // 1000)
    whole = zarr_layout.read_band(folder, *LATTICES)
    parts = [zarr_layout.read_band(folder, *LATTICES, [chunk]) for chunk in range(count)]
    for axis in range(2):
        assert np.array_equal(np.concatenate([part[axis] for part in parts]), whole[axis])
    with pytest.raises(ConfigError, match=f"has band chunks 0 to {count - 1}, got .-1."):
        zarr_layout.read_band(folder, *LATTICES, [-1])
