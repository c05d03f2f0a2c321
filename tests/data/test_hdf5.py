"""Tests of the HDF5 format: documented layout, checks of content, foreign files."""

from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.files import flip_byte
from numpy.typing import NDArray

from latentsdf.data.hdf5 import open_file, read_record
from latentsdf.data.import_export import export_samples, import_samples
from latentsdf.data.store import SampleStore
from latentsdf.geometry.lattice import lattice_points
from latentsdf.utils.errors import StoreError


@pytest.fixture
def exported(lamp_store: SampleStore, tmp_path: Path) -> Path:
    """HDF5 file of all shapes of `lamp_store`."""
    path = tmp_path / "s.h5"
    export_samples(lamp_store, path)
    return path


def test_layout_matches_documentation(exported: Path, lamp_store: SampleStore) -> None:
    """The settings are root attributes, and lattice indices give the documented vertex positions."""
    with h5py.File(exported) as file:
        assert file.attrs["format"] == "latentsdf-samples" and file.attrs["version"] == 1
        assert {name: file.attrs[name] for name in asdict(lamp_store.config)} == asdict(lamp_store.config)
        group, record = file["lamp/b.1"], lamp_store.read("lamp/b.1")
        assert tuple(group.attrs["center"]) == record.similarity.center
        assert group.attrs["scale"] == record.similarity.scale and group.attrs["watertight"]
        side = file.attrs["resolution"] + 1
        index = group["band_index"][:].astype(np.int64)
        vertex = np.stack([index // side**2, index // side % side, index % side], axis=1)
        points = -1 + 2 * vertex / file.attrs["resolution"]
        assert np.allclose(points, lattice_points(record.samples.band_index, int(side) - 1), atol=1e-6)
        assert group["band_distance"].dtype == np.float32 and group["near"].fletcher32


def test_direct_access_to_records(exported: Path, lamp_store: SampleStore) -> None:
    """`open_file` lists the shapes and `read_record` reads one of them with its provenance."""
    config, shapes = open_file(exported)
    assert config == lamp_store.config and [f"{file.category}/{file.id}" for file in shapes] == lamp_store.keys()
    for file in shapes:
        record, expected = read_record(file, config), lamp_store.read(f"{file.category}/{file.id}")
        assert record.attributes() == expected.attributes()
        assert np.array_equal(record.samples.band_distance, expected.samples.band_distance)


@pytest.mark.parametrize(
    ("array", "values", "message"),
    [
        ("near", np.zeros((5, 3), np.float32), r"expected near of float32 .5, 4., got float32 .5, 3."),
        ("near", np.full((5, 4), np.nan, np.float32), "near has values that are not finite"),
        ("band_index", np.full(1, 2**31, np.uint32), "expected band_distance of float32 .1,."),
        ("sparse_distance", np.zeros((3, 3, 3), np.float32), r"expected sparse_distance of float32 .33, 33, 33."),
        ("surface", None, "is damaged .*surface is missing.*; export it again"),
    ],
)
def test_invalid_arrays(
    exported: Path, tmp_path: Path, array: str, values: NDArray[np.float32] | None, message: str
) -> None:
    """A shape with a wrong or missing array is reported and skipped."""
    with h5py.File(exported, "a") as file:
        del file["lamp/a"][array]
        if values is not None:
            file["lamp/a"][array] = values
    report = import_samples(exported, tmp_path / "t.zarr")
    assert report.imported == ["lamp/b.1", "стул/a"] and list(report.failed) == ["lamp/a"]
    with pytest.raises(StoreError, match=message):
        raise StoreError(report.failed["lamp/a"])


def test_band_values_out_of_range(exported: Path, tmp_path: Path) -> None:
    """Band vertices outside the lattice and distances beyond the band width are reported."""
    with h5py.File(exported, "a") as file:
        file["lamp/a/band_index"][-1] = 65**3
        file["lamp/b.1/band_distance"][0] = 0.2
    failed = import_samples(exported, tmp_path / "t.zarr").failed
    assert "band_index has vertices outside the lattice of 64 cells per axis" in failed["lamp/a"]
    assert "band_distance exceeds the band width of 3.0 cells, at 64 cells per axis" in failed["lamp/b.1"]


def test_flipped_byte(exported: Path, tmp_path: Path) -> None:
    """The checksum of a dataset detects a changed byte."""
    with h5py.File(exported) as file:
        place = file["lamp/a/near"].id.get_chunk_info(0).byte_offset
    flip_byte(exported, place + 100)
    failed = import_samples(exported, tmp_path / "t.zarr").failed
    assert list(failed) == ["lamp/a"] and "s.h5: lamp/a is damaged" in failed["lamp/a"]


def test_foreign_files(exported: Path, tmp_path: Path) -> None:
    """Missing files, other content and other versions are rejected before a store is created."""
    out = tmp_path / "t.zarr"
    with pytest.raises(FileNotFoundError, match="no such HDF5 file, nor a folder of npz files"):
        import_samples(tmp_path / "none.h5", out)
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(StoreError, match="text.h5: is not an HDF5 file, or it is truncated"):
        import_samples(tmp_path / "text.h5", out)
    with h5py.File(exported, "a") as file:
        file.attrs["version"] = 9
    with pytest.raises(StoreError, match="version 9, but this latentsdf reads version 1"):
        import_samples(exported, out)
    with h5py.File(exported, "a") as file:
        del file.attrs["format"]
    with pytest.raises(StoreError, match="not a file that latentsdf export wrote; meshes and D-FAUST"):
        import_samples(exported, out)
    assert not out.exists()
