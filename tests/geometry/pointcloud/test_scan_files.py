"""Laser scans: joined scans, cut files and missing readers; the readers are replaced where they are not installed."""

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from latentsdf.geometry.pointcloud.io import load_points
from latentsdf.geometry.pointcloud.scan_files import read_scan
from latentsdf.utils.errors import MeshError, MissingExtraError

POINTS = np.random.default_rng(0).normal(size=(150, 3)).round(4)


class _Scan(SimpleNamespace):
    """Points as laspy returns them."""

    def __len__(self) -> int:
        return len(self.x)


class _File(SimpleNamespace):
    """File as pye57 opens it, with one array of points per scan; the head declares `declared` points."""

    closed: list[str] = []  # noqa: RUF012

    @property
    def scan_count(self) -> int:
        return len(self.scans)

    def get_header(self, number: int) -> SimpleNamespace:
        return SimpleNamespace(point_count=self.declared or len(self.scans[number]))

    def read_scan(self, number: int, *, ignore_missing_fields: bool) -> dict[str, np.ndarray]:
        assert ignore_missing_fields
        return {f"cartesian{axis}": self.scans[number][:, n] for n, axis in enumerate("XYZ")} | {"intensity": 0}

    def close(self) -> None:
        self.closed.append(self.name)


def test_las_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are the scaled coordinates; a number that the file cannot hold, or does not, is refused."""
    head = SimpleNamespace(point_count=len(POINTS))
    file = SimpleNamespace(header=head, read=lambda: _Scan(x=POINTS[:, 0], y=POINTS[:, 1], z=POINTS[:, 2]))
    monkeypatch.setitem(sys.modules, "laspy", SimpleNamespace(open=lambda _: nullcontext(file)))  # type: ignore[arg-type]
    path = tmp_path / "scan.LAS"
    path.write_bytes(b"LASF" + bytes(100))
    np.testing.assert_array_equal(read_scan(path), POINTS)
    head.point_count = 151
    with pytest.raises(MeshError, match="declares 151 points, but the file holds 150; it is truncated"):
        read_scan(path)
    head.point_count = 10**9
    with pytest.raises(MeshError, match="declares 1,000,000,000 points, but the file has 104 bytes; it is damaged"):
        read_scan(path)


def test_e57_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All scans are joined in order, and the file is closed, also after an error; a file may have no scan."""
    file = _File(name="e57", scans=[POINTS, POINTS + 5], declared=None)
    monkeypatch.setitem(sys.modules, "pye57", SimpleNamespace(E57=lambda _: file))  # type: ignore[arg-type]
    path = tmp_path / "scan.e57"
    path.write_bytes(bytes(100))
    np.testing.assert_array_equal(read_scan(path), np.concatenate((POINTS, POINTS + 5)))
    assert file.closed == ["e57"]
    file.declared = 10**9
    with pytest.raises(MeshError, match="declares 1,000,000,000 points"):
        read_scan(path)
    assert file.closed == ["e57", "e57"]
    file.scans = []
    assert read_scan(path).shape == (0, 3)


def test_las_and_laz(tmp_path: Path) -> None:
    """Points of airborne scans keep the digits of their coordinates; a cut file is refused."""
    laspy = pytest.importorskip("laspy")
    pytest.importorskip("lazrs")
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales, header.offsets = (1e-4,) * 3, (412_343, 5_654_321, 0)
    scan = laspy.LasData(header)
    scan.x, scan.y, scan.z = (POINTS + np.array((412_343, 5_654_321, 84))).T
    for suffix in (".las", ".laz"):
        path = tmp_path / f"scan{suffix}"
        scan.write(path)
        np.testing.assert_allclose(load_points(path).points - (412_343, 5_654_321, 84), POINTS, atol=1e-8)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(MeshError, match=f"^scan{suffix}: "):
            load_points(path)


def test_e57(tmp_path: Path) -> None:
    """All scans of a file are placed by their poses and joined."""
    pye57 = pytest.importorskip("pye57")
    path = tmp_path / "scan.e57"
    file = pye57.E57(str(path), mode="w")
    for shift in (0.0, 5.0):
        columns = {f"cartesian{axis}": POINTS[:, n].copy() for n, axis in enumerate("XYZ")}
        file.write_scan_raw(columns, rotation=np.array([1.0, 0, 0, 0]), translation=np.array([shift, 0, 0]))
    file.close()
    np.testing.assert_allclose(
        load_points(path).points, np.concatenate((POINTS, POINTS + np.array((5, 0, 0)))), atol=1e-6
    )


def test_missing_scan_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional reader, the error names the extra."""
    for suffix, module, extra in ((".las", "laspy", "las"), (".e57", "pye57", "e57")):
        monkeypatch.setitem(sys.modules, module, None)
        (tmp_path / f"scan{suffix}").write_bytes(b"LASF" if suffix == ".las" else b"ASTM-E57")
        with pytest.raises(MissingExtraError, match=rf"latentsdf\[{extra}\]"):
            load_points(tmp_path / f"scan{suffix}")
