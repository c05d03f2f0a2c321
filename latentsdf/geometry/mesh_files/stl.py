"""Reader of STL meshes, binary or ASCII with one or more solids."""

import numpy as np

from latentsdf.geometry.mesh_files.content import decode_text, floats
from latentsdf.geometry.mesh_files.raw_mesh import RawMesh
from latentsdf.utils.errors import MeshError

_HEAD = 84
_UNIT_TOLERANCE = 0.01
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read(data: bytes) -> RawMesh:
    """Read the contents of an .stl file.

    Raises:
        MeshError: The file is damaged or truncated.
    """
    return _read_ascii(data) if _is_ascii(data) else _read_binary(data)


def _is_ascii(data: bytes) -> bool:
    """Return whether a file is ASCII; binary files may start with the word `solid`, too."""
    if len(data) >= _HEAD and len(data) == _HEAD + _declared(data) * _TRIANGLE.itemsize:
        return False
    head = decode_text(data[:4000]).lstrip().lower()
    return head.startswith(b"solid") and (b"facet" in head or b"endsolid" in head)


def _declared(data: bytes) -> int:
    return int.from_bytes(data[80:84], "little")


def _read_binary(data: bytes) -> RawMesh:
    if len(data) < _HEAD:
        raise MeshError(f"{len(data)} bytes are too few for an STL file; it is truncated")
    declared, held = _declared(data), (len(data) - _HEAD) // _TRIANGLE.itemsize
    rest = data[_HEAD + held * _TRIANGLE.itemsize :]
    if held < declared:
        raise MeshError(f"the head declares {declared:,} triangles, but the file holds {held:,}; it is truncated")
    if rest.strip(b"\0 \r\n\t"):
        raise MeshError(f"{len(rest)} bytes are left behind the last triangle; the file is damaged")
    notes: tuple[str, ...] = ()
    if held > declared:
        held -= _padding_rows(data[_HEAD + declared * _TRIANGLE.itemsize :])
        length = np.linalg.norm(np.frombuffer(data, _TRIANGLE, held, _HEAD)["normal"][declared:].astype(float), axis=1)
        if not ((length == 0) | (np.abs(length - 1) < _UNIT_TOLERANCE)).all():
            raise MeshError(
                f"the head declares {declared:,} triangles, but {len(data) - _HEAD - declared * _TRIANGLE.itemsize:,} "
                "bytes of something else follow them; the file is damaged"
            )
    if held > declared:
        notes = (f"the head declares {declared:,} triangles, but the file holds {held:,}; all are used",)
    corners = np.frombuffer(data, _TRIANGLE, held, _HEAD)["corners"]
    return RawMesh(corners.reshape(-1, 3).astype(np.float64), np.arange(3 * held).reshape(-1, 3), notes)


def _padding_rows(data: bytes) -> int:
    """Number of triangles at the end of some that consist of zeros."""
    count = len(data) // _TRIANGLE.itemsize
    used = np.frombuffer(data, np.uint8, count * _TRIANGLE.itemsize).reshape(count, -1).any(axis=1)
    return count - int(np.flatnonzero(used).max(initial=-1)) - 1


def _read_ascii(data: bytes) -> RawMesh:
    coordinates: list[bytes] = []
    opened: list[bytes] = []  # the blocks around the line
    loops = 0
    for number, line in enumerate(decode_text(data).split(b"\n"), start=1):
        words = line.split()
        if not words:
            continue
        key = words[0].lower()
        if key == b"end" and len(words) > 1:
            key += words[1].lower()
        if key == b"vertex" and len(words) >= 4:
            coordinates += words[1:4]
        elif key == b"solid" and not opened:
            opened.append(key)
        elif (key, opened) in ((b"facet", [b"solid"]), (b"outer", [b"solid", b"facet"])):
            opened.append(key)
            loops += key == b"outer"
        elif key in (b"endloop", b"endfacet", b"endsolid") and opened and opened[-1] == _BEGINS[key]:
            opened.pop()
            if key == b"endloop" and len(coordinates) != 9 * loops:
                raise MeshError(f"line {number}: a facet must have 3 vertices; the file is damaged or truncated")
        else:
            shown = line.strip()[:40].decode("utf-8", errors="replace")
            raise MeshError(f"line {number} ('{shown}') is out of place; the file is damaged or truncated")
    if opened:
        raise MeshError(f"the file ends before the end of its last {opened[-1].decode()} block; it is truncated")
    if len(coordinates) != 9 * loops:
        raise MeshError("vertices are outside of a facet; the file is damaged")
    vertices = np.array(floats(coordinates)).reshape(-1, 3)
    return RawMesh(vertices, np.arange(len(vertices)).reshape(-1, 3))


_BEGINS = {b"endloop": b"outer", b"endfacet": b"facet", b"endsolid": b"solid"}
