"""PLY: one cube in every dialect, and damaged files."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cube_files import CORNERS, QUADS, load_bytes, require_cube

from latentsdf.geometry.mesh_files import ply
from latentsdf.utils.errors import MeshError


def _ply(order: str, quads: bool = True, count: str = "uchar", index: str = "int", real: str = "double") -> bytes:
    """A cube with a color, a list per vertex and an extra element, and faces with 4, or with 3 and 4 corners."""
    codes = {"uchar": "B", "int": "i", "uint": "I", "ushort": "H", "double": "d", "float": "f", "short": "h"}
    polygons = [list(quad) for quad in QUADS] if quads else [[0, 1, 3], [0, 3, 2], *map(list, QUADS[1:])]
    head = (
        f"ply\nformat {order} 1.0\ncomment by a test\nelement extra 2\nproperty short a\nelement vertex 8\n"
        f"property uchar red\nproperty {real} x\nproperty {real} y\nproperty {real} z\nproperty list uchar float w\n"
        f"element face {len(polygons)}\nproperty list {count} {index} vertex_indices\nproperty float quality\n"
        "end_header\n"
    )
    rows: list[list[tuple[str, Any]]] = [[("short", 7)], [("short", 8)]]
    for n, corner in enumerate(CORNERS.tolist()):
        rows.append([("uchar", n), *((real, x) for x in corner), ("uchar", n % 2), *[("float", 0.5)] * (n % 2)])
    for polygon in polygons:
        rows.append([(count, len(polygon)), *((index, int(i)) for i in polygon), ("float", 1.5)])
    if order == "ascii":
        return (head + "".join(" ".join(str(x) for _, x in row) + "\n" for row in rows)).encode()
    mark = "<" if order == "binary_little_endian" else ">"
    return head.encode() + b"".join(struct.pack(mark + codes[kind], x) for row in rows for kind, x in row)


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("quads", [True, False])
@pytest.mark.parametrize(("count", "index", "real"), [("uchar", "int", "double"), ("int", "ushort", "float")])
def test_ply_dialect(order: str, quads: bool, count: str, index: str, real: str, tmp_path: Path) -> None:
    """Every byte order, mixture of polygons, list and type of number is read as the cube."""
    require_cube(load_bytes(tmp_path, "cube.ply", _ply(order, quads, count, index, real)))


@pytest.mark.parametrize(
    "contents",
    [
        _ply("ascii").replace(b"by a test", b"before end_header"),
        _ply("ascii").decode().encode("utf-16"),
        _ply("ascii").decode().encode("utf-16-be"),
        b"\xef\xbb\xbf" + _ply("ascii").replace(b"\n", b"\r\n").replace(b" ", b"\t"),
    ],
)
def test_ply_text(contents: bytes, tmp_path: Path) -> None:
    """Encodings, line ends and comments do not change what is read, nor whether it is a mesh."""
    require_cube(load_bytes(tmp_path, "cube.ply", contents))
    assert ply.declares_faces(contents)


def test_ply_body_like_a_line_end(tmp_path: Path) -> None:
    """A body that starts with the byte of a line feed is whole behind a head with carriage returns."""
    head = (
        b"ply\rformat binary_little_endian 1.0\relement vertex 8\rproperty uchar a\rproperty uchar x\r"
        b"property uchar y\rproperty uchar z\relement face 6\rproperty list uchar uchar vertex_indices\rend_header\r"
    )
    rows = np.hstack([np.full((8, 1), 10), CORNERS]).astype(np.uint8)
    faces = np.hstack([np.full((6, 1), 4), QUADS]).astype(np.uint8)
    require_cube(load_bytes(tmp_path, "cube.ply", head + rows.tobytes() + faces.tobytes()))
    require_cube(load_bytes(tmp_path, "cube.ply", head.replace(b"\r", b"\r\n") + rows.tobytes() + faces.tobytes()))


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian"])
def test_damaged_ply(order: str, tmp_path: Path) -> None:
    """Files that hold more or less than their head declares, or declare absurd numbers, are refused."""
    good = _ply(order)
    body = good.index(b"end_header")
    changes = [
        good.replace(b"face 6", b"face 7"),
        good.replace(b"face 6", b"face 5"),
        good.replace(b"vertex 8", b"vertex 10000000000"),
        good.replace(b"vertex 8", b"vertex -8"),
        good.replace(b"double x", b"duoble x"),
        good.replace(b"double y", b"double x"),
        good.replace(b"list uchar int", b"list uchar itn"),
        good[: len(good) // 2],
        good[: body - 2],
        good + b"1 2 3",
    ]
    for contents in changes:
        with pytest.raises(MeshError, match=r"^cube.ply: "):
            load_bytes(tmp_path, "cube.ply", contents)
