"""Reader of Wavefront OBJ meshes.

Texture coordinates, normals, colors, materials and groups are ignored; faces of all parts are read. Indices count from
1, or backward from -1, the last vertex above the face. Weights of vertices (`v x y z w`) are ignored with a note:
according to the specification they belong to rational curves and surfaces, which are not read.
"""

import re

import numpy as np

from latentsdf.geometry.mesh_files.content import decode_text, floats, integers
from latentsdf.geometry.mesh_files.raw_mesh import RawMesh, mesh_of_polygons
from latentsdf.utils.errors import MeshError

_REMARK = re.compile(
    rb"^[ \t]*#[ \t]*(?:(\d+) (vertices|faces)\b|(vertices|faces|vertex count|face count)[ \t]*:[ \t]*(\d+))",
    re.I | re.M,
)

_COMMENT = re.compile(rb"(?<!\S)#.*")
"""A number sign within a word is no comment: Windows writes undefined numbers as -1.#IND."""

_CONTINUED = re.compile(rb"\\[ \t]*\n(?=[ \t]*[-+.\d\\])")
"""A backslash between numbers. Names and comments may end in one, too: paths, and characters of Shift-JIS."""

_KEYWORD = re.compile(rb"[losgpdc]|[a-z]\w+", re.I)
"""Statements other than vertices and faces. Single letters that are not statements are damage; exporters add words."""


def read(data: bytes) -> RawMesh:
    """Read the contents of an .obj file.

    Raises:
        MeshError: The file is damaged or truncated, counts vertices from 0, or consists of free-form surfaces.
    """
    text = decode_text(data)
    if b"\\" in text:
        text = _CONTINUED.sub(b" ", text)
    last = text.count(b"\n") + 1
    coordinates: list[bytes] = []
    corners: list[bytes] = []
    counts: list[int] = []
    defined: list[int] = []  # vertices above each face
    weights: list[bytes] = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        words = (_COMMENT.sub(b"", line) if b"#" in line else line).split()
        if not words:
            continue
        key = words[0]
        if key in (b"v", b"V"):
            if len(words) < 4:
                raise _line_error(last, number, words, "a vertex has 3 coordinates")
            coordinates += words[1:4]
            if len(words) in (5, 8):  # x y z w, which three numbers of a color may follow
                weights.append(words[4])
        elif key in (b"f", b"F", b"fo"):
            if len(words) < 4 and number == last:
                raise _line_error(last, number, words, "a face has 3 corners")
            corners += [word.partition(b"/")[0] for word in words[1:]]
            counts.append(len(words) - 1)
            defined.append(len(coordinates) // 3)
        elif key.lower() in (b"surf", b"curv", b"curv2", b"call"):
            meaning = "reads another file" if key.lower() == b"call" else "is a free-form curve or surface"
            raise MeshError(f"line {number} ('{key.decode()}') {meaning}, which is not supported; export triangles")
        elif not _KEYWORD.fullmatch(key):
            raise _line_error(last, number, words, "the keyword is unknown")
    vertices = np.array(floats(coordinates)).reshape(-1, 3)
    index, count = np.array(integers(corners), dtype=np.int64), np.array(counts, dtype=np.int64)
    if not coordinates:
        raise MeshError("has no vertices; the file is not an OBJ file, or damaged")
    if (index == 0).any():
        raise MeshError(
            "a face refers to vertex 0, but OBJ files count vertices from 1; add 1 to all indices of the faces"
        )
    index = np.where(index < 0, index + np.repeat(np.array(defined, dtype=np.int64), count), index - 1)
    notes = _contradicted_remarks(text, len(vertices), len(counts))
    if any(weight != 1 for weight in floats(weights)):
        notes += (
            "vertices have a fourth number, which is ignored as a weight of rational surfaces; if it is a homogeneous "
            "coordinate, divide x, y and z by it",
        )
    return mesh_of_polygons(vertices, index, count, notes)


def _line_error(last: int, number: int, words: list[bytes], reason: str) -> MeshError:
    shown = b" ".join(words)[:40].decode("utf-8", errors="replace")
    if number == last:
        return MeshError(f"the last line is truncated, so the file is incomplete ('{shown}')")
    return MeshError(f"line {number} ('{shown}'): {reason}; the file is damaged or not an OBJ file")


def _contradicted_remarks(text: bytes, vertices: int, faces: int) -> tuple[str, ...]:
    """Numbers that exporters write as comments, per file or per part, and that exceed what was read."""
    sums = {(key, form): 0 for key in ("vert", "face") for form in (True, False)}  # MeshLab writes both forms
    for first, kind, other_kind, second in _REMARK.findall(text):
        sums[(kind or other_kind)[:4].lower().decode(), bool(first)] += int((first or second)[:15])
    declared = {key: max(sums[key, True], sums[key, False]) for key in ("vert", "face")}
    missing = [
        f"{declared[key]:,} {name} according to a comment in the file, but {read:,} in it"
        for key, name, read in (("vert", "vertices", vertices), ("face", "faces", faces))
        if declared[key] > read
    ]
    return (f"there should be {' and '.join(missing)}; it may be cut off",) if missing else ()
