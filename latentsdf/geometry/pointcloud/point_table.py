"""Meaning of the columns of point tables.

Columns without names have a meaning by their number:

| columns | meaning |
|---|---|
| 2 | points in the plane |
| 3 | points |
| 4 | signed samples: points and signed distances |
| 6 | points and normals, all of about the same length |
| 5, 7 and more | points, and the only three consecutive columns of unit length as normals; the others are ignored |

Values that contradict the meaning (intensities in place of distances, colors in place of normals, numbers of rows in
place of coordinates) are refused, because a wrong guess gives a wrong shape without an error. Columns with names are
found by their names, `x`, `y`, `z`, `nx`, `ny`, `nz` and `sdf`, and all others are ignored.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.pointcloud.column_values import (
    are_unit,
    counts_rows,
    distance_fault,
    is_positive_around,
    normals_fault,
)
from latentsdf.utils.arrays import as_array
from latentsdf.utils.errors import ConfigError, MeshError

Floats = NDArray[np.float64]

_POINT_KEYS = ("points", "surface_points", "positions", "xyz")
_NORMAL_KEYS = ("normals", "surface_normals")
_DISTANCE_KEYS = ("sdf", "distances", "distance")
_OCCUPANCY_NAMES = ("occupancies", "occupancy", "occ", "is_inside", "inside")
_COORDINATES = ("x", "y", "z")
_COORDINATE_NAMES = {"easting": "x", "northing": "y", "elevation": "z", "height": "z", "altitude": "z"}
_COORDINATE_NAMES |= {f"points_{n}": axis for n, axis in enumerate(_COORDINATES)}  # of ParaView
_NORMAL_NAMES = (
    ("nx", "ny", "nz"),
    ("normal_x", "normal_y", "normal_z"),
    ("normalx", "normaly", "normalz"),
    ("n_x", "n_y", "n_z"),
    ("normals_0", "normals_1", "normals_2"),
)
_DISTANCE_NAMES = ("sdf", "signed_distance", "d")
_USED_NAMES = {*_COORDINATES, *_COORDINATE_NAMES, *_DISTANCE_NAMES, *(key for keys in _NORMAL_NAMES for key in keys)}
_UNUSED = "-"
_UNITS = re.compile(r"\s*[\[(].*[\])]$")


@dataclass(frozen=True)
class PointTable:
    """Points in the user's frame, with normals or signed distances if there are any."""

    points: Floats
    """Points (N, d), d = 2 or 3."""
    normals: Floats | None = None
    """Normals (N, d) of any length, or None."""
    distances: Floats | None = None
    """Signed distances (N,), negative inside, or None."""

    @property
    def dim(self) -> int:
        """Dimension d of the points, 2 or 3."""
        return int(self.points.shape[1])


def as_table(name: str, values: Any) -> Floats:
    """Convert values to a two-dimensional array of float64.

    Args:
        name: Name of the values, with which the error message starts; may be empty.
        values: Array-like or tensor (N, C) of real numbers.

    Returns:
        Table (N, C), a copy.

    Raises:
        MeshError: The rows differ in length, the values are not real numbers or the array is not two-dimensional.
    """
    expected = "a table of real numbers, one point per row"
    array = as_array(values, name, expected=expected, error=MeshError)
    if array.ndim != 2:
        raise MeshError(f"{prefix(name)}expected {expected}, got shape {array.shape} of {array.dtype}")
    return array.astype(np.float64)


