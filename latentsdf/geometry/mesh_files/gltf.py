"""Reader of the triangles in glTF 2.0 files, binary (.glb) or as JSON with buffers beside it (.gltf).

All triangles of the default scene are read: indexed or not, as lists, strips and fans; from sparse, quantized and
Draco-compressed accessors; at the transforms of their nodes, instanced, skinned and morphed in the file's pose.
Buffers are read from the file itself or from files in its folder or below, never from elsewhere; images are not opened.

Reference: Khronos Group, glTF 2.0 Specification.
"""

import base64
import binascii
import json
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_files.raw_mesh import RawMesh, require_indices
from latentsdf.utils.errors import MeshError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_UNSIGNED = (5121, 5123, 5125)
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_POINTS_AND_LINES, _TRIANGLES, _STRIP, _FAN = (0, 1, 2, 3), 4, 5, 6

_DRACO = "KHR_draco_mesh_compression"
_INSTANCING = "EXT_mesh_gpu_instancing"
_MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_READ = ("KHR_mesh_quantization", _DRACO, _INSTANCING)
_WITHOUT_GEOMETRY = (
    "KHR_materials_",
    "EXT_materials_",
    "KHR_texture_",
    "EXT_texture_",
    "MSFT_texture_",
    "KHR_lights_",
    "EXT_lights_",
    "KHR_xmp",
)

_MAX_NODES = 1_000_000
_MAX_INSTANCED_FACES = 200_000_000
_BOUNDS_TOLERANCE = 0.01  # of the extent; exporters round the bounds


def read(data: bytes, folder: Path) -> RawMesh:
    """Read the contents of a .glb or .gltf file.

    Args:
        data: Contents of the file.
        folder: Folder of the file, for buffers beside it.

    Raises:
        MeshError: The file is damaged or truncated, needs an unknown extension or meshopt, or refers to a missing
            buffer or to one outside its folder.
    """
    document, binary = _read_container(data)
    _require_extensions(document)
    return _Reader(document, binary, folder).mesh()


def _read_container(data: bytes) -> tuple[dict[str, Any], bytes | None]:
    """Return the JSON document and the binary chunk."""
    if not data.startswith(b"glTF"):
        return _parse_json(data), None
    version, length = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8))
    if version != 2:
        raise MeshError(f"glTF version {version} is not supported; convert it to version 2")
    if length != len(data):
        fault = "truncated" if length > len(data) else "damaged"
        raise MeshError(f"the head declares {length:,} bytes, but the file has {len(data):,}; it is {fault}")
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at < length:
        size, kind = int.from_bytes(data[at : at + 4], "little"), data[at + 4 : at + 8]
        if at + 8 + size > length:
            raise MeshError("a chunk of the file is damaged or truncated")
        if kind in chunks and kind in (b"JSON", b"BIN\0"):
            raise MeshError(f"the file has two chunks {kind.rstrip(bytes(1)).decode()}; it is damaged")
        chunks[kind] = data[at + 8 : at + 8 + size]
        at += 8 + size
    if b"JSON" not in chunks:
        raise MeshError("the file has no JSON chunk; it is damaged")
    return _parse_json(chunks[b"JSON"]), chunks.get(b"BIN\0")


