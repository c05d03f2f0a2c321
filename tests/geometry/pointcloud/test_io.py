"""Reading of point clouds, signed samples and meshes from files."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.mesh_files import ply
from latentsdf.geometry.pointcloud.io import load_mesh_or_points, load_points
from latentsdf.geometry.pointcloud.point_table import PointTable, parse_order
from latentsdf.utils.errors import ConfigError, MeshError, MissingExtraError

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(150, 3)).round(4)
NORMALS = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
TABLE = np.hstack((POINTS, NORMALS))


def _write_ply(path: Path, table: np.ndarray, *, binary: bool = False, faces: bool = False) -> None:
    names = ("x", "y", "z", "nx", "ny", "nz")[: table.shape[1]]
    head = ["ply", f"format {'binary_little_endian' if binary else 'ascii'} 1.0", f"element vertex {len(table)}"]
    head += [f"property double {name}" for name in names]
    head += [f"element face {4 * faces}", "property list uchar int vertex_indices"]
    body = table.astype("<f8").tobytes() if binary else "\n".join(" ".join(map(repr, row)) for row in table.tolist())
    tail = "\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n" if faces else "\n"
    text = "\n".join([*head, "end_header", ""]).encode()
    path.write_bytes(text + body if isinstance(body, bytes) else text + (body + tail).encode())


def _columns(table: object) -> np.ndarray:
    assert isinstance(table, PointTable)
    distances = None if table.distances is None else table.distances[:, None]
    return np.hstack([part for part in (table.points, table.normals, distances) if part is not None])


def _write(path: Path, table: np.ndarray) -> None:
    suffix = path.suffix
    if suffix == ".npy":
        np.save(path, table)
    elif suffix == ".npz" and table.shape[1] == 6:
        np.savez(path, points=table[:, :3], normals=table[:, 3:], other=np.zeros(3))
    elif suffix == ".npz":
        np.savez(path, table)
    elif suffix == ".ply":
        _write_ply(path, table, binary=table.shape[1] == 6)
    elif suffix == ".obj":
        path.write_text("".join(f"v {x} {y} {z}\n" for x, y, z in table[:, :3]))
    else:
        head = str(len(table)) if suffix == ".pts" else ""
        np.savetxt(path, table, delimiter="," if suffix == ".csv" else " ", header=head, comments="", fmt="%.17g")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".ply", ".xyz", ".pts", ".txt", ".csv"])
@pytest.mark.parametrize("columns", [3, 6])
def test_format_round_trip(suffix: str, columns: int, tmp_path: Path) -> None:
    """Every format yields the points, and the normals where there are some."""
    path = tmp_path / f"cloud{suffix}"
    _write(path, TABLE[:, :columns])
    for read in (load_points(path), load_mesh_or_points(path)):
        np.testing.assert_allclose(_columns(read), TABLE[:, :columns], atol=1e-12)


def test_ply_with_faces(tmp_path: Path) -> None:
    """A .ply file with faces is a mesh for `load_mesh_or_points` and its vertices for `load_points`."""
    _write_ply(tmp_path / "mesh.ply", TABLE, faces=True)
    mesh = load_mesh_or_points(tmp_path / "mesh.ply")
    assert isinstance(mesh, trimesh.Trimesh) and len(mesh.faces) == 4
    np.testing.assert_allclose(_columns(load_points(tmp_path / "mesh.ply")), TABLE, atol=1e-12)
    _write(tmp_path / "vertices.obj", POINTS)
    np.testing.assert_allclose(_columns(load_points(tmp_path / "vertices.obj")), POINTS, atol=1e-12)


@pytest.mark.parametrize("faces", [True, False])
def test_single_ply_parse(faces: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choosing between mesh and points does not parse the body of a .ply file twice."""
    parsed = []
    read = ply.read_elements
    monkeypatch.setattr(ply, "read_elements", lambda data: (parsed.append(len(data)), read(data))[1])
    _write_ply(tmp_path / "cloud.ply", TABLE, faces=faces)
    load_mesh_or_points(tmp_path / "cloud.ply")
    assert len(parsed) == 1


