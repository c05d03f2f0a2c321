"""glTF: transforms, modes, quantization, skins, external buffers, compression, and damaged files."""

import base64
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cube_files import CORNERS, QUADS, TRIANGLES, load_bytes, require_cube

from latentsdf.geometry.mesh_files import gltf
from latentsdf.utils.errors import MeshError


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
    mesh = load_bytes(tmp_path, "cube.glb", _glb(*_document(nodes=nodes)))
    require_cube(mesh, 2)
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
    require_cube(load_bytes(tmp_path, "cube.glb", _glb(document, binary)))


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
    require_cube(load_bytes(tmp_path, "cube.glb", _glb(document, binary)), 1 if normalized else 100)


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
    require_cube(load_bytes(tmp_path, "cube.glb", _glb(document, binary)), 1.5 * 0.5 * 4)


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
        require_cube(load_bytes(tmp_path, "cube.gltf", _with_uri(uri)))


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
        load_bytes(folder, "cube.gltf", _with_uri(uri))


def test_unread_images(tmp_path: Path) -> None:
    """Images are never opened, so that one that is a pipe does not block."""
    document, binary = _document(images=[{"uri": "/dev/stdin"}], textures=[{"source": 0}])
    require_cube(load_bytes(tmp_path, "cube.glb", _glb(document, binary)))


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
        load_bytes(tmp_path, "cube.glb", _glb(*_document(**changes)))


def test_indices_of_another_type(tmp_path: Path) -> None:
    """Indices of a primitive that are normalized or signed are refused, because their values are not indices."""
    for change in ({"normalized": True}, {"componentType": 5122}):
        document, binary = _document()
        document["accessors"][1] |= change
        with pytest.raises(MeshError, match="not unsigned whole numbers"):
            load_bytes(tmp_path, "cube.glb", _glb(document, binary))


def test_chunks_of_glb(tmp_path: Path) -> None:
    """Unknown chunks are ignored, as the specification demands; a second binary chunk is refused."""
    for kind, known in ((b"XTRA", False), (b"BIN\0", True)):
        more = (struct.pack("<I4s", 4, kind) + b"abcd") * 2
        data = _glb(*_document())
        data = data[:8] + struct.pack("<I", len(data) + len(more)) + data[12:] + more
        if known:
            with pytest.raises(MeshError, match="two chunks BIN"):
                load_bytes(tmp_path, "cube.glb", data)
        else:
            require_cube(load_bytes(tmp_path, "cube.glb", data))


def test_truncated_glb(tmp_path: Path) -> None:
    """A cut file, and a count of 10 billion, are refused before any array is allocated."""
    document, binary = _document()
    with pytest.raises(MeshError, match="declares .* bytes, but the file has .* truncated"):
        load_bytes(tmp_path, "cube.glb", _glb(document, binary)[:-8])
    document["accessors"][0]["count"] = 10**10
    with pytest.raises(MeshError, match="exceeds its buffer"):
        load_bytes(tmp_path, "cube.glb", _glb(document, binary))
    document["accessors"][0] |= {"sparse": {"count": 0}}
    del document["accessors"][0]["bufferView"]
    with pytest.raises(MeshError, match="10,000,000,000 values, far more than the file holds"):
        load_bytes(tmp_path, "cube.glb", _glb(document, binary))


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
    require_cube(load_bytes(tmp_path, "cube.glb", _glb(document, compressed)))
    document["accessors"][0]["count"] = 9
    with pytest.raises(MeshError, match="Draco declares 9 vertices"):
        load_bytes(tmp_path, "cube.glb", _glb(document, compressed))


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
    require_cube(load_bytes(tmp_path, "cube.glb", _glb(document, binary)))
    printed = capsys.readouterr().err
    for note in ("points and lines are left out", "1 of 2 meshes are not part", "4 of 8 vertices are outside"):
        assert note in printed
