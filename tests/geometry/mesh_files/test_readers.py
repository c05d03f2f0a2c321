"""Readers of mesh files: one cube in every dialect of every format, and damaged files."""

import base64
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_files import gltf, ply
from latentsdf.utils.errors import MeshError

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
TRIANGLES = QUADS[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
V = "".join(f"v {x} {y} {z}\n" for x, y, z in CORNERS)
F = "".join("f " + " ".join(str(i + 1) for i in quad) + "\n" for quad in QUADS)


def _load(folder: Path, name: str, contents: bytes | str) -> trimesh.Trimesh:
    path = folder / name
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return meshes.load(path)


def _require_cube(mesh: trimesh.Trimesh, size: float = 1.0) -> None:
    cleaned, _ = meshes.clean(mesh)
    assert cleaned.is_watertight and len(cleaned.vertices) == 8
    np.testing.assert_allclose((cleaned.volume, cleaned.area), (size**3, 6 * size**2), rtol=1e-4)


def _face_lines(word: str, *, backward: bool = False) -> str:
    shift = -8 if backward else 1
    return "".join("f " + " ".join(word.replace("i", str(i + shift)) for i in quad) + "\n" for quad in QUADS)


OBJ = {
    "plain": V + F,
    "texture": V + "vt 0 0\nvn 0 0 1\n" + _face_lines("i/1/1"),
    "normals": V + "vn 0 0 1\n" + _face_lines("i//1"),
    "negative": V + _face_lines("i", backward=True),
    "forward_references": F + V,
    "crlf": (V + F).replace("\n", "\r\n"),
    "no_final_newline": (V + F).rstrip(),
    "continued_lines": V + F.replace(" 1 ", " \\\n 1 "),
    "colors": V.replace("\n", " 0.5 0.5 0.5\n") + F,
    "comments": "# made\n" + V.replace("\n", " # corner\n") + F.replace("\n", " # side\n"),
    "other_statements": "mtllib a.mtl\no box\ns off\ng a b\nusemtl red_1\nl 1 2\np 1\nvp 0 0\n" + V + F,
    "upper_case": (V + F).upper(),
    "utf16_without_mark": (V + F).encode("utf-16-le"),
    "utf32": (V + F).encode("utf-32"),
    "latin1_names": V.encode() + "g Stück\n".encode("latin1") + F.encode(),
    "exponents": V.replace("1.0", "+1.0E+00") + F,
    "names_that_end_in_a_backslash": b"# C:\\models\\\n" + V.encode() + "g 表\n".encode("shift-jis") + F.encode(),
    "continued_by_blanks": V + F.replace(" 1 ", " \\ \n\t1 "),
    "two_parts": V + "g a\n" + F[: len(F) // 2] + "g b\n" + F[len(F) // 2 :],
}


@pytest.mark.parametrize("name", OBJ)
def test_obj_dialect(name: str, tmp_path: Path) -> None:
    """Every legal way to write a cube as OBJ is read as the cube."""
    _require_cube(_load(tmp_path, "cube.obj", OBJ[name]))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (V + F.replace("f 1 2", "f 1 9"), "faces refer to vertex 8"),
        (V + F.replace("f 1 2", "f -9 2"), "damaged"),
        (V.replace("1.0", "1,0") + F, "decimal points, not commas"),
        (V.replace("1.0 1.0 1.0", "1.0 1.0") + F, "a vertex has 3 coordinates"),
        (V + F.replace("f 1", "w 1"), "the keyword is unknown"),
        (V + F[:-6], "the last line is truncated"),
        (V + F + "surf 0 1 0 1 1 2\n", "free-form"),
        (V + F.replace("f 1", "f 1_0"), "expected an index, got '1_0'"),
        ("Access denied\n", "has no vertices"),
        ("# .PCD v0.7\nVERSION 0.7\n", "Point Cloud Library"),
        ("PK\x03\x04 and so on", "ZIP archive"),
        ("<?xml version='1.0'?><COLLADA/>", "XML"),
        ("ply\nformat ascii 1.0\n", "a PLY file, not '.obj'"),
        ("glTF\2\0\0\0", "binary glTF"),
        (b"\0" * 500, "500 zeros"),
    ],
)
def test_damaged_obj(contents: bytes | str, message: str, tmp_path: Path) -> None:
    """Damaged files and files of another kind are refused with the reason."""
    with pytest.raises(MeshError, match=f"^cube.obj: .*{message}"):
        _load(tmp_path, "cube.obj", contents)


