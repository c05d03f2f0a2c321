"""Every form in which a user holds a shape, and the errors for everything else."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from helpers import open3d_stand_ins as open3d
from helpers.points import oriented_sphere_points

from latentsdf.geometry.pointcloud.point_table import PointTable
from latentsdf.geometry.targets import read_mesh, read_points, read_target
from latentsdf.utils.errors import MeshError

BOX = trimesh.creation.box((1, 2, 3)).subdivide()
POINTS, NORMALS = oriented_sphere_points(0.8, 300)
V, F = np.array(BOX.vertices), np.array(BOX.faces)
PLACE = trimesh.transformations.rotation_matrix(0.7, (1, 2, 3), (0.1, 0.2, 0.3)) @ np.diag((-2.0, 3.0, 4.0, 1.0))


def _scene(*parts: Any, place: np.ndarray | None = None) -> trimesh.Scene:
    scene = trimesh.Scene()
    for part in parts:
        scene.add_geometry(part, transform=place)
    return scene


def _with_normals(cloud: trimesh.PointCloud) -> trimesh.PointCloud:
    cloud.vertex_normals = NORMALS
    return cloud


MESHES: dict[str, Callable[[], Any]] = {
    "trimesh": lambda: BOX,
    "scene": lambda: trimesh.Scene([BOX]),
    "pair": lambda: (V, F),
    "pair of lists": lambda: (V.tolist(), F.tolist()),
    "pair of tensors": lambda: (torch.tensor(V, requires_grad=True), torch.tensor(F)),
    "unsigned faces": lambda: (V, F.astype(np.uint32)),
    "dictionary": lambda: {"vertices": V, "faces": F, "name": "box"},
    "any object": lambda: SimpleNamespace(vertices=torch.tensor(V), faces=torch.tensor(F)),
    "open3d": lambda: open3d.TriangleMesh(V, F),
    "open3d tensor": lambda: open3d.TensorTriangleMesh(V, F),
}

CLOUDS: dict[str, Callable[[], Any]] = {
    "array": lambda: POINTS,
    "lists": lambda: POINTS.tolist(),
    "list of tensors": lambda: list(torch.tensor(POINTS)),
    "tensor on a graph": lambda: torch.tensor(POINTS, requires_grad=True) * 1.0,
    "masked": lambda: np.ma.MaskedArray(POINTS),
    "fortran order": lambda: np.asfortranarray(POINTS),
    "trimesh": lambda: trimesh.PointCloud(POINTS),
    "scene": lambda: trimesh.Scene([trimesh.PointCloud(POINTS)]),
    "open3d": lambda: open3d.PointCloud(POINTS),
    "open3d tensor": lambda: open3d.TensorPointCloud(POINTS),
    "structured": lambda: np.rec.fromarrays(POINTS.T, names="x,y,z"),
    "dictionary": lambda: {"points": POINTS, "other": 3},
    "columns": lambda: dict(zip("xyz", POINTS.T, strict=True)),
    "table": lambda: PointTable(POINTS),
}

ORIENTED: dict[str, Callable[[], Any]] = {
    "array": lambda: np.hstack((POINTS, NORMALS)),
    "tensor": lambda: torch.tensor(np.hstack((POINTS, NORMALS))),
    "pair": lambda: (POINTS, NORMALS),
    "pair of tensors": lambda: (torch.tensor(POINTS), torch.tensor(NORMALS)),
    "trimesh": lambda: _with_normals(trimesh.PointCloud(POINTS)),
    "open3d": lambda: open3d.PointCloud(POINTS, NORMALS),
    "open3d tensor": lambda: open3d.TensorPointCloud(POINTS, NORMALS),
    "structured": lambda: np.rec.fromarrays(np.hstack((NORMALS, POINTS)).T, names="nx,ny,nz,x,y,z"),
    "dictionary": lambda: {"points": POINTS, "normals": NORMALS},
    "extra columns": lambda: np.hstack((POINTS, POINTS, NORMALS)),
}


@pytest.mark.parametrize("kind", MESHES)
def test_meshes(kind: str) -> None:
    """Every form of a mesh has the same vertices and faces."""
    mesh = read_target(MESHES[kind]())
    assert isinstance(mesh, trimesh.Trimesh)
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], V[F])
    np.testing.assert_array_equal(read_points(MESHES[kind]()).points, mesh.vertices)


@pytest.mark.parametrize("kind", CLOUDS)
def test_points(kind: str) -> None:
    """Every form of points without normals has the same points."""
    table = read_target(CLOUDS[kind]())
    assert isinstance(table, PointTable) and table.normals is None and table.distances is None
    np.testing.assert_array_equal(table.points, POINTS)
    np.testing.assert_array_equal(read_target(CLOUDS[kind](), 2 * NORMALS).normals, 2 * NORMALS)


@pytest.mark.parametrize("kind", ORIENTED)
def test_points_with_normals(kind: str) -> None:
    """Every form of points with normals has the same points and normals."""
    table = read_target(ORIENTED[kind]())
    np.testing.assert_array_equal(table.points, POINTS)
    np.testing.assert_array_equal(table.normals, NORMALS)
    with pytest.raises(MeshError, match="already include normals"):
        read_target(ORIENTED[kind](), NORMALS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_tensor_types(dtype: torch.dtype) -> None:
    """Tensors of every real type have the values that they hold."""
    tensor = (torch.tensor(POINTS) * 100).to(dtype)
    np.testing.assert_array_equal(read_target(tensor).points, tensor.double().numpy())


def test_scene_with_transforms(tmp_path: Path) -> None:
    """Parts of a scene are placed by its transforms; a reflection keeps the faces outward."""
    scene = _scene(BOX, place=PLACE)
    scene.add_geometry(trimesh.creation.icosphere(1), transform=trimesh.transformations.translation_matrix((9, 0, 0)))
    scene.export(tmp_path / "scene.glb")
    corners = trimesh.transformations.transform_points(V, PLACE)
    for target in (scene, str(tmp_path / "scene.glb"), tmp_path / "scene.glb"):
        mesh = read_mesh(target, "a test")
        assert mesh.volume == pytest.approx(6 * 24 + trimesh.creation.icosphere(1).volume, rel=1e-4)
        distance = np.abs(mesh.vertices[None] - corners[:, None]).max(2).min(1)
        assert distance.max() < 1e-5 and mesh.bounds[1, 0] == pytest.approx(10, abs=1e-5)


def test_scene_of_transformed_points() -> None:
    """Point clouds of a scene are placed by its transforms, too."""
    table = read_target(_scene(trimesh.PointCloud(POINTS), place=PLACE))
    np.testing.assert_allclose(table.points, trimesh.transformations.transform_points(POINTS, PLACE), atol=1e-12)


def test_files(tmp_path: Path) -> None:
    """Paths and texts are read; of a mesh file, `read_points` reads the vertices."""
    BOX.subdivide_loop(2).export(tmp_path / "box.ply")
    np.savez(tmp_path / "points.npz", points=POINTS, normals=NORMALS)
    for kind in (str, Path):
        assert read_mesh(kind(tmp_path / "box.ply"), "a test").is_watertight
        assert len(read_points(kind(tmp_path / "box.ply")).points) == len(BOX.subdivide_loop(2).vertices)
        np.testing.assert_array_equal(read_target(kind(tmp_path / "points.npz")).normals, NORMALS)
    for missing in (tmp_path / "none.obj", "", "a\0b", tmp_path):
        with pytest.raises(FileNotFoundError, match="no such file|is a folder"):
            read_target(missing)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "expected a mesh, points .*; got None|expected a mesh, .* got None"),
        (3, "expected a mesh, points .* got int 3"),
        (object(), "expected a mesh, points .* got object"),
        (b"box.ply", "expected a mesh, points .* got bytes"),
        ({}, "dictionary with `points`, or with `vertices` and `faces`"),
        ({1, 2}, "expected a mesh, points .* got set of length 2"),
        ([BOX, BOX], "got list of length 2; fit several shapes with `invert_many`"),
        (["a.obj", "b.obj"], "got list of length 2; fit several shapes with `invert_many`"),
        ([POINTS, POINTS], "expected a mesh, points .* got list of length 2 with 3 axes"),
        ([[1, 2, 3], [1, 2]], "list of length 2: rows that differ in length"),
        (np.full((200, 3), "a"), "got <U1 array"),
        (np.zeros((200, 3), bool), "got bool array"),
        (torch.zeros(200, 3).to_sparse(), "expected a mesh, points .* got Tensor .* cannot be converted"),
        (torch.zeros(200, 3, device="meta"), "got Tensor of shape .* cannot be converted"),
        (trimesh.Trimesh(V), "the mesh: has no faces"),
        (trimesh.Trimesh(V, F + 7, process=False), "the mesh: faces refer to vertex"),
        ((V, F - 1), "faces refer to vertex -1; vertices are counted from 0"),
        ([V, F], r"a tuple \(vertices, faces\)"),
        ((V, F[:, :2]), r"faces: expected triangles \(F, 3\)"),
        ((V[:, :2], F), r"vertices: expected shape \(V, 3\)"),
        ((V, F.astype(float)), r"faces \(F, 3\) being integers, or \(points, normals\) of the same shape"),
        ((POINTS, POINTS[:9]), r"got shapes \(300, 3\) and \(9, 3\)"),
        ((POINTS, 3 * POINTS + 1), "the second array of the pair should be normals"),
        (trimesh.Scene(), "the scene holds no mesh and no point cloud"),
        (_scene(BOX, trimesh.PointCloud(POINTS)), "the scene holds 1 meshes and 1 point clouds"),
        (trimesh.load_path(V[:4]), "got Path3D.*, whose cells or curves are not triangles"),
        (SimpleNamespace(points=V, faces=np.array([3, 0, 1, 2])), "whose cells or curves are not triangles"),
    ],
)
def test_other_objects(target: Any, message: str) -> None:
    """Anything else is refused with its type and what is expected."""
    with pytest.raises(MeshError, match=message):
        read_target(target)


def test_meshes_and_points_in_place_of_each_other() -> None:
    """Functions that need a mesh refuse points, and normals belong to points."""
    with pytest.raises(MeshError, match=r"refinement needs a mesh with faces, got points \(float64 array of shape"):
        read_mesh(POINTS, "refinement")
    with pytest.raises(MeshError, match=r"normals belong to points, but the target is a mesh \(Trimesh"):
        read_target(BOX, NORMALS)
    with pytest.raises(MeshError, match="normals must have the shape of the points"):
        read_target(POINTS, NORMALS[:7])