def point_table(name: str, points: Any, normals: Any = None, distances: Any = None) -> PointTable:
    """Interpret a table without column names, or combine points with their normals or distances.

    Args:
        name: Name of the table, with which the error message starts; may be empty.
        points: Table (N, C) as described in the module docstring; (N, 2) or (N, 3) with normals or distances.
        normals: Normals of the same shape as the points, or None.
        distances: Signed distances (N,) or (N, 1), or None.

    Returns:
        The points, normals and distances.

    Raises:
        MeshError: The arrays do not match, or the number of columns or their values do not have a clear meaning.
    """
    table = as_table(name, points)
    if normals is None and distances is None:
        return _interpret(name, table)
    if normals is not None and distances is not None:
        raise MeshError(f"{prefix(name)}got both normals and signed distances of the points; pass one of them")
    if table.shape[1] == 6 and normals is not None:
        raise MeshError(
            f"{prefix(name)}points (N, 6) already include normals; pass either these, or points (N, 3) and normals"
        )
    if table.shape[1] not in (2, 3):
        raise MeshError(f"{prefix(name)}expected points (N, 3) beside normals or distances, got shape {table.shape}")
    if normals is not None:
        directions = as_table("normals", normals)
        if directions.shape != table.shape:
            raise MeshError(
                f"{prefix(name)}normals must have the shape of the points, {table.shape}, got {directions.shape}"
            )
        if len(directions) and directions.min() >= 0:  # normals of other lengths, such as weighted ones, have any sign
            require_normals(name, "the vectors given as normals", directions)
        return PointTable(table, directions)
    signed = as_array(distances, "distances", expected="one signed distance per point", error=MeshError)
    if signed.size != len(table) or table.shape[1] != 3:
        raise MeshError(
            f"{prefix(name)}expected points (N, 3) and N signed distances, got shapes {table.shape} and {signed.shape}"
        )
    values = signed.reshape(-1).astype(np.float64)
    _require_distances(name, "the distance of the points", table, values)
    return PointTable(table, distances=values)


def table_from_columns(name: str, columns: Mapping[str, Any]) -> PointTable:
    """Interpret columns with names.

    Args:
        name: Name of the table, with which the error message starts; may be empty.
        columns: One column (N,) per name. `x` and `y` are required; `z` (absent in the plane), `nx`, `ny`, `nz` and
            `sdf` are used, other columns are ignored. Names are not case-sensitive.

    Returns:
        The points, normals and distances.

    Raises:
        MeshError: There are no coordinates, both normals and distances, two columns of a name, or occupancies.
    """
    require_distinct(name, columns)
    named = {_plain_name(key): values for key, values in columns.items()}
    if "x" not in named:
        named = {_COORDINATE_NAMES.get(key, key): values for key, values in named.items()}
    coordinates = [key for key in _COORDINATES if key in named]
    if coordinates not in (["x", "y"], ["x", "y", "z"]):
        raise MeshError(f"{prefix(name)}expected columns named x, y and z, got {', '.join(named) or 'none'}")
    dim = len(coordinates)
    normals = next((keys[:dim] for keys in _NORMAL_NAMES if all(key in named for key in keys[:dim])), None)
    distance = next((key for key in _DISTANCE_NAMES if key in named), None)
    if distance is None:
        _require_no_occupancies(name, named)
    return point_table(
        name,
        _stack(name, named, coordinates),
        None if normals is None else _stack(name, named, normals),
        None if distance is None else _stack(name, named, [distance]),
    )


def require_distinct(name: str, names: Iterable[str]) -> None:
    """Raise MeshError if two columns that are used have the same name, up to case, quotes and units."""
    plain = [_plain_name(one) for one in names]
    repeated = sorted(one for one in set(plain) & _USED_NAMES if plain.count(one) > 1)
    if repeated:
        raise MeshError(f"{prefix(name)}{plain.count(repeated[0])} columns are named {repeated[0]}; rename all but one")


def _require_no_occupancies(name: str, names: Iterable[str]) -> None:
    found = [one for one in names if one in _OCCUPANCY_NAMES]
    if found:
        raise MeshError(
            f"{prefix(name)}holds occupancies ({found[0]}), which do not determine distances; pass surface points"
        )


def _plain_name(name: object) -> str:
    """Name in lower case, without quotes, comment signs and a unit in brackets; words are joined by underscores."""
    return re.sub("[ :]", "_", _UNITS.sub("", str(name).strip().strip("\"'#/").strip().lower()))


def unused_columns(names: Sequence[str]) -> list[str]:
    """Return the names that `table_from_columns` ignores."""
    return [name for name in names if _plain_name(name) not in _USED_NAMES]


