"""Meaning of the columns of point tables."""

from collections.abc import Callable

import numpy as np
import pytest
from helpers.points import oriented_sphere_points

from latentsdf.geometry.pointcloud.point_table import (
    as_table,
    point_table,
    table_from_arrays,
    table_from_columns,
    table_from_order,
)
from latentsdf.utils.errors import MeshError

RNG = np.random.default_rng(0)
POINTS, NORMALS = oriented_sphere_points(0.8)
ORDER = ("x", "y", "z", "nx", "ny", "nz")
COLORS = RNG.uniform(0, 1, POINTS.shape)
DISTANCES = RNG.uniform(-0.1, 0.1, len(POINTS))
NEAR = POINTS * (1 + DISTANCES[:, None] / 0.8)


def test_table_conversion() -> None:
    """Integers become a float64 copy; the name of the values starts the message of an error."""
    values = np.arange(12).reshape(4, 3)
    table = as_table("points", values)
    assert table.dtype == np.float64 and np.array_equal(table, values)
    with pytest.raises(MeshError, match=r"^chair.npy: expected a table of real numbers, one point per row"):
        as_table("chair.npy", values[0])


def test_columns_by_number() -> None:
    """Two, three, four and six columns are points, signed samples and points with normals."""
    assert point_table("", POINTS[:, :2]).dim == 2
    assert point_table("", POINTS).normals is None
    signed = point_table("", np.column_stack((NEAR, DISTANCES)))
    np.testing.assert_array_equal(signed.points, NEAR)
    np.testing.assert_array_equal(signed.distances, DISTANCES)
    for length in (1, 3.5):
        table = point_table("", np.hstack((POINTS, length * NORMALS)))
        np.testing.assert_array_equal(table.normals, length * NORMALS)


@pytest.mark.parametrize("order", ["colors first", "normals first", "intensity", "rounded"])
def test_extra_columns(order: str) -> None:
    """Normals among more than six columns are found by their length, the others are ignored."""
    extra = {
        "colors first": (POINTS, COLORS, NORMALS),
        "normals first": (POINTS, NORMALS, 255 * COLORS),
        "intensity": (POINTS, NORMALS, COLORS[:, :1]),
        "rounded": (POINTS, COLORS, NORMALS.round(2)),
    }[order]
    table = point_table("", np.hstack(extra))
    np.testing.assert_array_equal(table.points, POINTS)
    np.testing.assert_allclose(table.normals, NORMALS, atol=0.006)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((POINTS[:, :1],), r"^a: expected \(N, 2\) points in the plane, .* got shape \(2000, 1\)"),
        ((POINTS, COLORS[:, :1]), "^a: column 3 .* should be a signed distance .* but it differs between .*intensity"),
        ((POINTS, 0 * COLORS[:, :1]), "^a: column 3 .* but it is constant; .*a label"),
        ((POINTS, COLORS), "^a: columns 3 to 5 should be normals, but their lengths range from .* colors"),
        ((POINTS, 0 * COLORS + 255), "^a: columns 3 to 5 should be normals, but all are the same"),
        ((POINTS, COLORS[:, :2]), "^a: the meaning of columns 3 to 4 .* is not clear: no three columns have"),
        ((POINTS, COLORS, COLORS), "^a: the meaning of columns 3 to 8 .* is not clear: no three columns have"),
        (
            (POINTS, NORMALS, NORMALS),
            "is not clear: columns 3 to 5, 4 to 6, 5 to 7, 6 to 8 all have|3 to 5, 6 to 8 all",
        ),
    ],
)
def test_columns_without_a_clear_meaning(columns: tuple[np.ndarray, ...], message: str) -> None:
    """Intensities, colors and unknown columns are refused by name instead of being used."""
    with pytest.raises(MeshError, match=message):
        point_table("a", np.hstack(columns))