def test_contradicted_comment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers in comments of exporters that exceed what was read are reported; right ones are not."""
    _require_cube(_load(tmp_path, "cube.obj", "# Vertices: 8\n" + V + "# 6 faces\n" + F))
    assert not capsys.readouterr().err
    _load(tmp_path, "cube.obj", "# Vertices: 8\n" + V + "# 60 faces\n" + F)
    assert "60 faces according to a comment in the file, but 6 in it" in capsys.readouterr().err


def test_homogeneous_obj(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fourth number of vertices other than 1 is reported, because it is not divided by."""
    _require_cube(_load(tmp_path, "cube.obj", V.replace("\n", " 1.0\n") + F))
    assert not capsys.readouterr().err
    _load(tmp_path, "cube.obj", V.replace("\n", " 2.0\n") + F)
    assert "fourth number" in capsys.readouterr().err


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
    _require_cube(_load(tmp_path, "cube.off", contents))


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
        _load(tmp_path, "cube.off", contents)


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
    _require_cube(_load(tmp_path, "cube.stl", contents))


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
        _load(tmp_path, "cube.stl", contents)


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
    _require_cube(_load(tmp_path, "cube.ply", _ply(order, quads, count, index, real)))


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
    _require_cube(_load(tmp_path, "cube.ply", contents))
    assert ply.declares_faces(contents)


def test_ply_body_like_a_line_end(tmp_path: Path) -> None:
    """A body that starts with the byte of a line feed is whole behind a head with carriage returns."""
    head = (
        b"ply\rformat binary_little_endian 1.0\relement vertex 8\rproperty uchar a\rproperty uchar x\r"
        b"property uchar y\rproperty uchar z\relement face 6\rproperty list uchar uchar vertex_indices\rend_header\r"
    )
    rows = np.hstack([np.full((8, 1), 10), CORNERS]).astype(np.uint8)
    faces = np.hstack([np.full((6, 1), 4), QUADS]).astype(np.uint8)
    _require_cube(_load(tmp_path, "cube.ply", head + rows.tobytes() + faces.tobytes()))
    _require_cube(_load(tmp_path, "cube.ply", head.replace(b"\r", b"\r\n") + rows.tobytes() + faces.tobytes()))


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
            _load(tmp_path, "cube.ply", contents)


def _document(**changes: Any) -> tuple[dict[str, Any], bytes]:
    """A cube of triangles: accessor 0 positions (float), accessor 1 indices (ushort)."""
    binary = CORNERS.astype("<f4").tobytes() + TRIANGLES.astype("<u2").tobytes()
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 1]},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "bufferViews": [{"buffer": 0, "byteLength": 96}, {"buffer": 0, "byteOffset": 96, "byteLength": 72}],
        "buffers": [{"byteLength": len(binary)}],
    }
    return document | changes, binary