def table_from_order(name: str, table: Floats, order: Sequence[str]) -> PointTable:
    """Interpret columns whose meaning the user states.

    Args:
        name: Name of the table, with which the error message starts; may be empty.
        table: Values (N, C).
        order: Meaning of each column: `x`, `y`, `z`, `nx`, `ny`, `nz`, `sdf`, or `-` for a column to ignore.

    Raises:
        MeshError: The number of columns differs, or as for `table_from_columns`.
    """
    if len(order) != table.shape[1]:
        raise MeshError(f"{prefix(name)}got names of {len(order)} columns, but there are {table.shape[1]}")
    return table_from_columns(name, {key: table[:, n] for n, key in enumerate(order) if key != _UNUSED})


def parse_order(text: str) -> tuple[str, ...]:
    """Split the meaning of columns, such as `x,y,z,nx,ny,nz,-`.

    Raises:
        ConfigError: A name is unknown or repeated, or a coordinate is missing.
    """
    order = tuple(word.strip().lower() for word in text.split(","))
    known = (*_COORDINATES, *_NORMAL_NAMES[0], "sdf", _UNUSED)
    unknown = [word for word in order if word not in known]
    repeated = [word for word in known if word != _UNUSED and order.count(word) > 1]
    if unknown or repeated or "x" not in order or "y" not in order:
        fault = f"got '{unknown[0]}'" if unknown else f"'{repeated[0]}' occurs twice" if repeated else f"got '{text}'"
        raise ConfigError(f"expected one of {', '.join(known)} per column, with x and y, separated by commas; {fault}")
    return order


def read_text_columns(name: str, table: Floats) -> tuple[PointTable, str]:
    """Interpret a table of a text file without column names: columns that are not understood are left out.

    Args:
        name: Name of the file, with which the error message starts.
        table: Values (N, C).

    Returns:
        The points, normals and distances, and how the columns were read, in a sentence; empty for coordinates alone.

    Raises:
        MeshError: There are fewer than 2 columns, or several triples of columns could be normals.
    """
    columns = table.shape[1]
    _require_no_row_numbers(name, table)
    if columns <= 3:
        return _interpret(name, table), ""
    if columns == 4 and are_unit(table[:, 2:]):
        return PointTable(table[:, :2], table[:, 2:]), "read as x, y, nx, ny"
    if columns == 4:
        fault = distance_fault(table[:, :3], table[:, 3])
        if not fault and is_positive_around(table[:, :3], table[:, 3]):
            return PointTable(table[:, :3], distances=table[:, 3]), "read as x, y, z and signed distance"
        if fault.endswith("negate it"):
            _require_distances(name, "column 4", table[:, :3], table[:, 3])
    normals = [first for first in range(3, columns - 2) if are_unit(table[:, first : first + 3])]
    if not normals and columns == 6 and not normals_fault(table[:, 3:]):
        normals = [3]
    if len(normals) > 1:
        return _interpret(name, table), ""
    chosen = set(range(normals[0], normals[0] + 3)) if normals else set()
    others = [n for n in range(3, columns) if n not in chosen]
    meaning = "read as x, y, z" + (f" and normals in columns {normals[0] + 1} to {normals[0] + 3}" if normals else "")
    if others:
        listed = ", ".join(str(n + 1) for n in others)
        what = _describe_unused(table[:, others])
        meaning += (
            f"; column{'s' * (len(others) > 1)} {listed} ({what}) ignored, name columns with --columns to use them"
        )
    return PointTable(table[:, :3], table[:, sorted(chosen)] if chosen else None), meaning


def _describe_unused(values: Floats) -> str:
    columns, low, high = values.shape[1], values.min(), values.max()
    whole = bool((values == np.round(values)).all())
    if columns in (3, 4) and low >= 0 and (high <= 1 or (whole and high < 65536)):
        return "colors"
    return "an intensity or a label" if columns == 1 and low >= 0 else "of unknown meaning"


