"""Ray casting and sphere tracing against analytic spheres and against each other."""

import numpy as np
import pytest
import torch
import trimesh
from helpers.fields import sphere

from latentsdf.geometry.mesh_sdf.rays import ray_scene
from latentsdf.rendering.camera import Camera
from latentsdf.rendering.render import Style, cast_rays, render_field, render_mesh, tracing_cost
from latentsdf.utils.errors import ConfigError, EmptyLevelSetError, MeshError


def _ball(points: torch.Tensor) -> torch.Tensor:
    return sphere(points, 0.5)


@pytest.mark.parametrize("style", ["normals", "depth"])
def test_agreement_of_traced_and_cast_sphere(style: Style) -> None:
    """Field and mesh of the same sphere give the same normals and depths, which follow the axis convention."""
    mesh = trimesh.creation.icosphere(5, 0.5)
    traced = np.asarray(render_field(_ball, size=64, azimuth=0, elevation=0, style=style), dtype=float)
    cast = np.asarray(render_mesh(mesh, size=64, azimuth=0, elevation=0, style=style, fit=False), dtype=float)
    inner = np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 14
    assert np.abs(traced - cast)[inner].max() < 12
    if style == "normals":
        np.testing.assert_allclose(traced[31, 31], (127, 127, 255), atol=8)
        assert traced[31, 44, 0] > 220 and traced[19, 31, 1] > 220  # right is +x, up is +y
    else:
        assert traced[31, 31].min() >= traced[inner].max() - 2


def test_silhouette_and_lighting_of_shaded_sphere() -> None:
    """Pixels inside the silhouette are colored, pixels outside are white, and the top is brighter than the bottom."""
    image = np.asarray(render_field(_ball, size=64), dtype=float)
    radius = np.hypot(*(np.mgrid[:64, :64] - 31.5)) / 32
    assert (image[radius > 0.53] == 255).all() and (image[radius < 0.47] < 255).any(-1).all()
    assert image[20, 32].mean() > image[44, 32].mean() + 20


def test_hits_on_analytic_sphere() -> None:
    """Hits of a fine icosphere lie on the sphere, their normals are radial, and misses are outside the silhouette."""
    mesh = trimesh.creation.icosphere(5, 0.5)
    camera = Camera.orbit(35, 20, np.zeros(3), 1.0)
    points, normals, hit = cast_rays(ray_scene(np.asarray(mesh.triangles)), mesh, camera, 48)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.5, atol=1e-3)
    assert (normals * points).sum(1).min() > 0.49
    across = camera.rays(48)[0] + 3 * camera.forward
    np.testing.assert_array_equal(hit, np.linalg.norm(across, axis=1) < 0.4995)


def test_open_surface_from_both_sides() -> None:
    """Normals of a single triangle point toward the camera, whichever side it views."""
    triangle = trimesh.Trimesh([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0, 0.5, 0]], [[0, 1, 2]], process=False)
    front, back = (
        np.asarray(render_mesh(triangle, size=16, azimuth=a, elevation=0, style="normals", fit=False)) for a in (0, 180)
    )
    np.testing.assert_array_equal(front[8, 8], (128, 128, 255))
    np.testing.assert_array_equal(back[8, 8], (128, 128, 0))


def test_darkening_of_occluded_corner() -> None:
    """Ambient occlusion darkens the inner corner of two plates, compared with the same plate alone."""
    floor = trimesh.creation.box((1.6, 0.02, 1.6)).apply_translation((0, -0.3, 0))
    wall = trimesh.creation.box((0.02, 1.0, 1.6)).apply_translation((-0.3, 0.2, 0))
    alone, beside = (
        np.asarray(render_mesh(mesh, size=64, azimuth=0, elevation=60, fit=False), dtype=float)
        for mesh in (floor, trimesh.util.concatenate([floor, wall]))
    )
    assert beside[40, 26].mean() < alone[40, 26].mean() - 5
    both = trimesh.util.concatenate([floor, wall])
    without = np.asarray(render_mesh(both, size=64, azimuth=0, elevation=60, fit=False, occlusion=False), dtype=float)
    assert without[40, 26].mean() > alone[40, 26].mean() - 1


def test_tracing_steps_by_slope() -> None:
    """An exact distance takes log steps head on, an underestimate takes more, and a constant field never finishes."""
    exact = tracing_cost(_ball, size=65, azimuth=0, elevation=0)
    # Head on, 0.5 * 0.2^n falls below 1e-3 at the fifth evaluation.
    assert np.asarray(exact.image)[32, 32] == int(255 * (1 - 5 / 64))
    flat = tracing_cost(lambda points: 0.3 * _ball(points), size=65, azimuth=0, elevation=0)
    assert exact.mean < 0.5 * flat.mean and exact.p95 < flat.p95 and exact.unfinished == flat.unfinished == 0
    stuck = tracing_cost(lambda points: torch.full_like(points[:, 0], 2e-3), size=16)
    assert stuck.unfinished == 1 and np.asarray(stuck.image).min() == 0


def test_empty_scenes() -> None:
    """A field without a surface and a mesh without visible faces raise errors that name the reason."""
    with pytest.raises(EmptyLevelSetError, match="no ray meets a surface"):
        render_field(lambda points: sphere(points, -1.0), size=8)
    with pytest.raises(MeshError, match="without faces"):
        render_mesh(trimesh.Trimesh())
    with pytest.raises(MeshError, match="no part of the mesh is in view"):
        render_mesh(trimesh.creation.icosphere(1).apply_translation((9, 0, 0)), fit=False, size=16)


@pytest.mark.usefixtures("without_shape_checks")
def test_invalid_size_and_style() -> None:
    """Both renderers name the accepted styles and the smallest size."""
    mesh = trimesh.creation.icosphere(1)
    for render in (lambda **k: render_field(_ball, **k), lambda **k: render_mesh(mesh, **k)):
        with pytest.raises(ConfigError, match="style must be one of shaded, normals, depth, got 'wire'"):
            render(style="wire")
        with pytest.raises(ConfigError, match="at least 1 pixel, got size 0"):
            render(size=0)
