"""Reader of ASCII OFF meshes (Geomview), with colors, normals and texture coordinates, which are ignored."""

import re

import numpy as np

from latentsdf.geometry.mesh_files.content import decode_text, floats, integers
from latentsdf.geometry.mesh_files.raw_mesh import RawMesh, mesh_of_polygons
from latentsdf.utils.errors import MeshError

_KEYWORD = re.compile(rb"(ST)?(C)?(N)?(4)?(n)?OFF")


def read(data: bytes) -> RawMesh:
    """Read the contents of an .off file.

    Raises:
        MeshError: The file is damaged or truncated, holds more or less than its head declares, is binary, or is not
            three-dimensional.
    """
    lines = [words for line in decode_text(data).split(b"\n") if (words := line.partition(b"#")[0].split())]
    if not lines:
        raise MeshError("the file is empty")
    keyword = _KEYWORD.match(lines[0][0])
    if keyword:
        if keyword.group(4) or keyword.group(5):
            raise MeshError(f"expected an OFF file with points in 3D, got {keyword.group().decode()}; export OFF")
        # ModelNet's files have no line break behind the keyword.
        lines[0] = [word for word in (lines[0][0][keyword.end() :], *lines[0][1:]) if word]
        if not lines[0]:
            del lines[0]
        elif lines[0][0] == b"BINARY":
            raise MeshError("binary OFF files are not supported; export it as text")
    if not lines or not 2 <= len(lines[0]) <= 3:
        raise MeshError("expected the numbers of vertices and faces below the word OFF; the file is damaged")
    vertex_count, face_count = integers(lines[0][:2])
    if min(vertex_count, face_count) < 0 or len(lines) - 1 != vertex_count + face_count:
        fault = "truncated" if len(lines) - 1 < vertex_count + face_count else "damaged"
        raise MeshError(
            f"the head declares {vertex_count:,} vertices and {face_count:,} faces, one per line, but "
            f"{len(lines) - 1:,} lines follow; the file is {fault}"
        )
    rows = lines[1 : 1 + vertex_count]
    short = [words for words in rows if len(words) < 3]
    if short:
        raise MeshError("a vertex has fewer than 3 coordinates; the file is damaged or truncated")
    vertices = np.array(floats([word for words in rows for word in words[:3]])).reshape(-1, 3)
    polygons = lines[1 + vertex_count :]
    counts = integers([words[0] for words in polygons])
    if any(not 0 <= count < len(words) for count, words in zip(counts, polygons, strict=True)):
        raise MeshError("a face has fewer corners than it declares; the file is damaged or truncated")
    corners = integers([word for count, words in zip(counts, polygons, strict=True) for word in words[1 : 1 + count]])
    return mesh_of_polygons(vertices, np.array(corners, dtype=np.int64), np.array(counts, dtype=np.int64))