def table_from_arrays(name: str, arrays: Mapping[str, Any]) -> PointTable:
    """Interpret the arrays of an archive or a dictionary.

    Args:
        name: Name of the archive, with which the error message starts; may be empty.
        arrays: `points` (or `surface_points`, `positions`, `xyz`) and optionally `normals` (`surface_normals`) or `sdf`
            (`distances`); other arrays are ignored. A single array may have any name.

    Returns:
        The points, normals and distances.

    Raises:
        MeshError: There are no points, or as for `point_table`.
    """
    if len(arrays) == 1:
        return point_table(name, *arrays.values())
    found = [
        next((arrays[key] for key in keys if key in arrays), None)
        for keys in (_POINT_KEYS, _NORMAL_KEYS, _DISTANCE_KEYS)
    ]
    points, normals, distances = found
    if distances is None:
        _require_no_occupancies(name, arrays)
    if points is None:
        raise MeshError(f"{prefix(name)}expected one array or an array `points`, got {', '.join(map(str, arrays))}")
    return point_table(name, points, normals, distances)


def prefix(name: str) -> str:
    """Return the beginning of an error message about something with this name, which may be empty."""
    return f"{name}: " if name else ""


def _stack(name: str, columns: Mapping[str, Any], keys: Sequence[str]) -> NDArray[Any]:
    arrays = [as_array(columns[key], f"{prefix(name)}column {key}", error=MeshError).reshape(-1) for key in keys]
    if len({len(array) for array in arrays}) > 1:
        raise MeshError(f"{prefix(name)}columns {', '.join(keys)} differ in length")
    return np.column_stack(arrays)


def _interpret(name: str, table: Floats) -> PointTable:
    columns = table.shape[1]
    if columns == 2:
        return PointTable(table)
    if columns < 2:
        raise MeshError(
            f"{prefix(name)}expected (N, 2) points in the plane, (N, 3) points, (N, 4) signed samples or (N, 6) points "
            f"with normals; got shape {table.shape}"
        )
    _require_no_row_numbers(name, table)
    if columns == 3:
        return PointTable(table)
    if columns == 4:
        _require_distances(name, f"column 3 of shape {table.shape}", table[:, :3], table[:, 3])
        return PointTable(table[:, :3], distances=table[:, 3])
    if columns == 6:
        require_normals(name, "columns 3 to 5", table[:, 3:])
        return PointTable(table[:, :3], table[:, 3:])
    unit = [first for first in range(3, columns - 2) if are_unit(table[:, first : first + 3])]
    if len(unit) != 1:
        seen = f"columns {', '.join(f'{i} to {i + 2}' for i in unit)} all have" if unit else "no three columns have"
        raise MeshError(
            f"{prefix(name)}the meaning of columns 3 to {columns - 1} of shape {table.shape} is not clear: {seen} the "
            "length of normals; keep points (N, 3) or points with normals (N, 6), or name the columns x, y, z, nx, ny, "
            "nz"
        )
    return PointTable(table[:, :3], table[:, unit[0] : unit[0] + 3])


def require_normals(name: str, what: str, vectors: Floats) -> None:
    """Raise MeshError for vectors that are not normals, such as colors, because their lengths differ.

    Args:
        name: Name of the table, with which the error message starts; may be empty.
        what: Name of the vectors in the error message.
        vectors: Vectors (N, d); those of length 0 do not count.
    """
    fault = normals_fault(vectors)
    if fault:
        raise MeshError(
            f"{prefix(name)}{what} should be normals, but {fault}; leave them out if they are colors, or scale "
            "normals to length 1"
        )


def _require_distances(name: str, what: str, points: Floats, distances: Floats) -> None:
    fault = distance_fault(points, distances)
    if fault:
        raise MeshError(
            f"{prefix(name)}{what} should be a signed distance in the unit of the points, negative inside, but "
            f"{fault}; leave it out if it is an intensity or a label"
        )


def _require_no_row_numbers(name: str, table: Floats) -> None:
    if table.shape[1] > 2 and counts_rows(table[:, 0]):
        raise MeshError(
            f"{prefix(name)}the first column counts the rows from {table[0, 0]:g}, so that it is no coordinate; leave "
            "it out, or name the columns (--columns -,x,y,z)"
        )