def _glb(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def test_gltf_transforms(tmp_path: Path) -> None:
    """Nested transforms apply in the order of the specification, and mirrored parts are turned outward again."""
    nodes = [
        {"children": [1], "scale": [2, 2, 2], "translation": [412343, 5654321, 84]},
        {"mesh": 0, "matrix": [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1]},
    ]
    mesh = _load(tmp_path, "cube.glb", _glb(*_document(nodes=nodes)))
    _require_cube(mesh, 2)
    np.testing.assert_allclose(mesh.bounds[0], [412343, 5654321, 84], atol=1e-6)


@pytest.mark.parametrize("mode", [4, 5, 6])
@pytest.mark.parametrize("indexed", [True, False])
def test_gltf_primitive_modes(mode: int, indexed: bool, tmp_path: Path) -> None:
    """Lists, strips and fans of triangles, with and without indices, have the orientation of the specification."""
    corners = [[0, 1, 3, 0, 3, 2], [0, 1, 2, 3], [0, 1, 3, 2]][mode - 4]
    document, binary = _document()
    document["meshes"][0]["primitives"] = []
    for quad in QUADS:
        square = CORNERS[quad][[0, 1, 3, 2]]
        points = square if indexed else square[corners]
        entry = {"attributes": {"POSITION": len(document["accessors"])}, "mode": mode}
        views, accessors = document["bufferViews"], document["accessors"]
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": 12 * len(points)})
        accessors.append({"bufferView": len(views) - 1, "componentType": 5126, "count": len(points), "type": "VEC3"})
        binary += points.astype("<f4").tobytes()
        if indexed:
            entry["indices"] = len(accessors)
            views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": 4 * len(corners)})
            accessors.append(
                {"bufferView": len(views) - 1, "componentType": 5125, "count": len(corners), "type": "SCALAR"}
            )
            binary += np.array(corners, "<u4").tobytes()
        document["meshes"][0]["primitives"].append(entry)
    document["buffers"][0]["byteLength"] = len(binary)
    _require_cube(_load(tmp_path, "cube.glb", _glb(document, binary)))


@pytest.mark.parametrize("normalized", [True, False])
def test_gltf_quantization(normalized: bool, tmp_path: Path) -> None:
    """Positions as integers are scaled if they are normalized, and used as they are otherwise."""
    document, _ = _document(extensionsRequired=["KHR_mesh_quantization"])
    largest = 127 if normalized else 100
    quantized = np.zeros((8, 4), "i1")
    quantized[:, :3] = CORNERS * largest
    document["accessors"][0] |= {"componentType": 5120, "normalized": normalized, "max": [largest] * 3}
    document["bufferViews"][0] = {"buffer": 0, "byteLength": 32, "byteStride": 4}
    document["bufferViews"][1]["byteOffset"] = 32
    binary = quantized.tobytes() + TRIANGLES.astype("<u2").tobytes()
    document["buffers"][0]["byteLength"] = len(binary)
    _require_cube(_load(tmp_path, "cube.glb", _glb(document, binary)), 1 if normalized else 100)


def test_gltf_skin_and_morph(tmp_path: Path) -> None:
    """Joints move vertices by their matrices and inverse bind matrices; targets by the weights of the mesh."""
    document, binary = _document()
    extra = [
        (np.tile([1, 0, 0, 0], (8, 1)).astype("<u1"), 5121, "VEC4"),
        (np.tile([1, 0, 0, 0], (8, 1)).astype("<f4"), 5126, "VEC4"),
        (np.stack([np.eye(4), np.diag([0.5, 0.5, 0.5, 1])]).transpose(0, 2, 1).astype("<f4"), 5126, "MAT4"),
        (CORNERS.astype("<f4"), 5126, "VEC3"),
    ]
    for values, kind, shape in extra:
        document["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": values.nbytes})
        document["accessors"].append(
            {"bufferView": len(document["bufferViews"]) - 1, "componentType": kind, "count": len(values), "type": shape}
        )
        binary += values.tobytes()
    document["buffers"][0]["byteLength"] = len(binary)
    primitive = document["meshes"][0]["primitives"][0]
    primitive["attributes"] |= {"JOINTS_0": 2, "WEIGHTS_0": 3}
    primitive["targets"] = [{"POSITION": 5}]
    document["meshes"][0]["weights"] = [0.5]
    document["nodes"] = [{"mesh": 0, "skin": 0}, {}, {"scale": [4, 4, 4]}]
    document["scenes"] = [{"nodes": [0, 1, 2]}]
    document["skins"] = [{"joints": [1, 2], "inverseBindMatrices": 4}]
    _require_cube(_load(tmp_path, "cube.glb", _glb(document, binary)), 1.5 * 0.5 * 4)


def _with_uri(uri: str) -> str:
    document, binary = _document()
    document["buffers"] = [{"byteLength": len(binary), "uri": uri}]
    return json.dumps(document)


def test_gltf_buffers_beside_the_file(tmp_path: Path) -> None:
    """Buffers are read from the JSON itself, and from files in the folder or below."""
    binary = _document()[1]
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a b%.bin").write_bytes(binary)
    encoded = base64.b64encode(binary).decode()
    for uri in ("parts/a%20b%25.bin", "./parts/a b%.bin", f"data:application/octet-stream;base64,{encoded}"):
        _require_cube(_load(tmp_path, "cube.gltf", _with_uri(uri)))


@pytest.mark.parametrize(
    "uri",
    [
        "../outside.bin",
        "..%2Foutside.bin",
        "parts/../../outside.bin",
        "..\\outside.bin",
        "/etc/hostname",
        "C:/outside.bin",
        "file:///etc/hostname",
        "https://example.org/a.bin",
        "missing.bin",
        "pipe",
        "folder",
        "a%00.bin",
        "data;base64," + "A" * 5000,
    ],
)
def test_refused_buffers(uri: str, tmp_path: Path) -> None:
    """Buffers outside of the folder, remote ones, pipes and folders are refused, not opened."""
    folder = tmp_path / "inner"
    (folder / "folder").mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    (tmp_path / "outside.bin").write_bytes(_document()[1])
    with pytest.raises(MeshError, match="outside of its folder|is missing|not a regular file"):
        _load(folder, "cube.gltf", _with_uri(uri))


