"""USD files: the mesh is read back by USD itself, in both formats."""

import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from pxr import Usd, UsdGeom

import latentsdf as ls
from latentsdf.geometry.mesh import save


@pytest.mark.parametrize("suffix", [".usda", ".usdc", ".usd"])
def test_round_trip(suffix: str, tmp_path: Path) -> None:
    """Vertices, faces, normals and the default prim survive; a second write replaces the file."""
    mesh = trimesh.creation.icosphere(subdivisions=1, radius=0.3)
    mesh.vertex_normals = mesh.vertices / 0.3
    path = tmp_path / "folder" / f"ball{suffix}"
    save(trimesh.creation.box(), path)
    save(mesh, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes().startswith(b"#usda" if suffix == ".usda" else b"PXR-USDC")
    stage = Usd.Stage.Open(str(path))
    prim = UsdGeom.Mesh(stage.GetDefaultPrim())
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    np.testing.assert_allclose(np.array(prim.GetPointsAttr().Get()), mesh.vertices, atol=1e-7)
    np.testing.assert_array_equal(np.array(prim.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3), mesh.faces)
    assert set(prim.GetFaceVertexCountsAttr().Get()) == {3}
    np.testing.assert_allclose(np.array(prim.GetNormalsAttr().Get()), mesh.vertices / 0.3, atol=1e-6)
    np.testing.assert_allclose(np.array(prim.GetExtentAttr().Get()), mesh.bounds, atol=1e-7)


def test_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without usd-core the error names the extra that installs it."""
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(ls.MissingExtraError, match=r"pip install 'latentsdf\[usd\]'"):
        save(trimesh.creation.box(), tmp_path / "a.usda")
