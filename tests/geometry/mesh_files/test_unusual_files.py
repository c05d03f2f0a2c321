"""Files that are legal but unusual, in every format: read completely, or refused with the reason."""

import base64
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cube_files import CORNERS, QUADS, TRIANGLES
from trimesh.transformations import euler_matrix

from latentsdf.geometry.mesh import clean, load
from latentsdf.utils.errors import MeshError

Corners = list[tuple[float, float, float]]
Polygons = list[list[int]]

CUBE = (6.0, 1.0)  # area and volume
_ROTATION = euler_matrix(0.3, 0.5, 0.7)[:3, :3]


def _prism(outline: list[tuple[float, float]], cap: list[int], loops: list[list[int]]) -> tuple[Corners, Polygons]:
    """Prism of height 1 over a polygon whose boundary `cap` may touch itself, with sides along the loops."""
    size = len(outline)
    corners: Corners = [(x, y, z) for z in (0, 1) for x, y in outline]
    sides = [[a, b, size + b, size + a] for loop in loops for a, b in zip(loop, loop[1:] + loop[:1], strict=True)]
    return corners, [cap[::-1], [size + corner for corner in cap], *sides]


_U = _prism(
    [(0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)], list(range(8)), [list(range(8))]
)  # area 30, volume 7
_FRAME = _prism(
    [(0, 0), (4, 0), (4, 4), (0, 4), (1, 1), (1, 3), (3, 3), (3, 1)],
    [0, 1, 2, 3, 0, 4, 5, 6, 7, 4],
    [[0, 1, 2, 3], [4, 5, 6, 7]],
)  # area 48, volume 12; its caps are cut open from one outline to the other


def _lines(rows: Any, form: str = "{}") -> str:
    return "".join(form.format(" ".join(f"{value:.9g}" for value in row)) + "\n" for row in rows)


def _obj(corners: Any, polygons: Polygons) -> str:
    return _lines(corners, "v {}") + _lines([[corner + 1 for corner in polygon] for polygon in polygons], "f {}")


def _interleaved() -> str:
    part = "o part\n" + "".join("v {} {} {}\nvt 0 0\nvn 0 0 1\n".format(*corner) for corner in CORNERS)
    part += "".join("f " + " ".join(f"{i - 8}/{i - 8}/{i - 8}" for i in quad) + "\n" for quad in QUADS)
    return (part + part.replace("v 0", "v 5").replace("v 1", "v 6")).rstrip()


def _stl(name: str, x: float = 0.0) -> str:
    facets = "".join(
        "facet normal 0 0 0\nouter loop\n" + _lines(corners, "vertex {}") + "endloop\nendfacet\n"
        for corners in CORNERS[TRIANGLES] + [x, 0, 0]
    )
    return f"solid {name}\n{facets}endsolid {name}\n"


def _ply_between_elements() -> str:
    head = (
        "ply\nformat ascii 1.0\nelement vertex 16\nproperty double x\nproperty double y\nproperty double z\n"
        "element material 1\nproperty list uchar float color\nelement face 10\nproperty uchar group\n"
        "property list uchar int vertex_indices\nelement edge 1\nproperty int vertex1\nproperty int vertex2\n"
        "end_header\n"
    )
    faces = [[7, len(polygon), *polygon] for polygon in _U[1]]
    return head + _lines(_U[0]) + "3 1 0 0\n" + _lines(faces) + "0 1\n"