def test_signed_samples_and_planar_points(tmp_path: Path) -> None:
    """Two columns are points in the plane, four are points and signed distances."""
    distances = np.linalg.norm(POINTS, axis=1) - 1
    for columns in (POINTS[:, :2], np.column_stack((POINTS, distances))):
        np.save(tmp_path / "table.npy", columns)
        np.testing.assert_array_equal(_columns(load_mesh_or_points(tmp_path / "table.npy")), columns)


def test_planar_points_with_normals(tmp_path: Path) -> None:
    """Normals of planar points are normals, not coordinates and distances of signed samples."""
    np.savez(tmp_path / "curve.npz", points=POINTS[:, :2], normals=NORMALS[:, :2])
    table = load_points(tmp_path / "curve.npz")
    assert table.dim == 2 and table.distances is None
    np.testing.assert_array_equal(_columns(table), np.hstack((POINTS[:, :2], NORMALS[:, :2])))


@pytest.mark.parametrize("suffix", [".csv", ".xyz", ".npy"])
def test_named_columns(suffix: str, tmp_path: Path) -> None:
    """Columns with names are found by their names, in any order, and the others are ignored."""
    names, path = ("intensity", "NX", "ny", "nz", "x", "y", "z"), tmp_path / f"cloud{suffix}"
    columns = np.column_stack((np.arange(150.0), NORMALS, POINTS))
    if suffix == ".npy":
        np.save(path, np.rec.fromarrays(columns.T, names=names))
    else:
        comma = "," if suffix == ".csv" else " "
        np.savetxt(path, columns, delimiter=comma, header=comma.join(names), comments="", fmt="%.17g")
    np.testing.assert_allclose(_columns(load_points(path)), TABLE, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npy", None, "no such file"),
        ("cloud.las", b"LASF", "cloud.las: (cannot be read, .*damaged|LAS files are read by laspy)"),
        ("cloud.pcd", b"VERSION .7", "cloud.pcd: PCD .* files are not supported; convert to one of"),
        ("cloud.npy", b"", "cloud.npy: the file is empty"),
        ("cloud.ply", b"", "cloud.ply: the file is empty"),
        ("cloud.npy", b"words", "cloud.npy: cannot be read, .*damaged"),
        ("cloud.npz", b"PK words", "cloud.npz: cannot be read, .*damaged"),
        ("cloud.ply", b"ply\nformat ascii 1.0\nelement vertex 9\n", "cloud.ply: the head has no end.*damaged"),
        ("cloud.xyz", b"a b c\nd e f\n", r"cloud.xyz: line 2 \('d e f'\): 'd' is not a number"),
        ("cloud.xyz", b"\xff\xfe\x00\x81\n", "cloud.xyz: expected a table of numbers"),
        ("cloud.xyz", b"# nothing\n", "cloud.xyz: expected a table of numbers, .* there is no row"),
    ],
)
def test_unreadable_files(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    """Missing, unsupported, empty and damaged files are rejected with their name and the reason."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for load in (load_points, load_mesh_or_points):
        with pytest.raises((MeshError, MissingExtraError, FileNotFoundError), match=message):
            load(path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.where(np.arange(450).reshape(150, 3) == 7, np.nan, POINTS), "cloud.npy: 1 of 150 points are not finite"),
        (np.hstack((POINTS, POINTS, POINTS)), "cloud.npy: the meaning of columns 3 to 8 .* is not clear"),
        (POINTS[:99], "cloud.npy: 99 points are too few"),
        (np.repeat(POINTS[:20], 10, axis=0), "cloud.npy: only 20 of 200 points are different"),
        (np.arange(150.0)[:, None] * (2, 1, 3), "cloud.npy: all points lie on a line"),
        (np.hstack((POINTS, 0 * NORMALS)), "cloud.npy: 150 of 150 normals are not finite or have length 0"),
        (POINTS.astype(complex), "cloud.npy: expected a table of real numbers"),
        (POINTS.astype(str), "cloud.npy: expected a table of real numbers"),
    ],
)
def test_unusable_tables(table: np.ndarray, message: str, tmp_path: Path) -> None:
    """Tables that do not sample a surface are rejected with the file name and the reason."""
    np.save(tmp_path / "cloud.npy", table)
    for load in (load_points, load_mesh_or_points):
        with pytest.raises(MeshError, match=message):
            load(tmp_path / "cloud.npy")


def test_archive_without_points(tmp_path: Path) -> None:
    """The message for an .npz file without points lists its arrays."""
    np.savez(tmp_path / "cloud.npz", a=POINTS, b=POINTS)
    with pytest.raises(MeshError, match="expected one array or an array `points`, got a, b"):
        load_points(tmp_path / "cloud.npz")


@pytest.mark.parametrize(
    "name",
    ["xyzi.xyz", "pts_i.xyz", "xyzrgb.xyz", "pts_rgb.xyz", "outlier.xyz", "semicolon_header.csv", "decimal_comma.csv"],
)
def test_points_of_case(name: str, real_data: Path) -> None:
    """Files that earlier versions read wrongly are read as points alone (shared/data/cases/EXPECTED.md)."""
    folder = real_data / "cases" / "points"
    if not folder.is_dir():
        pytest.skip("shared/data/cases/points is missing beside the checkout")
    table = load_points(folder / name)
    assert len(table.points) in (3000, 8000) and table.normals is None and table.distances is None
    assert np.abs(table.points).max() < 1.1


def test_inward_normals_of_case(real_data: Path) -> None:
    """Normals that point inward are turned: the flux of the points through them is positive."""
    if not (real_data / "cases" / "points").is_dir():
        pytest.skip("shared/data/cases/points is missing beside the checkout")
    table = load_points(real_data / "cases" / "points" / "inward.xyz")
    assert table.normals is not None and np.mean((table.points * table.normals).sum(axis=1)) > 0


CUBE = RNG.uniform(-1, 1, (200, 3)).round(5)
EXTRAS = {
    "intensity": (RNG.uniform(0, 4000, (200, 1)), "column 4 (an intensity or a label) ignored"),
    "unit intensity": (RNG.uniform(0, 1, (200, 1)), "column 4 (an intensity or a label) ignored"),
    "label": (RNG.integers(0, 4, (200, 1)), "column 4 (an intensity or a label) ignored"),
    "constant": (np.ones((200, 1)), "column 4 (an intensity or a label) ignored"),
    "elevation": (CUBE[:, 2:] + 700, "column 4 (an intensity or a label) ignored"),
    "colors": (RNG.integers(0, 256, (200, 3)), "columns 4, 5, 6 (colors) ignored"),
    "unit colors": (RNG.uniform(0, 1, (200, 3)), "columns 4, 5, 6 (colors) ignored"),
    "deep colors": (RNG.integers(0, 60_000, (200, 3)), "columns 4, 5, 6 (colors) ignored"),
    "vectors": (RNG.normal(size=(200, 3)), "columns 4, 5, 6 (of unknown meaning) ignored"),
    "intensity and colors": (RNG.uniform(0, 255, (200, 4)), "columns 4, 5, 6, 7 (of unknown meaning) ignored"),
}


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("suffix", [".xyz", ".csv", ".pts"])
def test_columns_that_are_not_used(extra: str, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of a text file that are neither normals nor distances are named and left out."""
    values, note = EXTRAS[extra]
    _write(tmp_path / f"cloud{suffix}", np.hstack((CUBE, values)))
    np.testing.assert_array_equal(_columns(load_points(tmp_path / f"cloud{suffix}")), CUBE)
    assert note in capsys.readouterr().err


def test_columns_that_are_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Normals are found by their length beside colors, distances by their signs and slopes; the reading is printed."""
    normals = CUBE / np.linalg.norm(CUBE, axis=1, keepdims=True)
    colors, path = RNG.integers(0, 256, (200, 3)), tmp_path / "cloud.txt"
    for table in (np.hstack((CUBE, normals, colors)), np.hstack((CUBE, colors, normals))):
        _write(path, table)
        np.testing.assert_array_equal(_columns(load_points(path)), np.hstack((CUBE, normals)))
    assert "normals in columns 7 to 9; columns 4, 5, 6 (colors) ignored" in capsys.readouterr().err
    signed = np.column_stack((CUBE, np.linalg.norm(CUBE, axis=1) - 0.7))
    _write(path, signed)
    np.testing.assert_array_equal(_columns(load_points(path)), signed)
    assert "read as x, y, z and signed distance" in capsys.readouterr().err
    _write(path, signed + np.array((0, 0, 0, 9)))
    assert load_points(path).distances is None
    planar = np.hstack((CUBE[:, :2], CUBE[:, :2] / np.linalg.norm(CUBE[:, :2], axis=1, keepdims=True)))
    _write(path, planar)
    np.testing.assert_array_equal(_columns(load_points(path)), planar)


@pytest.mark.parametrize("suffix", [".xyz", ".csv", ".npy"])
def test_stated_columns(suffix: str, tmp_path: Path) -> None:
    """The stated order replaces names and guesses; its length must be the number of columns."""
    path = tmp_path / f"cloud{suffix}"
    distance = np.linalg.norm(POINTS, axis=1, keepdims=True) - 1.5
    _write(path, np.hstack((NORMALS, distance, POINTS)))
    np.testing.assert_allclose(_columns(load_points(path, ("nx", "ny", "nz", "-", "x", "y", "z"))), TABLE, atol=1e-12)
    signed = load_mesh_or_points(path, ("-", "-", "-", "sdf", "x", "y", "z"))
    assert isinstance(signed, PointTable) and signed.distances is not None
    with pytest.raises(MeshError, match="got names of 3 columns, but there are 7"):
        load_points(path, ("x", "y", "z"))


@pytest.mark.parametrize("name", ["occ", "Occupancy", "inside"])
def test_occupancies_by_name(name: str, tmp_path: Path) -> None:
    """Samples of the volume with occupancies are not points of a surface."""
    (tmp_path / "cloud.csv").write_text(f"x,y,z,{name}\n" + "".join(f"{x},{y},{z},{x > 0:d}\n" for x, y, z in CUBE))
    with pytest.raises(MeshError, match="holds occupancies"):
        load_points(tmp_path / "cloud.csv")


def test_repeated_names(tmp_path: Path) -> None:
    """Two columns of one name are refused if they would be used, up to case and units."""
    path, rows = tmp_path / "cloud.csv", "".join(f"{x},{y},{z},{x}\n" for x, y, z in CUBE)
    for repeated in ("X", "x", "x [m]"):
        path.write_text(f"x,y,z,{repeated}\n{rows}")
        with pytest.raises(MeshError, match="2 columns are named x"):
            load_points(path)
    path.write_text(f"a,x,y,a\n{rows}")
    assert load_points(path).dim == 2


@pytest.mark.parametrize("suffix", [".xyz", ".csv", ".npy"])
@pytest.mark.parametrize("extra", [0, 3])
def test_row_numbers(extra: int, suffix: str, tmp_path: Path) -> None:
    """A first column that counts the rows is not taken for a coordinate; stated columns skip it."""
    path = tmp_path / f"cloud{suffix}"
    _write(path, np.hstack((np.arange(1.0, 151)[:, None], TABLE[:, : 3 + extra])))
    with pytest.raises(MeshError, match="the first column counts the rows from 1"):
        load_points(path)
    stated = ("-", "x", "y", "z", "nx", "ny", "nz")[: 4 + extra]
    np.testing.assert_allclose(_columns(load_points(path, stated)), TABLE[:, : 3 + extra], atol=1e-12)


def test_column_order() -> None:
    """An order is split at commas; unknown and repeated names are refused."""
    assert parse_order("x, y,Z,-,sdf") == ("x", "y", "z", "-", "sdf")
    for text in ("x,y,q", "x,y,x", "y,z", ""):
        with pytest.raises(ConfigError, match="expected one of x, y, z, nx, ny, nz, sdf, - per column"):
            parse_order(text)


@pytest.mark.parametrize("binary", [True, False])
def test_ply_columns(binary: bool, tmp_path: Path) -> None:
    """Normals of a .ply file are found by either of their usual names, beside colors, and keep their digits."""
    order = "<" if binary else ""
    names = ["x", "y", "z", "red", "normal_x", "normal_y", "normal_z"]
    head = ["ply", f"format {'binary_little_endian' if binary else 'ascii'} 1.0", "element vertex 150"]
    head += [f"property double {name}" for name in names] + ["end_header", ""]
    table = np.hstack((POINTS + 5e5, POINTS[:, :1], NORMALS))
    body = (
        table.astype(f"{order}f8").tobytes()
        if binary
        else "\n".join(" ".join(map(repr, r)) for r in table.tolist()).encode()
    )
    (tmp_path / "cloud.ply").write_bytes("\n".join(head).encode() + body)
    np.testing.assert_array_equal(_columns(load_points(tmp_path / "cloud.ply")), np.hstack((POINTS + 5e5, NORMALS)))