def _parse_json(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise MeshError(f"its JSON is damaged or truncated ({error!s:.80})") from error
    if not isinstance(document, dict) or not isinstance(document.get("asset"), dict):
        raise MeshError("its JSON has no `asset`, so it is not glTF or damaged")
    if str(document["asset"].get("minVersion", document["asset"].get("version"))).split(".")[0] != "2":
        raise MeshError(f"glTF version {document['asset'].get('version')} is not supported; convert it to version 2")
    return document


def _require_extensions(document: dict[str, Any]) -> None:
    for name in map(str, document.get("extensionsRequired", [])):
        if name in _MESHOPT:
            raise _meshopt_error()
        if name not in _READ and not name.startswith(_WITHOUT_GEOMETRY):
            raise MeshError(f"needs the glTF extension {name}, which is not supported; export it without")


def _meshopt_error() -> MeshError:
    return MeshError(
        "is compressed with meshopt (EXT_meshopt_compression), which is not supported; decompress it first, for "
        "example with `gltf-transform dequantize` or by exporting without compression"
    )


class _Reader:
    """The document with its buffers, and the notes on what was left out."""

    def __init__(self, document: dict[str, Any], binary: bytes | None, folder: Path) -> None:
        self.document = document
        self.binary = binary
        self.folder = folder
        self.notes: dict[str, None] = {}
        self.buffers: dict[int, bytes] = {}
        self.meshes: dict[tuple[int, tuple[float, ...]], tuple[Floats, Ints, Floats | None, Ints | None]] = {}

    def mesh(self) -> RawMesh:
        vertices: list[Floats] = [np.empty((0, 3))]
        faces: list[Ints] = [np.empty((0, 3), dtype=np.int64)]
        used, count, face_count = set(), 0, 0
        for node, transform in self.world.items():
            if "mesh" not in self.node(node):
                continue
            used.add(self.node(node)["mesh"])
            for positions, triangles in self.placed_meshes(node, transform):
                face_count += len(triangles)
                if face_count > _MAX_INSTANCED_FACES:
                    raise MeshError(f"repeats its parts to more than {_MAX_INSTANCED_FACES:,} faces")
                vertices.append(positions)
                faces.append(triangles + count)
                count += len(positions)
        absent = len(self.document.get("meshes", [])) - len(used)
        if absent:
            self.notes[f"{absent} of {len(self.document['meshes'])} meshes are not part of the default scene"] = None
        return RawMesh(np.concatenate(vertices), np.concatenate(faces), tuple(self.notes))

    # Nodes

    def node(self, index: int) -> dict[str, Any]:
        return self.entry("nodes", index)

    def entry(self, kind: str, index: Any) -> dict[str, Any]:
        entries = self.document.get(kind, [])
        if not isinstance(index, int) or not 0 <= index < len(entries):
            raise MeshError(f"refers to entry {index!s:.20} of its {len(entries)} {kind}; the file is damaged")
        found: dict[str, Any] = entries[index]
        return found

    @cached_property
    def world(self) -> dict[int, Floats]:
        """Transform (4, 4) of every node of the default scene."""
        scenes = self.document.get("scenes")
        if scenes:
            pending = [
                (root, np.eye(4)) for root in self.entry("scenes", self.document.get("scene", 0)).get("nodes", [])
            ]
        else:
            children = {child for node in self.document.get("nodes", []) for child in node.get("children", [])}
            pending = [(n, np.eye(4)) for n in range(len(self.document.get("nodes", []))) if n not in children]
        world: dict[int, Floats] = {}
        pending.reverse()
        while pending:
            index, parent = pending.pop()
            node = self.node(index)
            if index in world or len(world) > _MAX_NODES:
                raise MeshError("a node has two parents, or is its own; the file is damaged")
            world[index] = parent @ _local_transform(node)
            pending += [(child, world[index]) for child in reversed(node.get("children", []))]
        return world

    def placed_meshes(self, index: int, transform: Floats) -> Iterator[tuple[Floats, Ints]]:
        """The mesh of a node at its place, or at the places of its instances."""
        node = self.node(index)
        weights = tuple(map(float, node.get("weights", self.entry("meshes", node["mesh"]).get("weights", []))))
        key = (node["mesh"], weights)
        if key not in self.meshes:
            self.meshes[key] = self.read_mesh(node["mesh"], weights)
        positions, faces, joint_weights, joints = self.meshes[key]
        if "skin" in node and joint_weights is not None and joints is not None:
            yield self.skinned(positions, joint_weights, joints, node["skin"]), faces
            return
        for instance in self.instances(node):
            placed = transform @ instance
            mirrored = np.linalg.det(placed[:3, :3]) < 0
            yield positions @ placed[:3, :3].T + placed[:3, 3], faces[:, ::-1] if mirrored else faces

    def instances(self, node: dict[str, Any]) -> list[Floats]:
        attributes = node.get("extensions", {}).get(_INSTANCING, {}).get("attributes")
        if not attributes:
            return [np.eye(4)]
        columns = {
            key.lower(): self.accessor(attributes[key])
            for key in ("TRANSLATION", "ROTATION", "SCALE")
            if key in attributes
        }
        if len({len(values) for values in columns.values()}) > 1:
            raise MeshError("the attributes of instances differ in length; the file is damaged")
        count = len(next(iter(columns.values()))) if columns else 1
        return [_local_transform({key: values[n] for key, values in columns.items()}) for n in range(count)]

    def skinned(self, positions: Floats, weights: Floats, joints: Ints, skin_index: Any) -> Floats:
        skin = self.entry("skins", skin_index)
        nodes = skin["joints"]
        bind = np.tile(np.eye(4), (len(nodes), 1, 1))
        if "inverseBindMatrices" in skin:
            bind = self.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        if joints.max(initial=0) >= min(len(nodes), len(bind)) or any(node not in self.world for node in nodes):
            raise MeshError("a skin refers to a joint that is not in the scene; the file is damaged")
        matrices = np.stack([self.world[node] for node in nodes]) @ bind[: len(nodes)]
        moved = np.zeros_like(positions)
        for weight, joint in zip(weights.T, joints.T, strict=True):
            placed = np.einsum("vij,vj->vi", matrices[joint, :3, :3], positions) + matrices[joint, :3, 3]
            moved += weight[:, None] * placed
        return moved

    # Meshes

    def read_mesh(self, index: int, weights: tuple[float, ...]) -> tuple[Floats, Ints, Floats | None, Ints | None]:
        """Positions, faces, and, if all primitives have them, weights and indices of joints."""
        parts, count = [], 0
        for primitive in self.entry("meshes", index)["primitives"]:
            mode = primitive.get("mode", _TRIANGLES)
            if mode in _POINTS_AND_LINES:
                self.notes["points and lines are left out"] = None
                continue
            if mode not in (_TRIANGLES, _STRIP, _FAN):
                raise MeshError(f"a primitive has the unknown mode {mode!s:.20}; the file is damaged")
            if "POSITION" not in primitive.get("attributes", {}):
                raise MeshError("a primitive has no positions; the file is damaged or needs an unknown extension")
            positions, corners = self.read_primitive(primitive)
            for weight, target in zip(weights, primitive.get("targets", []), strict=False):
                if "POSITION" in target:
                    positions = positions + weight * self.accessor(target["POSITION"])
            require_indices(corners, len(positions))
            skin: list[Any] = [None, None]
            if {"JOINTS_0", "WEIGHTS_0"} <= primitive["attributes"].keys():
                sets = range(sum(key.startswith("JOINTS_") for key in primitive["attributes"]))
                skin = [
                    np.hstack([self.accessor(primitive["attributes"][f"{kind}_{n}"]) for n in sets])
                    for kind in ("WEIGHTS", "JOINTS")
                ]
            parts.append((positions, _triangles(corners, mode) + count, *skin))
            count += len(positions)
        if not parts:
            return np.empty((0, 3)), np.empty((0, 3), dtype=np.int64), None, None
        skins = [
            None if any(part is None for part in column) else _join(column)
            for column in list(zip(*parts, strict=True))[2:]
        ]
        return (
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            skins[0],
            None if skins[1] is None else skins[1].astype(np.int64),
        )

    def read_primitive(self, primitive: dict[str, Any]) -> tuple[Floats, Ints]:
        """Positions (V, 3) and indices of corners (C,)."""
        position = primitive["attributes"]["POSITION"]
        compressed = primitive.get("extensions", {}).get(_DRACO)
        if compressed is not None and "bufferView" not in self.entry("accessors", position):
            return self.read_draco(compressed, primitive)
        positions = self.accessor(position)
        if positions.shape[1] != 3:
            raise MeshError(f"expected positions with 3 coordinates, got {positions.shape[1]}; the file is damaged")
        self.compare_bounds(self.entry("accessors", position), positions)
        if "indices" not in primitive:
            return positions, np.arange(len(positions))
        indices = self.entry("accessors", primitive["indices"])
        if indices["componentType"] not in _UNSIGNED or indices.get("normalized"):
            raise MeshError("the indices of a primitive are not unsigned whole numbers; the file is damaged")
        return positions, self.accessor(primitive["indices"]).reshape(-1).astype(np.int64)

    def read_draco(self, compressed: dict[str, Any], primitive: dict[str, Any]) -> tuple[Floats, Ints]:
        try:
            import DracoPy
        except ImportError as error:
            raise MeshError(
                "a part is compressed with Draco; install the decoder with `pip install latentsdf[draco]`, or export "
                "the file without compression"
            ) from error
        try:
            decoded = DracoPy.decode(bytes(self.view(compressed["bufferView"])[0]))
            positions, faces = np.asarray(decoded.points, np.float64), np.asarray(decoded.faces, np.int64)
        except MeshError:
            raise
        except Exception as error:  # of many types, for damaged data
            raise MeshError(f"a part compressed with Draco is damaged ({error!s:.60})") from error
        declared = self.entry("accessors", primitive["attributes"]["POSITION"])["count"]
        corners = self.entry("accessors", primitive["indices"])["count"] if "indices" in primitive else faces.size
        if len(positions) != declared or (primitive.get("mode", _TRIANGLES) == _TRIANGLES and faces.size != corners):
            raise MeshError(
                f"a part compressed with Draco declares {declared:,} vertices and {corners:,} corners, but has "
                f"{len(positions):,} and {faces.size:,}; the file is damaged"
            )
        return positions.reshape(-1, 3), faces.reshape(-1)

    def compare_bounds(self, accessor: dict[str, Any], positions: Floats) -> None:
        """Note positions outside of the bounds that their accessor declares."""
        if not {"min", "max"} <= accessor.keys() or "sparse" in accessor or not len(positions):
            return
        scale = _normalization(accessor)
        low, high = np.array(accessor["min"], float) * scale, np.array(accessor["max"], float) * scale
        slack = _BOUNDS_TOLERANCE * max(float(np.max(high - low)), 1e-12)
        outside = ~((positions >= low - slack) & (positions <= high + slack)).all(axis=1)
        if outside.any():
            self.notes[f"{outside.sum():,} of {len(positions):,} vertices are outside of the bounds in the file"] = None

    # Binary data

    def accessor(self, index: Any) -> Floats:
        """Values (N, width) of an accessor, as numbers in [-1, 1] if it is normalized."""
        accessor = self.entry("accessors", index)
        width, count = _WIDTHS[accessor["type"]], _whole(accessor["count"])
        dtype = np.dtype(_COMPONENTS[accessor["componentType"]])
        if "bufferView" in accessor:
            values = self.elements(accessor["bufferView"], accessor.get("byteOffset", 0), dtype, width, count)
        elif "sparse" in accessor:
            if count > 100 * max(1, sum(map(len, self.all_buffers()))):
                raise MeshError(f"an accessor declares {count:,} values, far more than the file holds")
            values = np.zeros((count, width), dtype)
        else:
            raise MeshError("an accessor has no data; the file needs an unknown extension, or is damaged")
        sparse = accessor.get("sparse")
        if sparse:
            values = values.copy()
            changed = _whole(sparse["count"])
            where, what = sparse["indices"], sparse["values"]
            kind = np.dtype(_COMPONENTS[where["componentType"]])
            rows = self.elements(where["bufferView"], where.get("byteOffset", 0), kind, 1, changed).reshape(-1)
            if changed and (rows.astype(np.int64) >= count).any():
                raise MeshError("a sparse accessor changes values that do not exist; the file is damaged")
            values[rows.astype(np.int64)] = self.elements(
                what["bufferView"], what.get("byteOffset", 0), dtype, width, changed
            )
        scaled: Floats = values.astype(np.float64) * _normalization(accessor)
        return np.maximum(scaled, -1.0) if accessor.get("normalized") else scaled

    def elements(self, view: Any, offset: Any, dtype: np.dtype[Any], width: int, count: int) -> NDArray[Any]:
        data, stride = self.view(view)
        size, offset = dtype.itemsize * width, _whole(offset)
        step = size if stride is None else stride
        if step < size or (count and offset + (count - 1) * step + size > len(data)):
            raise MeshError(
                f"an accessor of {count:,} values exceeds its buffer of {len(data):,} bytes; the file is damaged or "
                "truncated"
            )
        if not count:
            return np.empty((0, width), dtype)
        return np.ndarray((count, width), dtype, data, offset, (step, dtype.itemsize))

    def view(self, index: Any) -> tuple[memoryview, int | None]:
        """Bytes and stride of a view."""
        view = self.entry("bufferViews", index)
        buffer = self.buffer(view["buffer"], view)
        start, length = _whole(view.get("byteOffset", 0)), _whole(view["byteLength"])
        if start + length > len(buffer):
            raise MeshError(f"a view of {length:,} bytes exceeds its buffer of {len(buffer):,}; the file is damaged")
        stride = view.get("byteStride")
        return memoryview(buffer)[start : start + length], None if not stride else _whole(stride)

    def buffer(self, index: Any, view: dict[str, Any]) -> bytes:
        buffer = self.entry("buffers", index)
        if index in self.buffers:
            return self.buffers[index]
        uri = buffer.get("uri")
        if uri is None:
            if self.binary is None or index != 0:
                raise (
                    _meshopt_error()
                    if any(name in view.get("extensions", {}) for name in _MESHOPT)
                    else MeshError("a buffer has no data; the file is damaged")
                )
            data = self.binary
        else:
            data = self.read_uri(uri)
        declared = _whole(buffer["byteLength"])
        if declared > len(data) or (uri is None and len(data) - declared > 3):
            raise MeshError(
                f"a buffer declares {declared:,} bytes, but holds {len(data):,}; the file is damaged or truncated"
            )
        self.buffers[index] = data
        return data

    def all_buffers(self) -> list[bytes]:
        return [*self.buffers.values(), self.binary or b""]

    def read_uri(self, uri: Any) -> bytes:
        if not isinstance(uri, str):
            raise MeshError("the address of a buffer is not text; the file is damaged")
        if uri.startswith("data:"):
            try:
                return base64.b64decode(uri.partition(";base64,")[2], validate=True)
            except (binascii.Error, ValueError) as error:
                raise MeshError("a buffer inside of the JSON is damaged or truncated") from error
        name = unquote(uri)
        shown = name[:80]
        if (
            "://" in name
            or name.startswith(("/", "\\"))
            or name[1:2] == ":"
            or ".." in name.replace("\\", "/").split("/")
            or "\0" in name
        ):
            raise MeshError(
                f"refers to the buffer '{shown}' outside of its folder, which is not read; move it beside the file"
            )
        path = self.folder / name
        if not path.exists() and (self.folder / uri).exists():  # written without escapes
            path = self.folder / uri
        try:
            kind = path.stat().st_mode
        except (OSError, ValueError):
            raise MeshError(f"needs the file '{shown}' beside it, which is missing") from None
        if not stat.S_ISREG(kind):
            raise MeshError(f"refers to '{shown}', which is not a regular file")
        return path.read_bytes()


def _join(parts: tuple[NDArray[Any], ...]) -> NDArray[Any]:
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])