def _ply_strips() -> bytes:
    head = (
        "ply\nformat binary_big_endian 1.0\nelement vertex 8\nproperty list uchar uchar tags\nproperty float x\n"
        "property float y\nproperty float z\nelement tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    )
    strip = [corner for a, b, c, d in QUADS for corner in (a, b, d, c, -1)]
    corners = b"".join(struct.pack(">3B3f", 2, 1, 2, *corner) for corner in CORNERS)
    return head.encode() + corners + struct.pack(f">{len(strip) + 1}i", len(strip), *strip)


def _glb(data: bytes, sizes: list[int], accessors: list[dict[str, Any]], **document: Any) -> bytes:
    """Binary glTF whose buffer views follow each other."""
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    views = [{"buffer": 0, "byteOffset": a, "byteLength": size} for a, size in zip(starts, sizes, strict=True)]
    head = {"asset": {"version": "2.0"}, "buffers": [{"byteLength": len(data)}], "bufferViews": views}
    primitive = {"attributes": {"POSITION": 0}, "indices": 1}
    content = head | {"accessors": accessors, "meshes": [{"primitives": [primitive]}]} | document
    text = json.dumps(content).encode()
    text, data = text + b" " * (-len(text) % 4), data + b"\0" * (-len(data) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _accessor(view: int, kind: int, count: int, form: str = "VEC3", **more: Any) -> dict[str, Any]:
    return {"bufferView": view, "componentType": kind, "count": count, "type": form} | more


def _quantized() -> bytes:
    positions = np.pad(np.round(127 * CORNERS).astype("i1"), ((0, 0), (0, 1)))
    accessors = [_accessor(0, 5120, 8, normalized=True), _accessor(1, 5121, 36, "SCALAR")]
    content = _glb(
        positions.tobytes() + TRIANGLES.astype("u1").tobytes(),
        [32, 36],
        accessors,
        nodes=[{"scale": [1, 2, 3], "children": [1]}, {"mesh": 0}],
        extensionsRequired=["KHR_mesh_quantization"],
        extensionsUsed=["KHR_mesh_quantization"],
    )
    stride = b'"byteLength": 32'
    return _with_text(content, stride, stride + b', "byteStride": 4')


def _with_text(glb: bytes, old: bytes, new: bytes) -> bytes:
    """Replace a text in the JSON chunk of a binary glTF."""
    size = struct.unpack_from("<I", glb, 12)[0]
    text = glb[20 : 20 + size].replace(old, new).rstrip()
    text += b" " * (-len(text) % 4)
    rest = glb[20 + size :]
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest


def _sparse_without_base() -> bytes:
    sparse = {"count": 8, "indices": {"bufferView": 0, "componentType": 5123}, "values": {"bufferView": 1}}
    accessors = [
        {"componentType": 5126, "count": 8, "type": "VEC3", "sparse": sparse},
        _accessor(2, 5125, 36, "SCALAR"),
    ]
    data = np.arange(8, dtype="<u2").tobytes() + CORNERS.astype("<f4").tobytes() + TRIANGLES.astype("<u4").tobytes()
    return _glb(data, [16, 96, 144], accessors, nodes=[{"mesh": 0}])


_BASE = CORNERS.astype("<f4").tobytes() + TRIANGLES.astype("<u2").tobytes()
_ACCESSORS = [_accessor(0, 5126, 8), _accessor(1, 5123, 36, "SCALAR")]


def _instances() -> bytes:
    places = np.array([[0, 0, 0], [20, 0, 0], [0, 30, 0]], "<f4")
    turns = np.array([[0, 0, 0, 1], [0, 0, 0.5**0.5, 0.5**0.5], [0, 0, 0, 1]], "<f4")
    scales = np.array([[1, 1, 1], [1, 1, 1], [2, 2, 2]], "<f4")
    accessors = [*_ACCESSORS, _accessor(2, 5126, 3), _accessor(3, 5126, 3, "VEC4"), _accessor(4, 5126, 3)]
    name, attributes = "EXT_mesh_gpu_instancing", {"TRANSLATION": 2, "ROTATION": 3, "SCALE": 4}
    return _glb(
        _BASE + places.tobytes() + turns.tobytes() + scales.tobytes(),
        [96, 72, 36, 48, 36],
        accessors,
        nodes=[{"mesh": 0, "extensions": {name: {"attributes": attributes}}}],
        extensionsUsed=[name],
        extensionsRequired=[name],
    )


def _gltf(uri: str = "", **document: Any) -> str:
    views = [{"buffer": 0, "byteLength": 96}, {"buffer": 0, "byteOffset": 96, "byteLength": 72}]
    primitive = {"attributes": {"POSITION": 0}, "indices": 1}
    content = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": uri or f"data:;base64,{base64.b64encode(_BASE).decode()}", "byteLength": len(_BASE)}],
        "bufferViews": views,
        "accessors": _ACCESSORS,
        "meshes": [{"primitives": [primitive]}],
        "nodes": [{"mesh": 0}],
    }
    return json.dumps(content | document, ensure_ascii=False)


_UNPADDED = "data:application/gltf-buffer;base64," + base64.b64encode(_BASE).decode().rstrip("=")
_MATERIALS = ["KHR_texture_transform", "KHR_materials_unlit", "KHR_materials_variants"]
_MIRRORED = [{"mesh": 0, "matrix": [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 0, 0, 1]}, {"mesh": 0, "scale": [2, 2, 2]}]

READ: dict[str, tuple[bytes | str, tuple[float, float]]] = {
    "interleaved.obj": (_interleaved().replace("\n", "\r\n"), (12, 2)),
    "cut_open_polygon.obj": (_obj(np.array(_FRAME[0]) @ _ROTATION.T + 3, _FRAME[1]), (48, 12)),
    "millimeters.obj": (_obj(1e-3 * np.array(_U[0]) @ _ROTATION.T + 0.1, _U[1]), (30e-6, 7e-9)),
    "big_endian.obj": (("\ufeff" + _obj(*_U)).encode("utf-16-be"), (30, 7)),
    "old_mac.ply": ("\ufeff" + _ply_between_elements().replace("\n", "\r"), (30, 7)),
    "strips.ply": (_ply_strips(), CUBE),
    "all_attributes.off": (
        "\ufeffSTCNOFF # all\n\n16 10 0 # counts\n"
        + _lines([[*corner, 0, 0, 1, 1, 0, 0, 1, 0.5, 0.5] for corner in _U[0]])
        + _lines([[len(polygon), *polygon, 3] for polygon in _U[1]]),
        (30, 7),
    ),
    "keywords_as_names.stl": (("\ufeff" + _stl("facet") + _stl("ü endsolid x", 9)).encode("utf-16-le"), (12, 2)),
    "bytes.glb": (_quantized(), (22, 6)),
    "sparse_without_base.glb": (_sparse_without_base(), CUBE),
    "instances.glb": (_instances(), (36, 10)),
    "escaped.gltf": (_gltf("B%C3%BCcher%20(1)+%26%23.bin"), CUBE),
    "not_escaped.gltf": ("\ufeff" + _gltf("./Bücher (1)+&#.bin"), CUBE),
    "unpadded.gltf": (_gltf(_UNPADDED), CUBE),
    "materials.gltf": (_gltf(extensionsUsed=_MATERIALS, extensionsRequired=_MATERIALS), CUBE),
    "mirrored.gltf": (_gltf(nodes=_MIRRORED, scenes=[{"nodes": [0, 1]}]), (30, 9)),
}
REFUSED: dict[str, tuple[bytes | str, str]] = {
    "zero_based.obj": (_obj(*_U).replace("f 8", "f 0"), "count vertices from 1"),
    "packed.obj": (gzip.compress(_obj(*_U).encode()), "gzip archive"),
    "answer.obj": ('{"message": "Not Found", "status": "404"}', "is JSON"),
    "last_facet.stl": (_stl("a")[: _stl("a").rindex("facet normal")], "truncated"),
    "page.stl": ("<!DOCTYPE html>\n<html><title>Sign in</title></html>", r"web page \(HTML\)"),
    "faces.ply": (_ply_between_elements()[:-12], "truncated"),
    "denied.ply": ('<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "is XML"),
    "pointer.glb": ("version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 1234\n", "git lfs pull"),
    "unknown.gltf": (_gltf(extensionsUsed=["ACME_curves"], extensionsRequired=["ACME_curves"]), "ACME_curves"),
}


def _load(name: str, content: bytes | str, folder: Path) -> Any:
    (folder / "Bücher (1)+&#.bin").write_bytes(_BASE)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return clean(load(folder / name))[0]


@pytest.mark.parametrize("name", READ)
def test_solid(name: str, tmp_path: Path) -> None:
    """The file is read completely: closed, outside out, with the known area and volume."""
    content, (area, volume) = READ[name]
    mesh = _load(name, content, tmp_path)
    assert mesh.is_watertight
    np.testing.assert_allclose((mesh.area, mesh.volume), (area, volume), rtol=1e-3)


@pytest.mark.parametrize("name", REFUSED)
def test_reason(name: str, tmp_path: Path) -> None:
    """The file is refused, and the message says why."""
    content, reason = REFUSED[name]
    with pytest.raises(MeshError, match=rf"^{name}: .*{reason}"):
        _load(name, content, tmp_path)
