"""Frames of published methods, on a box of known size."""

import numpy as np
import pytest
import trimesh

from latentsdf.config.reconstruction import CloudNormalization
from latentsdf.geometry.pointcloud.published_frames import published_frame
from latentsdf.reconstruction.presets import preset


def _box() -> np.ndarray:
    """Lattice points (N, 3) on the surface of the box [1, 5] x [-1, 1] x [2, 3], whose mean is its center."""
    mesh = trimesh.creation.box(extents=(4, 2, 1))
    for _ in range(4):
        mesh = mesh.subdivide()
    return np.asarray(mesh.vertices) + np.array([3, 0, 2.5])


@pytest.mark.parametrize(
    ("name", "half_sides"),
    [("sphere", (2, 1, 0.5)), ("mean", (1, 0.5, 0.25)), ("minmax", (1, 0.5, 0.25))],
)
def test_size_of_box(name: CloudNormalization, half_sides: tuple[float, ...]) -> None:
    """The longest half side becomes 1 in the frames that bound coordinates; `sphere` keeps model space."""
    points = _box()
    moved = published_frame(points, name).to_model(points)
    center = np.array([3, 0, 2.5]) if name == "sphere" else np.zeros(3)
    assert np.ptp(moved, axis=0) / 2 == pytest.approx(half_sides)
    assert (moved.max(0) + moved.min(0)) / 2 == pytest.approx(center)


def test_quantile_frame() -> None:
    """HotSpot scales 70 % of the points to a radius of 0.45, but no coordinate beyond 1."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(10_000, 3))
    sphere = 7 * directions / np.linalg.norm(directions, axis=1, keepdims=True) + [5, -2, 1]
    moved = published_frame(sphere, "mean_quantile").to_model(sphere)
    assert np.linalg.norm(moved, axis=1) == pytest.approx(0.45, rel=0.03)
    spike = np.concatenate((sphere, [[5 + 70, -2, 1]]))
    moved = published_frame(spike, "mean_quantile").to_model(spike)
    assert np.abs(moved).max() == pytest.approx(1)


def test_minmax_frame_of_uneven_cloud() -> None:
    """SIREN moves the extreme coordinates of all axes to -1 and 1, by the same shift on every axis."""
    points = np.array([[0.0, 0, 0], [0, 0, 0], [0, 0, 0], [8, 0, 0]])
    moved = published_frame(points, "minmax").to_model(points)
    # The mean is (2, 0, 0), so that coordinates span -2 to 6, with middle 2.
    assert moved == pytest.approx(np.array([[-1, -0.5, -0.5]] * 3 + [[1, -0.5, -0.5]]))


def test_frames_of_published_presets() -> None:
    """Published settings in 3D use the frame of their release; IGR and the medial axis have none."""
    methods = ("digs", "steik", "nsh", "hotspot", "siren", "igr", "sal", "heat_sdf", "medial_axis")
    frames = {method: preset(method, 3, True).normalization for method in methods}
    assert frames == {
        "digs": "mean",
        "steik": "mean",
        "nsh": "mean",
        "hotspot": "mean_quantile",
        "siren": "minmax",
        "igr": "sphere",
        "sal": "mean",
        "heat_sdf": "minmax",
        "medial_axis": "sphere",
    }