def test_unread_images(tmp_path: Path) -> None:
    """Images are never opened, so that one that is a pipe does not block."""
    document, binary = _document(images=[{"uri": "/dev/stdin"}], textures=[{"source": 0}])
    _require_cube(_load(tmp_path, "cube.glb", _glb(document, binary)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extensionsRequired": ["EXT_meshopt_compression"]}, "meshopt"),
        ({"extensionsRequired": ["VENDOR_voxels"]}, "VENDOR_voxels"),
        ({"asset": {"version": "1.0"}}, "glTF version 1.0"),
        ({"nodes": [{"mesh": 0, "children": [0]}]}, "two parents"),
        ({"nodes": [{"mesh": 7}]}, "refers to entry 7"),
        ({"scene": -1}, "refers to entry -1"),
        ({"nodes": {"mesh": 0}}, "damaged"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 9}]}]}, "unknown mode 9"),
        ({"meshes": [{"primitives": [{"attributes": {}}]}]}, "no positions"),
    ],
)
def test_damaged_gltf(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Unknown extensions and contradictions are refused by name."""
    with pytest.raises(MeshError, match=f"^cube.glb: .*{message}"):
        _load(tmp_path, "cube.glb", _glb(*_document(**changes)))


def test_indices_of_another_type(tmp_path: Path) -> None:
    """Indices of a primitive that are normalized or signed are refused, because their values are not indices."""
    for change in ({"normalized": True}, {"componentType": 5122}):
        document, binary = _document()
        document["accessors"][1] |= change
        with pytest.raises(MeshError, match="not unsigned whole numbers"):
            _load(tmp_path, "cube.glb", _glb(document, binary))


def test_chunks_of_glb(tmp_path: Path) -> None:
    """Unknown chunks are ignored, as the specification demands; a second binary chunk is refused."""
    for kind, known in ((b"XTRA", False), (b"BIN\0", True)):
        more = (struct.pack("<I4s", 4, kind) + b"abcd") * 2
        data = _glb(*_document())
        data = data[:8] + struct.pack("<I", len(data) + len(more)) + data[12:] + more
        if known:
            with pytest.raises(MeshError, match="two chunks BIN"):
                _load(tmp_path, "cube.glb", data)
        else:
            _require_cube(_load(tmp_path, "cube.glb", data))


def test_truncated_glb(tmp_path: Path) -> None:
    """A cut file, and a count of 10 billion, are refused before any array is allocated."""
    document, binary = _document()
    with pytest.raises(MeshError, match="declares .* bytes, but the file has .* truncated"):
        _load(tmp_path, "cube.glb", _glb(document, binary)[:-8])
    document["accessors"][0]["count"] = 10**10
    with pytest.raises(MeshError, match="exceeds its buffer"):
        _load(tmp_path, "cube.glb", _glb(document, binary))
    document["accessors"][0] |= {"sparse": {"count": 0}}
    del document["accessors"][0]["bufferView"]
    with pytest.raises(MeshError, match="10,000,000,000 values, far more than the file holds"):
        _load(tmp_path, "cube.glb", _glb(document, binary))


def test_draco_primitive(tmp_path: Path) -> None:
    """A primitive compressed with Draco is decoded, and one that declares another size is refused."""
    draco = pytest.importorskip("DracoPy")
    compressed = draco.encode(CORNERS, TRIANGLES, quantization_bits=16)
    document, _ = _document(extensionsRequired=["KHR_draco_mesh_compression"])
    document["meshes"][0]["primitives"][0]["extensions"] = {
        "KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}
    }
    for accessor in document["accessors"]:
        del accessor["bufferView"]
    document["bufferViews"] = [{"buffer": 0, "byteLength": len(compressed)}]
    document["buffers"] = [{"byteLength": len(compressed)}]
    _require_cube(_load(tmp_path, "cube.glb", _glb(document, compressed)))
    document["accessors"][0]["count"] = 9
    with pytest.raises(MeshError, match="Draco declares 9 vertices"):
        _load(tmp_path, "cube.glb", _glb(document, compressed))


def test_gltf_without_draco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the decoder, the error names Draco and the extra that reads it."""
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    document, binary = _document()
    document["meshes"][0]["primitives"][0]["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0}}
    del document["accessors"][0]["bufferView"]
    with pytest.raises(MeshError, match=r"Draco.*latentsdf\[draco\]"):
        gltf.read(_glb(document, binary), tmp_path)


def test_gltf_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not read is named: lines, meshes outside of the scene, positions outside of their bounds."""
    document, binary = _document()
    document["meshes"][0]["primitives"].append({"attributes": {"POSITION": 0}, "mode": 1})
    document["meshes"].append(document["meshes"][0])
    document["accessors"][0]["max"] = [0.5, 1, 1]
    _require_cube(_load(tmp_path, "cube.glb", _glb(document, binary)))
    printed = capsys.readouterr().err
    for note in ("points and lines are left out", "1 of 2 meshes are not part", "4 of 8 vertices are outside"):
        assert note in printed
