"""Damaged mesh and point files: flipped bits and cuts end in an error of the library or in a usable shape.

`LATENTSDF_TORTURE=1000` sets the number of flips of each file, and of cuts (`make torture`).
"""

import base64
import json
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.mesh import load, save
from latentsdf.geometry.pointcloud.io import load_mesh_or_points
from latentsdf.utils.errors import LatentSDFError

FLIPS, CUTS = (int(os.environ.get("LATENTSDF_TORTURE", number)) for number in ("60", "25"))
MAX_SECONDS = 20  # for one file; a hang takes longer
BALL = trimesh.creation.icosphere(2)
FAR = trimesh.Trimesh(BALL.vertices + np.array((412343, 5654321, 84)), BALL.faces, process=False)


def _mesh(suffix: str, mesh: trimesh.Trimesh = BALL) -> Callable[[Path], None]:
    return lambda path: save(mesh, path.with_suffix(suffix))


def _text(suffix: str, delimiter: str, header: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        table = np.hstack((BALL.vertices, BALL.vertices))
        np.savetxt(path.with_suffix(suffix), table, delimiter=delimiter, header=header, comments="", fmt="%.6f")

    return write


def _las(suffix: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        laspy = pytest.importorskip("laspy")
        pytest.importorskip("lazrs")
        header = laspy.LasHeader(point_format=0, version="1.2")
        header.scales = (1e-4,) * 3
        scan = laspy.LasData(header)
        scan.x, scan.y, scan.z = BALL.vertices.T
        scan.write(path.with_suffix(suffix))

    return write


def _gltf(path: Path) -> None:
    """Text with the buffer inside, and the bounds that exporters write."""
    binary = BALL.vertices.astype("<f4").tobytes() + BALL.faces.astype("<u2").tobytes()
    split, count = 12 * len(BALL.vertices), BALL.faces.size
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "scale": [2, 2, 2]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(BALL.vertices), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": count, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": split},
            {"buffer": 0, "byteOffset": split, "byteLength": 2 * count},
        ],
        "buffers": [{"byteLength": len(binary), "uri": "data:;base64," + base64.b64encode(binary).decode()}],
    }
    path.with_suffix(".gltf").write_text(json.dumps(document))


def _polygons(path: Path) -> None:
    """A big-endian .ply file whose faces have 3 and 4 corners, so that rows differ in length."""
    head = f"ply\nformat binary_big_endian 1.0\nelement vertex {len(BALL.vertices)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += f"element face {len(BALL.faces)}\nproperty list uchar ushort vertex_indices\nend_header\n"
    rows = [[*face, face[0]] if n % 2 else face for n, face in enumerate(BALL.faces.tolist())]
    faces = b"".join(struct.pack(f">B{len(row)}H", len(row), *row) for row in rows)
    path.with_suffix(".ply").write_bytes(head.encode() + BALL.vertices.astype(">f4").tobytes() + faces)


WRITERS: dict[str, Callable[[Path], None]] = {
    "obj": _mesh(".obj"),
    "off": _mesh(".off"),
    "stl": _mesh(".stl"),
    "ascii stl": _mesh(".stl", FAR),
    "ply": _mesh(".ply"),
    "double ply": _mesh(".ply", FAR),
    "ascii ply": lambda path: (
        path.with_suffix(".ply").write_bytes(BALL.export(file_type="ply", encoding="ascii")) and None
    ),
    "polygon ply": _polygons,
    "gltf": _gltf,
    "glb": _mesh(".glb"),
    "moved glb": _mesh(".glb", FAR),
    "xyz": _text(".xyz", " ", ""),
    "csv": _text(".csv", ",", "x,y,z,nx,ny,nz"),
    "pts": _text(".pts", " ", str(len(BALL.vertices))),
    "npy": lambda path: np.save(path.with_suffix(".npy"), BALL.vertices),
    "npz": lambda path: np.savez(path.with_suffix(".npz"), points=BALL.vertices, normals=BALL.vertices),
    "las": _las(".las"),
    "laz": _las(".laz"),
}
DECLARING = (
    "off",
    "stl",
    "ascii stl",
    "ply",
    "double ply",
    "ascii ply",
    "polygon ply",
    "gltf",
    "glb",
    "moved glb",
    "pts",
    "npy",
    "npz",
    "las",
    "laz",
)
"""Formats that declare their size, so that every cut through their contents is noticed."""


def _contents(kind: str, folder: Path) -> tuple[bytes, str]:
    WRITERS[kind](folder / "whole")
    (path,) = folder.glob("whole.*")
    data, suffix = path.read_bytes(), path.suffix
    path.unlink()
    return data, suffix


def _is_read(path: Path) -> bool:
    """Whether a file is read as a usable shape; an error of the library is the only alternative."""
    start = time.monotonic()
    try:
        shape = load_mesh_or_points(path)
    except LatentSDFError as error:
        assert str(error).startswith(path.name), "messages start with the file name"
        return False
    finally:
        assert time.monotonic() - start < MAX_SECONDS
    if isinstance(shape, trimesh.Trimesh):
        assert len(shape.faces) >= 4 and 0 <= shape.faces.min() <= shape.faces.max() < len(shape.vertices)
        assert np.isfinite(shape.vertices[np.unique(shape.faces)]).all(axis=1).mean() > 0.9
    else:
        assert np.isfinite(shape.points).all() and len(shape.points) >= 100
    return True


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_flipped_bits(kind: str, tmp_path: Path) -> None:
    """A flipped bit anywhere never ends in a traceback, a hang or an unusable shape."""
    data, suffix = _contents(kind, tmp_path)
    rng = np.random.default_rng(0)
    head = min(len(data), 600)  # counts and names, whose damage reaches farthest
    for number in range(FLIPS):
        changed = bytearray(data)
        changed[int(rng.integers(head if number % 2 else len(data)))] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"flipped{suffix}"
        path.write_bytes(changed)
        _is_read(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_cut_files(kind: str, tmp_path: Path) -> None:
    """A cut anywhere never ends in a traceback; formats that declare their size notice each, however small."""
    data, suffix = _contents(kind, tmp_path)
    rng = np.random.default_rng(1)
    whole = len(data.rstrip())
    lengths = [*rng.integers(0, whole, CUTS), *(whole - rng.integers(8, 40, CUTS))]
    for length in lengths:
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(data[:length])
        read = _is_read(path)
        assert not (read and kind in DECLARING), f"{kind} cut to {length} of {len(data)} bytes"


@pytest.mark.slow
def test_meshes_of_random_bytes(tmp_path: Path) -> None:
    """Files of random bytes and of random words are refused in every format."""
    rng = np.random.default_rng(2)
    words = np.array(
        ["v", "f", "1", "-1", "solid", "facet", "OFF", "ply", "end_header", "0.5", "\n", "{", "glTF", "\0"]
    )
    for suffix in (".obj", ".off", ".stl", ".ply", ".glb", ".gltf"):
        for _ in range(FLIPS // 4):
            for contents in (rng.bytes(500), " ".join(rng.choice(words, 200)).encode()):
                path = tmp_path / f"random{suffix}"
                path.write_bytes(contents)
                with pytest.raises(LatentSDFError, match=f"^random{suffix}: "):
                    load(path)
