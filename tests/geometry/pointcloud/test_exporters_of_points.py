"""Points on a sphere as other programs write them: read with the right columns, or refused with the reason."""

import io
from pathlib import Path

import numpy as np
import pytest

from latentsdf.geometry.pointcloud.io import load_points
from latentsdf.utils.errors import MeshError

RNG = np.random.default_rng(1)
N = RNG.normal(size=(150, 3))
N /= np.linalg.norm(N, axis=1)[:, None]
P = (2 * N + [100, 200, 300]).round(6)
COLORS, INTENSITY = RNG.integers(0, 256, (150, 3)), RNG.integers(-2048, 2048, 150)


def _text(*columns: np.ndarray, head: str = "", separator: str = " ") -> str:
    text = io.StringIO()
    np.savetxt(text, np.column_stack(columns), fmt="%.6f", delimiter=separator)
    return head + text.getvalue()


def _splat() -> bytes:
    names = ("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "opacity", "scale_0", "rot_0")
    values = np.hstack((P, np.zeros((150, 7)))).astype("<f4")
    properties = "".join(f"property float {name}\n" for name in names)
    return (
        f"ply\nformat binary_little_endian 1.0\nelement vertex 150\n{properties}end_header\n".encode()
        + values.tobytes()
    )


_PCL = (
    "ply\nformat ascii 1.0\ncomment PCL generated\nelement vertex 150\nproperty float x\nproperty float y\n"
    "property float z\nproperty float normal_x\nproperty float normal_y\nproperty float normal_z\n"
    "property float curvature\nelement camera 1\nproperty float view_px\nproperty float x_axisx\nend_header\n"
)
_PARAVIEW = '"Normals:0","Normals:1","Normals:2","Points:0","Points:1","Points:2","RGB:0","RGB:1","RGB:2"\n'
_PCD = "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nDATA ascii\n"

READ: dict[str, tuple[bytes | str, bool]] = {
    "agisoft.txt": (_text(P, COLORS, N), True),
    "cloudcompare.csv": (_text(P, COLORS, N, head="//X;Y;Z;R;G;B;Nx;Ny;Nz\n", separator=";"), True),
    "cloudcompare.asc": (_text(P, INTENSITY, head="//X,Y,Z,Intensity\n", separator=","), False),
    "leica.pts": (_text(P, INTENSITY, COLORS, head="150\n").replace("\n", "\r\n"), False),
    "meshlab.xyz": (_text(P, N), True),
    "geomagic.asc": (_text(P, head="# Geomagic Studio\n").replace("\n", "\n# part\n", 2), False),
    "rhino.txt": (_text(P, separator=", "), False),
    "pcl.ply": (_text(P, N, np.zeros(150), head=_PCL) + "0 1\n", True),
    "splat.ply": (_splat(), False),
    "numbered.csv": (_text(np.arange(150), P, head="Point ID,X,Y,Z\n", separator=","), False),
    "units.csv": ("\ufeff" + _text(P, head="X [m],Y [m],Z [m]\n", separator=","), False),
    "paraview.csv": (_text(N, P, COLORS, head=_PARAVIEW, separator=","), True),
    "gps_time.txt": (_text(P, np.linspace(1e5, 1e5 + 9, 150), np.ones((150, 2))), False),
    "two_frames.txt": (_text(P, P + np.array([412_343, 5_654_321, 84])), False),
    "residuals.xyz": (_text(P, RNG.normal(scale=0.01, size=150)), False),
    "sentence.xyz": (_text(P, N, head="# x y z of the scan\n"), True),
    "decimal_comma.txt": (_text(P, COLORS, head="X\tY\tZ\tR\tG\tB\n", separator="\t").replace(".", ","), False),
}
REFUSED: dict[str, tuple[bytes | str, str]] = {
    "pcl.pcd": (_PCD + _text(P), "PCD .* not supported"),
    "pcl.xyz": (_PCD + _text(P), "Point Cloud Library"),
    "colors.csv": (_text(P, COLORS, head="x,y,z,nx,ny,nz\n", separator=","), "given as normals .* if they are colors"),
}


@pytest.mark.parametrize("name", READ)
def test_columns(name: str, tmp_path: Path) -> None:
    """Points are exact, normals are those of the file, and nothing else is taken for either."""
    content, has_normals = READ[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    table = load_points(tmp_path / name)
    np.testing.assert_allclose(table.points, P, atol=2e-5)  # float32 in binary files
    assert table.distances is None and (table.normals is not None) == has_normals
    if table.normals is not None:
        np.testing.assert_allclose(table.normals, N, atol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_reason(name: str, tmp_path: Path) -> None:
    """The file is refused, and the message says why."""
    content, reason = REFUSED[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(MeshError, match=rf"^{name}: .*{reason}"):
        load_points(tmp_path / name)


@pytest.mark.parametrize("names", [("positions", "normals"), ("xyz", "normals")])
def test_names_of_arrays(names: tuple[str, str], tmp_path: Path) -> None:
    """Archives name their points in several ways."""
    np.savez(tmp_path / "a.npz", **dict(zip(names, (P, N), strict=True)), colors=COLORS)
    table = load_points(tmp_path / "a.npz")
    np.testing.assert_array_equal(table.points, P)
    assert table.normals is not None
