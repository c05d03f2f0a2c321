"""Reading of laser scans: LAS, LAZ and E57, through libraries that are optional dependencies."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentsdf.utils.errors import MeshError, MissingExtraError

SUFFIXES = (".las", ".laz", ".e57")
"""Suffixes of scans that are read."""
REFUSED = {
    ".pcd": "PCD (Point Cloud Library)",
    ".ptx": "PTX (Leica)",
    ".fls": "FLS (Faro)",
    ".rcp": "RCP (Autodesk ReCap)",
    ".rcs": "RCS (Autodesk ReCap)",
    ".pod": "POD (Bentley)",
}
"""Formats of scans that are refused by name, by suffix."""

_BYTES_PER_POINT = 0.05  # of the densest compressed scans


def read_scan(path: Path) -> NDArray[np.float64]:
    """Read the points of a scan in the frame of the file; scans of an .e57 file are placed and joined.

    Args:
        path: File with one of `SUFFIXES`.

    Returns:
        Points (N, 3).

    Raises:
        MissingExtraError: The reader is not installed.
        MeshError: The file declares another number of points than it holds.
    """
    return _read_e57(path) if path.suffix.lower() == ".e57" else _read_las(path)


def _read_las(path: Path) -> NDArray[np.float64]:
    try:
        import laspy
    except ImportError as error:
        raise MissingExtraError(f"{path.name}: LAS files are read by laspy; pip install 'latentsdf[las]'") from error
    with laspy.open(path) as file:
        declared = file.header.point_count
        _require_possible(path, declared)
        points = file.read()
    if len(points) != declared:
        raise MeshError(f"the head declares {declared:,} points, but the file holds {len(points):,}; it is truncated")
    return np.column_stack([np.asarray(axis, dtype=np.float64) for axis in (points.x, points.y, points.z)])


def _read_e57(path: Path) -> NDArray[np.float64]:
    try:
        import pye57
    except ImportError as error:
        raise MissingExtraError(f"{path.name}: E57 files are read by pye57; pip install 'latentsdf[e57]'") from error
    file = pye57.E57(str(path))
    try:
        scans = []
        for number in range(file.scan_count):
            _require_possible(path, file.get_header(number).point_count)
            scan = file.read_scan(number, ignore_missing_fields=True)
            scans.append(np.column_stack([scan[f"cartesian{axis}"] for axis in "XYZ"]))
    finally:
        file.close()
    return np.concatenate(scans) if scans else np.empty((0, 3))


def _require_possible(path: Path, declared: int) -> None:
    size = path.stat().st_size
    if declared * _BYTES_PER_POINT > size:
        raise MeshError(f"the head declares {declared:,} points, but the file has {size:,} bytes; it is damaged")
