"""HDF5 files from somebody else: links, foreign storage, filters and declared sizes."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import latentsdf as ls
from latentsdf.data import hdf5, hdf5_limits
from latentsdf.data.hdf5_limits import plain_dataset, plain_group, require_own_object
from latentsdf.data.import_export import export_samples, import_samples
from latentsdf.data.store import SampleStore

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_plain_objects(tmp_path: Path) -> None:
    """Arrays of numbers with the usual filters are returned with their values, and groups inside groups."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        inner = file.create_group("a/b")
        for compression in (None, "gzip", "lzf"):
            inner.create_dataset(
                f"{compression}", data=VALUES, compression=compression, shuffle=bool(compression), fletcher32=True
            )
            found = plain_dataset(plain_group(plain_group(file, "a"), "b"), f"{compression}")
            np.testing.assert_array_equal(found[:], VALUES)
        assert plain_dataset(inner, "gzip").compression == "gzip"
        for read in (require_own_object, plain_dataset, plain_group):
            with pytest.raises(KeyError, match="/a/b/none is missing"):
                read(inner, "none")


def test_links(tmp_path: Path) -> None:
    """Soft links are refused even if they stay in the file; the message names the place of the link."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("a")["b"] = VALUES
        file["a/c"] = h5py.SoftLink("/a/b")
        require_own_object(file["a"], "b")
        for read in (require_own_object, plain_dataset, plain_group):
            with pytest.raises(ValueError, match="^/a/c is a link to another place, which is not followed"):
                read(file["a"], "c")


def test_largest_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array of the largest size is read, and one of a byte more is not."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = VALUES
        monkeypatch.setattr(hdf5_limits, "MAX_BYTES", VALUES.nbytes)
        plain_dataset(file, "a")
        monkeypatch.setattr(hdf5_limits, "MAX_BYTES", VALUES.nbytes - 1)
        with pytest.raises(ValueError, match="/a declares 48 bytes, at most 47 are read"):
            plain_dataset(file, "a")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compression": 32_001, "allow_unknown_filter": True}, "/a has an unknown compression"),
        ({"scaleoffset": 3}, "/a has an unknown compression"),
        ({"chunks": (1 << 17, 4), "maxshape": (None, 4)}, "/a declares 48 bytes, but 0 are stored"),
    ],
    ids=["foreign filter", "scale and offset", "large chunk"],
)
def test_filters_and_chunks(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Filters from other libraries or without limits, and chunks far larger than the array, are refused."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (3, 4), np.float32, **{"chunks": (3, 4)} | settings)
        with pytest.raises(ValueError, match=message):
            plain_dataset(file, "a")


@pytest.fixture
def exported(lamp_store: SampleStore, tmp_path: Path) -> Path:
    """HDF5 file of three lamps."""
    export_samples(lamp_store, tmp_path / "s.h5")
    return tmp_path / "s.h5"


def _reading_fails(path: Path, message: str) -> None:
    config, shapes = hdf5.open_file(path)
    with pytest.raises(ls.StoreError, match=message):
        for shape in shapes:
            hdf5.read_record(shape, config)


def test_hdf5_links_and_storage(exported: Path, tmp_path: Path) -> None:
    """External links, soft links, external storage, virtual arrays and object references are not followed."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["near"] = np.zeros((5, 4), np.float32)
    (tmp_path / "secret.bin").write_bytes(bytes(80))
    layout = h5py.VirtualLayout((5, 4), np.float32)
    layout[:] = h5py.VirtualSource(str(secret), "near", (5, 4))
    whole = exported.read_bytes()
    for number, (replace, message) in enumerate(
        (
            (lambda g: g.__setitem__("near", h5py.ExternalLink(str(secret), "near")), "is a link to another place"),
            (lambda g: g.__setitem__("near", h5py.SoftLink("/lamp/b.1/near")), "is a link to another place"),
            (
                lambda g: g.create_dataset(
                    "near", (5, 4), np.float32, external=[(str(tmp_path / "secret.bin"), 0, 80)]
                ),
                "refers to another file",
            ),
            (lambda g: g.create_virtual_dataset("near", layout), "refers to another file"),
            (lambda g: g.create_dataset("near", data=["a", "b"]), "not of numbers"),
            (lambda g: g.create_group("near"), "is not an array"),
            (lambda g: g.create_dataset("near", (10**10, 4), np.float32, chunks=(1000, 4)), "declares 160,000,000,000"),
            (lambda g: g.create_dataset("near", (10**8, 4), np.float32, chunks=(1000, 4)), "but 0 are stored"),
        )
    ):
        path = tmp_path / f"{number}.h5"
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            del file["lamp/a"]["near"]
            replace(file["lamp/a"])
        _reading_fails(path, message)
    report = import_samples(path, tmp_path / "imported.zarr")
    assert list(report.failed) == ["lamp/a"] and len(report.imported) == 2
