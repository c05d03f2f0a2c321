"""Small files that earlier versions read wrongly, with the right values (shared/data/cases/EXPECTED.md)."""

from pathlib import Path

import numpy as np
import pytest

from latentsdf.geometry.mesh import clean, load, save
from latentsdf.utils.errors import MeshError

CHAIR, U_PRISM, HEXAGONAL_PRISM = (5.02, 0.19), (13.8, 2.0), (17.196, 5.196)
CLOSED = {
    **dict.fromkeys(
        [
            "a.obj",
            "neg.obj",
            "mixed_poly_bin.ply",
            "quant.glb",
            "sparse.glb",
            "count_short.stl",
            "latin1.stl",
            "utf16.obj",
            "named_vertex.stl",
            "tristrips.ply",
            "bom.obj",
            "bom_spare_vertex.obj",
            "cr.obj",
            "tabs.obj",
            "half_indent.obj",
            "inst.glb",
            "fan.glb",
        ],
        CHAIR,
    ),
    **dict.fromkeys(["u.obj", "u3.obj", "u_off.off"], U_PRISM),
    **dict.fromkeys(["hexprism.off", "hexprism_bin.ply"], HEXAGONAL_PRISM),
    "sparse_over.glb": (6.56, 0.26),  # the seat's back is twice as high as the base values
    "escaped/escaped_uri.gltf": (0.44, 0.012),
}
REFUSED = {
    "draco_minor.glb": "Draco",
    "cut_last_solid.stl": "truncated",
    "zero_based.obj": "count vertices from 1",
    "html.obj": "web page",
    "lfs.obj": "Git LFS pointer",
}


@pytest.fixture(scope="module")
def cases(real_data: Path) -> Path:
    """Folder of the mesh files; skips the test if it is missing."""
    folder = real_data / "cases" / "meshes"
    if not folder.is_dir():
        pytest.skip("shared/data/cases/meshes is missing beside the checkout")
    return folder


@pytest.mark.parametrize("name", CLOSED)
def test_geometry_of_case(name: str, cases: Path) -> None:
    """The file is read completely: closed, with the known area and volume."""
    mesh, _ = clean(load(cases / name))
    assert mesh.is_watertight
    np.testing.assert_allclose((mesh.area, mesh.volume), CLOSED[name], rtol=2e-3)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_case(name: str, cases: Path) -> None:
    """The file is refused, and the message says what it is."""
    with pytest.raises(MeshError, match=rf"^{name}: .*{REFUSED[name]}"):
        load(cases / name)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".stl", ".off", ".glb"])
def test_digits_at_large_offsets(suffix: str, cases: Path, tmp_path: Path) -> None:
    """A mesh in UTM coordinates is written without losing digits: distinct coordinates stay distinct."""
    utm = load(cases / "utm.obj")
    save(utm, tmp_path / f"utm{suffix}")
    back = load(tmp_path / f"utm{suffix}")
    for axis in range(3):
        assert len(np.unique(back.vertices[:, axis])) >= len(np.unique(utm.vertices[:, axis].round(6)))
    np.testing.assert_allclose(back.area, utm.area, rtol=1e-6)