def test_colors_named_as_normals() -> None:
    """Vectors of different lengths without a negative component are colors, whatever their name."""
    weighted = NORMALS * COLORS[:, :1]
    for table in (
        lambda n: point_table("a", POINTS, n),
        lambda n: table_from_order("a", np.hstack((POINTS, n)), ORDER),
    ):
        with pytest.raises(MeshError, match="^a: the vectors given as normals should be .* if they are colors"):
            table(COLORS / 255)
        assert table(weighted).normals is not None and table(np.abs(NORMALS)).normals is not None


def test_columns_by_name() -> None:
    """Named columns may have any order and case; coordinates are required."""
    names = dict(
        zip(("X", "Y", "Z", "nx", "ny", "nz", "red"), np.hstack((POINTS, NORMALS, COLORS[:, :1])).T, strict=True)
    )
    table = table_from_columns("", dict(reversed(names.items())))
    np.testing.assert_array_equal(table.points, POINTS)
    np.testing.assert_array_equal(table.normals, NORMALS)
    plane = table_from_columns("", {"x": POINTS[:, 0], "y": POINTS[:, 1], "nx": NORMALS[:, 0], "ny": NORMALS[:, 1]})
    assert plane.dim == 2 and plane.normals is not None and plane.normals.shape == (2000, 2)
    signed = table_from_columns("", {"x": NEAR[:, 0], "y": NEAR[:, 1], "z": NEAR[:, 2], "sdf": DISTANCES})
    np.testing.assert_array_equal(signed.distances, DISTANCES)
    with pytest.raises(MeshError, match="^a: expected columns named x, y and z, got u, v"):
        table_from_columns("a", {"u": [1], "v": [2]})
    with pytest.raises(MeshError, match="^a: columns x, y differ in length"):
        table_from_columns("a", {"x": [1, 2], "y": [2]})
    with pytest.raises(MeshError, match="both normals and signed distances"):
        table_from_columns("a", {**names, "d": names["red"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: -d, "negative at the outermost points"),
        (abs, "no value is negative"),
        (lambda d: -abs(d), "no value is positive"),
        (lambda d: 1000 * d, "more than"),
    ],
)
def test_distances_of_another_convention(change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    """Distances that are positive inside, unsigned or in another unit are refused, with and without names."""
    box = RNG.uniform(-1, 1, (2000, 3))
    distances = np.linalg.norm(box, axis=1) - 0.8
    np.testing.assert_array_equal(point_table("", box, distances=distances).distances, distances)
    wrong = change(distances)
    named = {"x": box[:, 0], "y": box[:, 1], "z": box[:, 2], "sdf": wrong}
    for read in (
        lambda: point_table("a", np.column_stack((box, wrong))),
        lambda: table_from_columns("a", named),
        lambda: table_from_arrays("a", {"points": box, "sdf": wrong}),
    ):
        with pytest.raises(MeshError, match=f"^a: .*{message}"):
            read()


def test_arrays_by_name() -> None:
    """Points, normals and distances of an archive are combined; arrays that do not belong together are refused."""
    table = table_from_arrays("", {"surface_points": POINTS, "surface_normals": NORMALS, "scale": np.ones(1)})
    np.testing.assert_array_equal(table.normals, NORMALS)
    signed = table_from_arrays("", {"points": NEAR, "sdf": DISTANCES[:, None]})
    np.testing.assert_array_equal(signed.distances, DISTANCES)
    for arrays, message in (
        ({"points": POINTS, "normals": NORMALS[:9]}, "normals must have the shape of the points"),
        ({"points": POINTS, "sdf": DISTANCES[:9]}, r"N signed distances, got shapes \(2000, 3\) and \(9,\)"),
        ({"points": POINTS, "occupancies": DISTANCES > 0}, "holds occupancies"),
        ({"points": np.hstack((POINTS, NORMALS)), "normals": NORMALS}, "already include normals"),
        ({"a": POINTS, "b": POINTS}, "expected one array or an array `points`, got a, b"),
    ):
        with pytest.raises(MeshError, match=message):
            table_from_arrays("", arrays)
