"""OFF: one cube in every dialect, and damaged files."""

from pathlib import Path

import pytest
from helpers.cube_files import CORNERS, QUADS, load_bytes, require_cube

from latentsdf.utils.errors import MeshError

OFF_V = "".join(f"{x} {y} {z}\n" for x, y, z in CORNERS)
OFF_F = "".join(f"4 {a} {b} {c} {d}\n" for a, b, c, d in QUADS)


@pytest.mark.parametrize(
    "contents",
    [
        "OFF\n8 6 12\n" + OFF_V + OFF_F,
        "OFF8 6 0\n" + OFF_V + OFF_F,
        "OFF 8 6\n" + OFF_V + OFF_F,
        "8 6 0\n" + OFF_V + OFF_F,
        "OFF # made\n\n# corners\n8 6 0\n\n" + OFF_V + "\n" + OFF_F.replace("\n", " 255 0 0\n"),
        "COFF\n8 6 0\n" + OFF_V.replace("\n", " 1 0 0 1\n") + OFF_F,
        "STCNOFF\r\n8 6 0\r\n" + OFF_V.replace("\n", " 0 0 1 1 0 0 1 0 0\r\n") + OFF_F,
        "\ufeffOFF\n8 6 0\n" + OFF_V + OFF_F,
    ],
)
def test_off_dialect(contents: str, tmp_path: Path) -> None:
    """Every legal way to write a cube as OFF is read as the cube."""
    require_cube(load_bytes(tmp_path, "cube.off", contents))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("OFF\n8 7 0\n" + OFF_V + OFF_F, "declares 8 vertices and 7 faces.*truncated"),
        ("OFF\n8 5 0\n" + OFF_V + OFF_F, "damaged"),
        ("OFF\n8 6 0\n" + OFF_V + OFF_F[:-4], "fewer corners than it declares"),
        ("OFF BINARY\n" + OFF_V, "binary OFF"),
        ("4OFF\n8 6 0\n" + OFF_V + OFF_F, "points in 3D, got 4OFF"),
        ("OFF\n-8 6 0\n" + OFF_V + OFF_F, "declares -8"),
    ],
)
def test_damaged_off(contents: str, message: str, tmp_path: Path) -> None:
    """Files that hold more or less than their head declares are refused."""
    with pytest.raises(MeshError, match=f"(?s)^cube.off: .*{message}"):
        load_bytes(tmp_path, "cube.off", contents)
