"""Errors at vertices, their colors, and GLB files with both normals and colors."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.metrics.vertex_errors import color_scale, error_colors, vertex_errors, with_error_colors


def test_distances_to_concentric_sphere() -> None:
    """Vertices of a sphere are as far from a concentric one as their radii differ."""
    fine = trimesh.creation.icosphere(5, 0.5)
    errors = vertex_errors(trimesh.creation.icosphere(2, 0.53), fine)
    np.testing.assert_allclose(errors, 0.03, atol=1e-3)


def test_colors() -> None:
    """Colors go from blue gray at 0 to dark red at the limit and beyond, and are opaque."""
    colors = error_colors(np.array([0.0, 0.01, 0.02, 5.0]), limit=0.02)
    assert colors[0].tolist() == [106, 137, 167, 255] and colors[2].tolist() == colors[3].tolist() == [150, 20, 40, 255]
    assert (colors[:, 3] == 255).all() and colors[1].tolist() not in (colors[0].tolist(), colors[2].tolist())
    assert color_scale().startswith("linear-gradient(to right, rgb(106,137,167), ")
    assert color_scale().endswith(", rgb(150,20,40))")


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_written_file(offset: float, tmp_path: Path) -> None:
    """A GLB file has vertex normals and colors, also far from the origin."""
    ball = trimesh.creation.icosphere(2, 0.5).apply_translation((offset, 0, 0))
    errors = np.linspace(0, 0.02, len(ball.vertices))
    meshes.save(with_error_colors(ball, errors), tmp_path / "ball.glb")
    (read,) = trimesh.load_scene(tmp_path / "ball.glb", process=False).geometry.values()
    assert "vertex_normals" in read._cache
    np.testing.assert_allclose(read.vertex_normals, ball.vertex_normals, atol=1e-5)
    np.testing.assert_array_equal(read.visual.vertex_colors, error_colors(errors))
