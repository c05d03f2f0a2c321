"""Text tables: exact values and names, every separator and encoding, and damaged lines."""

from pathlib import Path

import numpy as np
import pytest

from latentsdf.geometry.pointcloud.io import load_points
from latentsdf.geometry.pointcloud.text_table import read_text_table
from latentsdf.utils.errors import MeshError

POINTS = np.random.default_rng(0).normal(size=(150, 3)).round(4)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 2.5\n-3e1 .5\n", None),
        ("# remark\n1,2.5 // here\n\n-3e1,.5", None),
        ("2\n1\t2.5\n-30\t0.5\n", None),
        ("1,0 2,5\n-30,0 0,5\n", None),
        ("1,0;2,5\n-30,0;0,5\n", None),
        ("a;b c\n1;2,5\n-30;0,5\n", ("a", "b c")),
        ("# x y\n1 2.5\n-30 0.5\n", ("x", "y")),
        ("1,2.5\n-30,0.5\n", None),
        ("'x', \"y\"\n1, 2.5\n-30, 0.5\n", ("x", "y")),
    ],
)
def test_values_and_names(text: str, names: tuple[str, ...] | None) -> None:
    """One table in different forms has the same values, and the names that it states."""
    table = read_text_table(text.encode())
    np.testing.assert_array_equal(table.values, [[1.0, 2.5], [-30.0, 0.5]])
    assert table.names == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no row"),
        ("x y z\n", "only a line of words"),
        ("1 2\n3 4 5\n", r"line 2 \('3 4 5'\) has 3 columns separated by blanks, but the first row has 2"),
        ("1;2\n3;four\n", r"line 2 .*'four' is not a number \(columns separated by ';'\)"),
        ("1 b\n3 4\n", "'b' is not a number"),
        ("3\n1 2\n3 4\n", "declares 3 points, but 2 follow"),
        ("x,y,z\n1,2\n", "names 3 columns, but there are 2"),
        ("0,188,-0,119\n0,201,-0,313\n", "commas separate both columns and decimals"),
        ("1,18,0,11\n2,20,3,05\n", "commas separate both columns and decimals"),
        ("1,18841,0,11932\n2,2,3,51552\n", "commas separate both columns and decimals"),
    ],
)
def test_unreadable_tables(text: str, message: str) -> None:
    """The message names the line, the word and the separator."""
    with pytest.raises(MeshError, match=message):
        read_text_table(text.encode())


@pytest.mark.parametrize(
    ("comment", "names"),
    [
        ("//X Y Z I", ("X", "Y", "Z", "I")),
        ("# id x y z", ("id", "x", "y", "z")),
        ("# columns: x y z sdf", ("x", "y", "z", "sdf")),
        ("# points x y z", None),
        ("# y is up, x", None),
        ("# x y z of the scan", None),
        ("# z: up, x right", None),
    ],
)
def test_comments(comment: str, names: tuple[str, ...] | None) -> None:
    """A comment names the columns only if it is a list of names with the coordinates side by side."""
    assert read_text_table(f"{comment}\n1 2 3 4\n5 6 7 9\n".encode()).names == names


def test_whole_numbers() -> None:
    """Coordinates and colors without decimals are not mistaken for halves of decimals."""
    table = read_text_table(b"10,128,-20,255\n0,7,30,0\n")
    np.testing.assert_array_equal(table.values, [[10, 128, -20, 255], [0, 7, 30, 0]])


def test_names_without_columns(tmp_path: Path) -> None:
    """A header that names more columns than there are is reported."""
    (tmp_path / "cloud.csv").write_text("x,y,z,nx\n" + "1,2,3\n" * 200)
    with pytest.raises(MeshError, match="cloud.csv: the first line names 4 columns, but there are 3"):
        load_points(tmp_path / "cloud.csv")


TEXTS = {
    "semicolons": "X;Y;Z\n{};{};{}\n",
    "commas and blanks": "{}, {}, {}\n",
    "tabs": "x\ty\tz\n{}\t{}\t{}\n",
    "units": '"X [m]","Y [m]","Z [m]"\n{},{},{}\n',
    "map coordinates": "Easting Northing Elevation\n{} {} {}\n",
    "named comment": "# saved by a tool\n//X Y Z\n{} {} {}\n",
    "remarks": "# a\n\n{} {} {} # here\n",
    "count": "150\n{} {} {}\n",
    "other order": "i,z,y,x\n7,{2},{1},{0}\n",
}


@pytest.mark.parametrize("form", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_forms(form: str, encoding: str, tmp_path: Path) -> None:
    """Every separator, kind of header and encoding yields the points."""
    *head, row = TEXTS[form].splitlines()
    lines = [*head, *(row.format(*point) for point in POINTS.tolist())]
    (tmp_path / "cloud.csv").write_bytes("\r\n".join(lines).encode(encoding))
    np.testing.assert_array_equal(load_points(tmp_path / "cloud.csv").points, POINTS)


@pytest.mark.parametrize("separator", [";", "; ", " ", "\t"])
def test_decimal_commas(separator: str, tmp_path: Path) -> None:
    """Decimal commas are read where another sign separates the columns, and refused where none does."""
    text = "\n".join(separator.join(f"{x:.4f}".replace(".", ",") for x in row) for row in POINTS)
    (tmp_path / "cloud.csv").write_text(text)
    np.testing.assert_array_equal(load_points(tmp_path / "cloud.csv").points, POINTS)
    (tmp_path / "cloud.csv").write_text("\n".join(line.replace(separator, ",") for line in text.split("\n")))
    with pytest.raises(MeshError, match="commas separate both columns and decimals"):
        load_points(tmp_path / "cloud.csv")


def test_damaged_text(tmp_path: Path) -> None:
    """The message names the line that is cut, and the separator."""
    path = tmp_path / "cloud.xyz"
    rows = [" ".join(map(str, point)) for point in POINTS.tolist()]
    path.write_text("\n".join([*rows[:70], "1 2", *rows[70:]]))
    with pytest.raises(MeshError, match=r"line 71 \('1 2'\) has 2 columns separated by blanks"):
        load_points(path)
    path.write_text("\n".join(["200", *rows]))
    with pytest.raises(MeshError, match="declares 200 points, but 150 follow"):
        load_points(path)
    path.write_text("<html><body>404</body></html>")
    with pytest.raises(MeshError, match="web page"):
        load_points(path)
