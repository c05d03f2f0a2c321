"""`latentsdf render`: shapes, sheets, and meshes by both methods."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from latentsdf import cli
from latentsdf.geometry.mesh import save


def _size(image: Path) -> tuple[int, int]:
    with Image.open(image) as opened:
        return opened.size


@pytest.mark.slow
def test_traced_and_cast_mesh(space_path: Path, tmp_path: Path) -> None:
    """Sphere tracing and ray casting of a mesh give nearly the same image."""
    save(trimesh.creation.torus(0.6, 0.25), tmp_path / "torus.ply")
    render = ["render", str(space_path), "--mesh", str(tmp_path / "torus.ply"), "--style", "normals", "--size", "48"]
    cast, traced = tmp_path / "cast.png", tmp_path / "traced.png"
    assert cli.main([*render, "--device", "cpu", "--out", str(cast)]) == 0
    assert cli.main([*render, "--device", "cpu", "--trace", "--out", str(traced)]) == 0
    one, other = (np.asarray(Image.open(file), dtype=int) for file in (cast, traced))
    assert not np.array_equal(one, other)
    assert (np.abs(one - other).max(axis=-1) > 60).mean() < 0.05 and (one != 255).any(axis=-1).mean() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("style", ["normals", "slice"])
@pytest.mark.parametrize("source", ["--id", "--mesh"])
def test_styles(source: str, style: str, space_path: Path, tmp_path: Path) -> None:
    """A training shape and a mesh are rendered in every style."""
    save(trimesh.creation.box((1, 0.5, 0.3)), tmp_path / "box.glb")
    shape, out = {"--id": "table_0000", "--mesh": str(tmp_path / "box.glb")}[source], tmp_path / "out.png"
    args = ["render", str(space_path), source, shape, "--style", style, "--size", "32", "--out", str(out)]
    assert cli.main([*args, "--device", "cpu"]) == 0 and _size(out) == (32, 32)


@pytest.mark.slow
def test_sheets(trained_space_path: Path, tmp_path: Path) -> None:
    """Several shapes are arranged on a sheet with captions."""
    image = [
        "render",
        str(trained_space_path),
        "--size",
        "32",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "sheet.png"),
        "--id",
    ]
    for count, size in ((2, (64, 51)), (3, (64, 102))):
        assert cli.main([*image, *(f"table_000{i}" for i in range(count))]) == 0
        assert _size(tmp_path / "sheet.png") == size
    assert cli.main([*image, "table_0000", "nobody"]) == 2
    assert cli.main([*image, "table_0000", "--trace"]) == 2
