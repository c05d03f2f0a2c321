"""Tests of export and import: round trip, selection, continuation, failures and the commands."""

import gc
import os
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.settings import SMALL_SAMPLING
from numpy.typing import NDArray

from latentsdf.data import hdf5
from latentsdf.data.import_export import export_samples, import_samples
from latentsdf.data.store import SampleStore
from latentsdf.utils.errors import ConfigError, OutputError, StoreError


@pytest.fixture
def exported(lamp_store: SampleStore, tmp_path: Path) -> Path:
    """HDF5 file of all shapes of `lamp_store`."""
    path = tmp_path / "s.h5"
    export_samples(lamp_store, path)
    return path


def _sort_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows[np.lexsort(rows.T)]


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_hdf5_round_trip(lamp_store: SampleStore, tmp_path: Path, compression: hdf5.Compression) -> None:
    """A store that is exported and imported again is equal, and no temporary file remains."""
    path, out = tmp_path / "new" / "s.h5", tmp_path / "t.zarr"
    assert export_samples(lamp_store, path, compression=compression) == lamp_store.keys()
    assert import_samples(path, out).imported == lamp_store.keys()
    back = SampleStore.open(out)
    assert back.config == lamp_store.config and back.keys() == lamp_store.keys()
    for key in lamp_store:
        one, two = lamp_store.read(key), back.read(key)
        for name in ("band_index", "band_distance", "sparse_distance"):
            assert np.array_equal(getattr(one.samples, name), getattr(two.samples, name))
        for name in ("near", "uniform", "surface"):
            assert np.array_equal(_sort_rows(getattr(one.samples, name)), _sort_rows(getattr(two.samples, name)))
        assert one.samples.sign == two.samples.sign
        assert replace(one, samples=two.samples) == two
        back.verify(key)
    assert os.listdir(path.parent) == ["s.h5"]


@pytest.mark.slow
def test_selection_and_continuation(lamp_store: SampleStore, exported: Path, tmp_path: Path) -> None:
    """Shapes are selected by id or key, and an import continues a store with the same settings."""
    assert export_samples(lamp_store, tmp_path / "one.h5", ["b.1", "lamp/a", "b.1"]) == ["lamp/b.1", "lamp/a"]
    out = tmp_path / "t.zarr"
    assert import_samples(tmp_path / "one.h5", out, pattern="b*").imported == ["lamp/b.1"]
    report = import_samples(exported, out, categories=["lamp"])
    assert report.imported == ["lamp/a"] and report.present == 1
    assert import_samples(exported, out, overwrite=True).imported == lamp_store.keys()
    with pytest.raises(ConfigError, match="has several shapes 'a': lamp/a, стул/a; name one as category/id"):
        export_samples(lamp_store, tmp_path / "two.h5", ["a"])
    with pytest.raises(ConfigError, match="has no shape 'zz'"):
        export_samples(lamp_store, tmp_path / "two.h5", ["zz"])
    with pytest.raises(StoreError, match="created with different settings: near"):
        import_samples(exported, SampleStore.create(tmp_path / "u.zarr", replace(SMALL_SAMPLING, near=1)).path)


def test_export_without_room(lamp_store: SampleStore, exported: Path, tmp_path: Path) -> None:
    """Wherever the file reaches its limit, the export ends with an error; HDF5 would end the process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in np.linspace(0, exported.stat().st_size, 12, endpoint=False).astype(int):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), limits[1]))
        try:
            with pytest.raises(OutputError, match=r"n\.h5: cannot be written, the file exceeds the size limit"):
                export_samples(lamp_store, tmp_path / "n.h5")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        gc.collect()
    assert [file.name for file in tmp_path.iterdir()] == ["s.h5"]
    export_samples(lamp_store, tmp_path / "n.h5")
    assert import_samples(tmp_path / "n.h5", tmp_path / "n.zarr").imported == lamp_store.keys()


def test_failed_export(
    lamp_store: SampleStore, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed export keeps the previous file, and reports unusable targets and empty stores."""
    before = exported.read_bytes()

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(hdf5, "_write_record", full)
    with pytest.raises(StoreError, match="s.h5: cannot be written .No space left on device"):
        export_samples(lamp_store, exported)
    assert exported.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["s.h5"]
    with pytest.raises(ConfigError, match="is a folder; name an HDF5 file"):
        export_samples(lamp_store, tmp_path)
    empty = SampleStore.create(tmp_path / "e.zarr", SMALL_SAMPLING)
    with pytest.raises(StoreError, match="the store has no shapes to export"):
        export_samples(empty, tmp_path / "e.h5")
