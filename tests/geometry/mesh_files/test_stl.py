"""STL: one cube in every dialect, and damaged files."""

import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.cube_files import CORNERS, TRIANGLES, load_bytes, require_cube

from latentsdf.utils.errors import MeshError


def _binary_stl(count: int | None = None, head: bytes = b"made for a test") -> bytes:
    body = b"".join(
        struct.pack("<12fH", 0, 0, 0, *CORNERS[triangle].reshape(-1), number)
        for number, triangle in enumerate(TRIANGLES)
    )
    return head.ljust(80) + struct.pack("<I", len(TRIANGLES) if count is None else count) + body


def _ascii_stl(parts: int = 1, name: str = "part") -> str:
    text = ""
    for faces in np.split(TRIANGLES, parts):
        text += f"solid {name}\n"
        for corners in CORNERS[faces]:
            text += "  facet normal 0 0 0\n    outer loop\n"
            text += "".join(f"      vertex {x:e} {y:e} {z:e}\n" for x, y, z in corners)
            text += "    endloop\n  endfacet\n"
        text += f"endsolid {name}\n"
    return text


@pytest.mark.parametrize(
    "contents",
    [
        _binary_stl(),
        _binary_stl(head=b"solid facet"),
        _binary_stl(count=3),
        _binary_stl(count=0),
        _binary_stl() + bytes(512),
        _binary_stl() + b"\n",
        _ascii_stl().encode(),
        _ascii_stl(parts=4, name="endsolid facet normal vertex 1 2").encode(),
        _ascii_stl().upper().encode(),
        _ascii_stl().replace("\n", "\r\n").encode(),
        ("\ufeff" + _ascii_stl()).encode("utf-16"),
        _ascii_stl(name="Stück").encode("latin1"),
        _ascii_stl(name="").encode(),
    ],
)
def test_stl_dialect(contents: bytes, tmp_path: Path) -> None:
    """Every legal way to write a cube as STL is read as the cube."""
    require_cube(load_bytes(tmp_path, "cube.stl", contents))


@pytest.mark.parametrize(
    "contents",
    [
        _binary_stl()[:-50],
        _binary_stl()[:-1],
        _binary_stl() + b"extra bytes",
        _binary_stl() + b"0123456789" * 10,
        _binary_stl(count=2**32 - 1),
        _binary_stl()[:60],
        *(_ascii_stl(3)[:-cut].encode() for cut in (16, 30, 60, 100, 150, 200)),
        _ascii_stl().replace("endloop", "vertex 0 0 0\nendloop").encode(),
    ],
)
def test_damaged_stl(contents: bytes, tmp_path: Path) -> None:
    """Cut files and files with bytes left are refused."""
    with pytest.raises(MeshError, match=r"^cube.stl: .*(truncated|damaged)"):
        load_bytes(tmp_path, "cube.stl", contents)
