"""Reading of point clouds, signed samples and meshes from files."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from trimesh.exchange import ply

from latentsdf.geometry.pointcloud.io import load_mesh_or_points, load_points
from latentsdf.geometry.pointcloud.point_table import PointTable
from latentsdf.utils.errors import MeshError

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
    for name in ("_ply_ascii", "_ply_binary"):
        parse = getattr(ply, name)
        monkeypatch.setattr(ply, name, lambda *words, parse=parse: (parsed.append(words), parse(*words)))
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


def test_names_without_columns(tmp_path: Path) -> None:
    """A header that names more columns than there are is reported."""
    (tmp_path / "cloud.csv").write_text("x,y,z,nx\n" + "1,2,3\n" * 200)
    with pytest.raises(MeshError, match="cloud.csv: the first line names 4 columns, but there are 3"):
        load_points(tmp_path / "cloud.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npy", None, "no such file"),
        ("cloud.las", b"LASF", "'.las' files are not supported|not from '.las'"),
        ("cloud.npy", b"", "cloud.npy: the file is empty"),
        ("cloud.ply", b"", "cloud.ply: the file is empty"),
        ("cloud.npy", b"words", "cloud.npy: cannot be read, .*damaged"),
        ("cloud.npz", b"PK words", "cloud.npz: cannot be read, .*damaged"),
        ("cloud.ply", b"ply\nformat ascii 1.0\nelement vertex 9\n", "cloud.ply: cannot be read, .*damaged"),
        ("cloud.xyz", b"a b c\nd e f\n", "cloud.xyz: cannot be read, .*not a table"),
        ("cloud.xyz", b"\xff\xfe\x00\x81\n", "cloud.xyz: cannot be read, .*not a table"),
        ("cloud.xyz", b"# nothing\n", "cloud.xyz: expected .* got shape"),
    ],
)
def test_unreadable_files(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    """Missing, unsupported, empty and damaged files are rejected with their name and the reason."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for load in (load_points, load_mesh_or_points):
        with pytest.raises((MeshError, FileNotFoundError), match=message):
            load(path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.where(np.arange(450).reshape(150, 3) == 7, np.nan, POINTS), "cloud.npy: 1 of 150 points are not finite"),
        (np.hstack((POINTS, POINTS, POINTS)), "cloud.npy: the meaning of columns 3 to 8 .* is not clear"),
        (POINTS[:99], "cloud.npy: 99 points are too few"),
        (np.repeat(POINTS[:20], 10, axis=0), "cloud.npy: only 20 of 200 points are different"),
        (np.arange(150.0)[:, None] * (1, 2, 3), "cloud.npy: all points lie on a line"),
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
