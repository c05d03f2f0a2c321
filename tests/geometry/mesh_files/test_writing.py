"""Digits and normals of written meshes."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.mesh import load, save
from latentsdf.geometry.mesh_files.writing import write


@pytest.mark.parametrize(
    ("kind", "near", "far"),
    [("ply", b"property float x", b"property double x"), ("stl", b"\x0c\x00\x00\x00", b"solid")],
)
def test_precision_as_needed(kind: str, near: bytes, far: bytes, tmp_path: Path) -> None:
    """A box at the origin is stored in single precision, and one that would lose digits far away is not."""
    for shift, expected, other in ((0.0, near, far), (5e6 + 0.1, far, near)):
        box = trimesh.creation.box((1, 1, 1)).apply_translation((shift, 0, 0))
        write(box, tmp_path / "box", kind)
        content = (tmp_path / "box").read_bytes()
        assert expected in content and other not in content


@pytest.mark.parametrize(("kind", "usual"), [("obj", 9), ("off", 10)])
def test_decimals_of_text(kind: str, usual: int, tmp_path: Path) -> None:
    """Coordinates in text have nine digits of the extent, and not fewer decimals than the format usually has."""
    for scale, decimals in ((1.0, usual), (1e-6, 15), (1e3, {"obj": 8}.get(kind, usual))):
        write(trimesh.creation.box((scale, scale, scale)), tmp_path / "box", kind)
        words = (tmp_path / "box").read_text().split()
        assert max(len(word.partition(".")[2]) for word in words if word.startswith("0.") or "00." in word) == decimals


def test_empty_mesh(tmp_path: Path) -> None:
    """A mesh without vertices, which has no extent, is written."""
    write(trimesh.Trimesh(), tmp_path / "none", "ply")
    assert b"element vertex 0" in (tmp_path / "none").read_bytes()


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".stl", ".off", ".glb"])
@pytest.mark.parametrize(("offset", "size"), [((412343.1, 5654321.2, 84.3), 1.0), ((0, 0, 0), 1e-9), ((0, 0, 0), 1e8)])
def test_saved_digits(suffix: str, offset: tuple[float, float, float], size: float, tmp_path: Path) -> None:
    """Meshes far from the origin, tiny and huge ones keep 6 digits of their extent in every format."""
    ball = trimesh.creation.icosphere(3)
    vertices = size * ball.vertices + offset
    path = tmp_path / f"ball{suffix}"
    save(trimesh.Trimesh(vertices, ball.faces, process=False), path)
    for back in (load(path), trimesh.load_mesh(path, process=False)):
        corners = np.asarray(back.vertices)[back.faces]
        np.testing.assert_allclose(corners, vertices[ball.faces], atol=1e-6 * size)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_saved_normals_far_from_the_origin(suffix: str, tmp_path: Path) -> None:
    """Vertex normals that a mesh has are written beside coordinates of many digits, too."""
    ball = trimesh.creation.icosphere(2)
    moved = trimesh.Trimesh(ball.vertices + 5e6, ball.faces, vertex_normals=ball.vertices, process=False)
    save(moved, tmp_path / f"ball{suffix}")
    (back,) = trimesh.load_scene(tmp_path / f"ball{suffix}", process=False).geometry.values()
    np.testing.assert_allclose(back.vertex_normals, ball.vertices, atol=1e-5)