def _whole(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise MeshError(f"expected a whole number, got {value!s:.20}; the file is damaged")
    return value


def _normalization(accessor: dict[str, Any]) -> float:
    dtype = np.dtype(_COMPONENTS[accessor["componentType"]])
    return 1 / float(np.iinfo(dtype).max) if accessor.get("normalized") and dtype.kind in "iu" else 1.0


def _triangles(corners: Ints, mode: int) -> Ints:
    if mode == _TRIANGLES:
        if len(corners) % 3:
            raise MeshError(f"{len(corners):,} corners are not a multiple of 3; the file is damaged or truncated")
        return corners.reshape(-1, 3)
    if mode == _FAN:
        middle = np.arange(1, max(1, len(corners) - 1))
        return np.stack([np.repeat(corners[:1], len(middle)), corners[middle], corners[middle + 1]], axis=1)
    faces = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
    faces[1::2] = faces[1::2, ::-1]
    return faces


def _local_transform(node: dict[str, Any]) -> Floats:
    """Transform (4, 4) of a node relative to its parent."""
    if "matrix" in node:
        matrix: Floats = np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
        return matrix
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), dtype=np.float64)
    scale = np.array(node.get("scale", (1, 1, 1)), dtype=np.float64).reshape(3)
    length = x * x + y * y + z * z + w * w
    if not length > 0:
        raise MeshError("the rotation of a node has length 0; the file is damaged")
    s = 2 / length
    transform = np.eye(4)
    transform[:3, :3] = scale * np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
            [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
            [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
        ]
    )
    transform[:3, 3] = np.array(node.get("translation", (0, 0, 0)), dtype=np.float64)
    return transform
