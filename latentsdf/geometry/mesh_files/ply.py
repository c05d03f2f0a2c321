"""Reader of PLY files: ASCII, or binary of either byte order, with any elements and lists.

`read_elements` yields all properties by name; `read` yields the mesh in them, of polygons with any number of corners or
of triangle strips.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_files.content import decode_text, decode_wide, floats
from latentsdf.geometry.mesh_files.raw_mesh import RawMesh, mesh_of_polygons, require_indices
from latentsdf.utils.errors import MeshError

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
    "int64": "i8",
    "uint64": "u8",
}
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_END = re.compile(rb"[\r\n][ \t]*end_header[ \t]*(\r|\n|\Z)")
_INDEX_LISTS = ("vertex_indices", "vertex_index")


@dataclass(frozen=True)
class ListProperty:
    """Lists of numbers, one per row of an element."""

    counts: NDArray[np.int64]
    """(N,) lengths."""
    values: NDArray[Any]
    """The entries of all lists, one list after the other."""


Element = dict[str, NDArray[Any] | ListProperty]


@dataclass(frozen=True)
class _Property:
    name: str
    type: str
    count_type: str | None = None


@dataclass(frozen=True)
class _Declaration:
    name: str
    count: int
    properties: list[_Property]


def read(data: bytes) -> RawMesh:
    """Read the mesh of a .ply file.

    Raises:
        MeshError: The file is damaged, truncated, or holds more or less than its head declares.
    """
    elements = read_elements(data)
    vertex = elements.get("vertex", {})
    missing = [axis for axis in "xyz" if not isinstance(vertex.get(axis), np.ndarray)]
    if missing:
        raise MeshError(f"vertices have no property {', '.join(missing)}, only {', '.join(vertex) or 'none'}")
    vertices = np.column_stack([np.asarray(vertex[axis], dtype=np.float64) for axis in "xyz"])
    parts = []
    notes: tuple[str, ...] = ()
    face = elements.get("face", {})
    polygons = next((face[name] for name in _INDEX_LISTS if name in face), None)
    if isinstance(polygons, ListProperty):
        mesh = mesh_of_polygons(vertices, _whole(polygons.values), polygons.counts)
        parts.append(mesh.faces)
        notes = mesh.notes
    elif any(len(column.counts if isinstance(column, ListProperty) else column) for column in face.values()):
        raise MeshError(f"faces have no list vertex_indices, only {', '.join(face)}")
    strips = elements.get("tristrips", {})
    lists = next((strips[name] for name in _INDEX_LISTS if name in strips), None)
    if isinstance(lists, ListProperty):
        parts.append(_strip_faces(lists, len(vertices)))
    return RawMesh(vertices, np.concatenate(parts) if parts else np.empty((0, 3), dtype=np.int64), notes)


def read_elements(data: bytes) -> Mapping[str, Element]:
    """Read all elements of a .ply file: a column (N,) or a list property per name.

    Raises:
        MeshError: The file is damaged, truncated, or holds more or less than its head declares.
    """
    order, declarations, body = _read_head(data)
    if not order:
        return _read_ascii(declarations, floats(decode_text(body).split()))
    elements: dict[str, Element] = {}
    offset = 0
    for declared in declarations:
        elements[declared.name], offset = _read_binary(declared, body, offset, order)
    if body[offset:].strip(b"\0 \r\n\t"):
        raise MeshError(
            f"{len(body) - offset:,} bytes are left behind the declared {_summary(declarations)}; the file is damaged"
        )
    return elements


def declares_faces(head: bytes) -> bool:
    """Return whether the head of a .ply file declares faces or triangle strips.

    Args:
        head: First bytes of the file.
    """
    data = decode_wide(head)
    found = _END.search(data)
    lines = [line.split() for line in decode_text(data[: found.start()] if found else data).split(b"\n")]
    return any(
        line[:1] == [b"element"] and line[1:2] in ([b"face"], [b"tristrips"]) and line[2:] != [b"0"] for line in lines
    )


def _read_head(data: bytes) -> tuple[str, list[_Declaration], bytes]:
    data = decode_wide(data).removeprefix(b"\xef\xbb\xbf")
    if not data.startswith(b"ply"):
        raise MeshError("expected the word ply in the first line; the file is damaged or not a PLY file")
    found = _END.search(data)
    if not found:
        raise MeshError("the head has no end (end_header); the file is damaged or truncated")
    head, body = data[: found.start()], data[found.end() :]
    if found.group(1) == b"\r" and body.startswith(b"\n") and b"\n" in head:
        body = body[1:]  # unless only carriage returns end lines, where the byte belongs to the body
    order: str | None = None
    declarations: list[_Declaration] = []
    for line in decode_text(head).split(b"\n")[1:]:
        words = line.decode("utf-8", errors="replace").split()
        try:
            match words:
                case [] | ["comment" | "obj_info", *_]:
                    continue
                case ["format", name, _]:
                    order = _FORMATS[name]
                case ["element", name, count]:
                    declarations.append(_Declaration(name, int(count), []))
                    if int(count) < 0 or name in [other.name for other in declarations[:-1]]:
                        raise ValueError
                case ["property", "list", count_type, type, name]:
                    declarations[-1].properties.append(_Property(name, _TYPES[type], _TYPES[count_type]))
                case ["property", type, name]:
                    declarations[-1].properties.append(_Property(name, _TYPES[type]))
                case _:
                    raise ValueError
            names = [item.name for item in declarations[-1].properties] if declarations else []
            if len(set(names)) < len(names):
                raise ValueError
        except (KeyError, ValueError, IndexError):
            raise MeshError(f"the line '{' '.join(words)[:60]}' of the head is damaged") from None
    if order is None:
        raise MeshError("the head names no format; the file is damaged")
    return order, declarations, body


def _summary(declarations: list[_Declaration]) -> str:
    return ", ".join(f"{declared.count:,} x {declared.name}" for declared in declarations)


def _truncated(declared: _Declaration) -> MeshError:
    return MeshError(
        f"the head declares {declared.count:,} x {declared.name}, but the file ends before; it is truncated"
    )


def _read_ascii(declarations: list[_Declaration], numbers: list[float]) -> Mapping[str, Element]:
    values = np.array(numbers)
    elements: dict[str, Element] = {}
    at = 0
    for declared in declarations:
        width = len(declared.properties)
        if declared.count * width > len(values) - at:
            raise _truncated(declared)
        starts, at = _row_starts(declared, values, at)
        elements[declared.name] = _split_rows(declared, values, starts)
    if at != len(values):
        raise MeshError(
            f"{len(values) - at:,} numbers are left behind the declared {_summary(declarations)}; the file is damaged"
        )
    return elements


def _row_starts(declared: _Declaration, values: NDArray[np.float64], at: int) -> tuple[NDArray[np.int64], int]:
    """Position (P, N) of each property in each row of an ASCII element, and the position behind the element."""
    starts = np.empty((len(declared.properties), declared.count), dtype=np.int64)
    if all(item.count_type is None for item in declared.properties):
        width = len(declared.properties)
        starts[:] = at + width * np.arange(declared.count) + np.arange(width)[:, None]
        return starts, at + width * declared.count
    listed = [item.count_type is not None for item in declared.properties]
    uniform = _uniform_starts(declared, values, at, listed)
    if uniform is not None:
        return uniform
    for row in range(declared.count):
        for column, item in enumerate(declared.properties):
            starts[column, row] = at
            length = 0.0
            if item.count_type is not None and at < len(values):
                length = values[at]
                if not (length >= 0 and length == int(length)):
                    raise MeshError(f"row {row:,} of {declared.name} declares {length:g} entries; the file is damaged")
            at += 1 + int(length)
            if at > len(values):
                raise _truncated(declared)
    return starts, at


def _uniform_starts(
    declared: _Declaration, values: NDArray[np.float64], at: int, listed: list[bool]
) -> tuple[NDArray[np.int64], int] | None:
    """As `_row_starts`, or None if the lists of one property differ in length."""
    first = []
    end = at
    for is_list in listed:
        if end >= len(values):
            return None
        first.append(end)
        end += 1 + (int(values[end]) if is_list and 0 <= values[end] < len(values) else 0)
    width = end - at
    starts = np.array(first)[:, None] + width * np.arange(declared.count)
    if not declared.count or at + declared.count * width > len(values):
        return None
    uniform = (values[starts[listed]] == values[starts[listed][:, :1]]).all()
    return (starts, at + declared.count * width) if uniform else None


def _split_rows(declared: _Declaration, values: NDArray[np.float64], starts: NDArray[np.int64]) -> Element:
    element: Element = {}
    for item, start in zip(declared.properties, starts, strict=True):
        column = values[start] if declared.count else values[:0]
        if item.count_type is None:
            element[item.name] = column
        else:
            counts = column.astype(np.int64)
            first = np.repeat(start + 1 - (np.cumsum(counts) - counts), counts)
            element[item.name] = ListProperty(counts, values[first + np.arange(counts.sum())])
    return element


def _read_binary(declared: _Declaration, body: bytes, offset: int, order: str) -> tuple[Element, int]:
    """Read an element, and the offset behind it."""
    least = sum(np.dtype(item.count_type or item.type).itemsize for item in declared.properties)
    if declared.count * least > len(body) - offset:
        raise _truncated(declared)
    if not declared.count or not declared.properties:
        none, empty = np.empty(0), ListProperty(np.empty(0, dtype=np.int64), np.empty(0))
        return {item.name: none if item.count_type is None else empty for item in declared.properties}, offset
    lengths = _first_lengths(declared, body, offset, order)
    dtype = np.dtype(
        [
            entry
            for number, (item, length) in enumerate(zip(declared.properties, lengths, strict=True))
            for entry in (
                [(f"{number}", order + item.type)]
                if item.count_type is None
                else [(f"{number}n", order + item.count_type), (f"{number}", order + item.type, (length,))]
            )
        ]
    )
    if declared.count * dtype.itemsize <= len(body) - offset:
        table = np.frombuffer(body, dtype, declared.count, offset)
        listed = [n for n, item in enumerate(declared.properties) if item.count_type is not None]
        if all((table[f"{n}n"] == lengths[n]).all() for n in listed):
            element: Element = {}
            for number, item in enumerate(declared.properties):
                values = table[f"{number}"]
                if item.count_type is not None:
                    element[item.name] = ListProperty(table[f"{number}n"].astype(np.int64), values.reshape(-1))
                else:
                    element[item.name] = values
            return element, offset + declared.count * dtype.itemsize
    return _read_rows(declared, body, offset, order)


def _first_lengths(declared: _Declaration, body: bytes, offset: int, order: str) -> list[int]:
    """Lengths of the lists in the first row; 0 for numbers."""
    lengths = []
    for item in declared.properties:
        length = 0
        if item.count_type is not None:
            length = _length(declared, body, offset, order + item.count_type)
            offset += np.dtype(item.count_type).itemsize + length * np.dtype(item.type).itemsize
        else:
            offset += np.dtype(item.type).itemsize
        lengths.append(length)
    if offset > len(body):
        raise _truncated(declared)
    return lengths


def _length(declared: _Declaration, body: bytes, offset: int, type: str) -> int:
    if offset + np.dtype(type).itemsize > len(body):
        raise _truncated(declared)
    length = np.frombuffer(body, type, 1, offset)[0]
    if not (length >= 0 and length == int(length)):
        raise MeshError(f"a list of {declared.name} declares {length:g} entries; the file is damaged")
    return int(length)


def _read_rows(declared: _Declaration, body: bytes, offset: int, order: str) -> tuple[Element, int]:
    """Read an element whose lists differ in length, row by row."""
    counts: dict[str, list[int]] = {item.name: [] for item in declared.properties}
    pieces: dict[str, list[bytes]] = {item.name: [] for item in declared.properties}
    plans = [
        (
            item.name,
            np.dtype(item.type).itemsize,
            None if item.count_type is None else struct.Struct(order + np.dtype(item.count_type).char),
        )
        for item in declared.properties
    ]
    for row in range(declared.count):
        for name, size, head in plans:
            length = 1
            if head is not None:
                if offset + head.size > len(body):
                    raise _truncated(declared)
                length = head.unpack_from(body, offset)[0]
                offset += head.size
                if not (length >= 0 and length == int(length)):
                    raise MeshError(f"row {row:,} of {declared.name} declares {length:g} entries; the file is damaged")
                length = int(length)
            end = offset + length * size
            if end > len(body):
                raise _truncated(declared)
            counts[name].append(length)
            pieces[name].append(body[offset:end])
            offset = end
    element: Element = {}
    for item in declared.properties:
        values = np.frombuffer(b"".join(pieces[item.name]), order + item.type)
        element[item.name] = (
            values if item.count_type is None else ListProperty(np.array(counts[item.name], dtype=np.int64), values)
        )
    return element, offset


def _whole(values: NDArray[Any]) -> NDArray[np.int64]:
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    if not (whole == values).all():
        raise MeshError("an index of a face is not a whole number; the file is damaged")
    return whole


def _strip_faces(lists: ListProperty, vertex_count: int) -> NDArray[np.int64]:
    """Triangles of strips, which -1 separates; every second triangle of a strip is reversed."""
    parts = [np.empty((0, 3), dtype=np.int64)]
    values = _whole(lists.values)
    for one in np.split(values, np.cumsum(lists.counts)[:-1]):
        for strip in np.split(one, np.flatnonzero(one == -1)):
            corners = strip[strip != -1]
            if len(corners) >= 3:
                faces = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
                faces[1::2] = faces[1::2, ::-1]
                parts.append(faces)
    found = np.concatenate(parts)
    require_indices(found.reshape(-1), vertex_count)
    return found
