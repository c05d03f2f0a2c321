"""Writing of triangle meshes as Universal Scene Description (USD) files."""

from pathlib import Path

import numpy as np
import trimesh

from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import MissingExtraError

SUFFIXES = (".usda", ".usdc", ".usd")
"""Suffixes of USD files: text, binary, and binary."""


def save_usd(mesh: trimesh.Trimesh, path: Path) -> None:
    """Write a mesh as the default prim `/shape` of a stage whose up axis is y and whose unit is one meter.

    Args:
        mesh: Mesh; its vertex normals are stored if it has computed ones.
        path: File with one of `SUFFIXES`; its folder must exist. An existing file is replaced once the new one is
            complete.

    Raises:
        MissingExtraError: The extra `usd` is not installed.
    """
    try:
        from pxr import Usd, UsdGeom, Vt
    except ImportError as error:
        raise MissingExtraError("USD files need the extra `usd`: pip install 'latentsdf[usd]'") from error
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    prim = UsdGeom.Mesh.Define(stage, "/shape")
    stage.SetDefaultPrim(prim.GetPrim())
    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float32)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(vertices))
    prim.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, dtype=np.int32)))
    prim.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.asarray(mesh.faces, dtype=np.int32).reshape(-1)))
    prim.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([vertices.min(0), vertices.max(0)])))
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    if "vertex_normals" in mesh._cache:
        prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(mesh.vertex_normals, dtype=np.float32)))
        prim.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    with atomic_write(path, keep_suffix=True) as temporary:
        stage.GetRootLayer().Export(str(temporary))
