"""Raw clouds: what is refused, how they are oriented, and the first signed distance."""

import math

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.pointcloud.orientation import OrientedPointCloud
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.geometry.pointcloud.poisson_indicator import PoissonIndicator
from latentsdf.utils.errors import MeshError


def _circle(count: int, radius: float, seed: int = 0) -> np.ndarray:
    angle = np.random.default_rng(seed).uniform(0, 2 * math.pi, count)
    return radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)


def _sphere(count: int, radius: float = 0.8) -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(count, 3))
    return radius * points / np.linalg.norm(points, axis=1, keepdims=True)


def test_a_cloud_is_brought_to_model_space_and_back() -> None:
    for points in (_circle(500, 30.0) + 7, _sphere(500, 0.01) - 3):
        cloud = prepare_point_cloud(points, points)
        assert cloud.dim == points.shape[1]
        assert math.isclose(np.linalg.norm(cloud.points, axis=1).max(), 1 / 1.03, rel_tol=0.02)
        assert np.allclose(cloud.similarity.to_user(cloud.points), points)
        assert cloud.normals is not None and np.allclose(np.linalg.norm(cloud.normals, axis=1), 1)


def test_six_columns_are_points_and_normals_and_copies_are_dropped() -> None:
    points = _sphere(300)
    table = np.hstack((points, 2 * points))
    cloud = prepare_point_cloud(np.concatenate((table, table[:50])))
    assert len(cloud.points) == 300
    assert cloud.normals is not None and np.allclose(cloud.normals, points / 0.8)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (_sphere(99), "99 points say too little"),
        (np.zeros((500, 3)), "points that coincide"),
        (np.repeat(_sphere(120), 5, axis=0), "120 of 600 points are different"),
        (np.where(np.arange(600).reshape(200, 3) == 7, np.nan, 1.0), "1 of 200 points are not finite"),
        (np.linspace(0, 1, 200)[:, None] * (1, 2, 3) + 5, "lie on a line"),
        (np.linspace(0, 1, 200)[:, None] * (1, 2), "lie on a line"),
        (_sphere(200) * 1e-9 + 1, "leave no digits"),
        (_sphere(200) * 1e12, "no unit of length explains"),
        (np.zeros((200, 4)), "signed samples"),
        (np.full((200, 3), "a"), "expected a table of real numbers"),
        (_sphere(200).astype(complex), "real numbers, .* of complex128"),
        (np.zeros((200, 5)), "got shape"),
        (np.zeros(200), "got shape"),
        ([[1, 2, 3], [1, 2]], "rows differ in length"),
    ],
)
def test_unusable_clouds_are_refused_by_name(points: np.ndarray, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        prepare_point_cloud(points)


def test_unusable_normals_are_refused_by_name() -> None:
    points = _sphere(200)
    with pytest.raises(MeshError, match="shape of the points"):
        prepare_point_cloud(points, points[:100])
    some = np.where(np.arange(200)[:, None] < 3, 0, points)
    for call in (lambda: prepare_point_cloud(points, some), lambda: prepare_point_cloud(np.hstack((points, some)))):
        with pytest.raises(MeshError, match="3 of 200 normals are not finite or have length 0"):
            call()


def test_a_plane_of_points_is_no_line() -> None:
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 50), np.linspace(0, 1e-3, 4)), axis=-1).reshape(-1, 2)
    assert len(prepare_point_cloud(grid).points) == 200
    assert len(prepare_point_cloud(np.hstack((grid, np.zeros((200, 1))))).points) == 200


@pytest.mark.parametrize("dim", [2, 3])
def test_the_indicator_of_a_ball_jumps_by_1(dim: int) -> None:
    points = _circle(4000, 0.6) if dim == 2 else _sphere(8000, 0.6)
    area = 2 * math.pi * 0.6 / 4000 if dim == 2 else 4 * math.pi * 0.36 / 8000
    chi = PoissonIndicator(points, points / 0.6 * area, 64, 1.25)
    inside, outside = chi(0.4 * points), chi(1.6 * points)
    assert np.allclose(outside.mean() - inside.mean(), 1, atol=0.02)
    assert (inside < -0.3).all() and (outside > 0.3).all()


def test_nested_circles_are_oriented_by_crossings() -> None:
    radii = (0.9, 0.6, 0.3)
    points = np.concatenate([_circle(round(3000 * r), r, n) for n, r in enumerate(radii)])
    cloud = OrientedPointCloud(points)
    outward = (cloud.normals * points).sum(1) / np.linalg.norm(points, axis=1)
    ring = np.abs(np.linalg.norm(points, axis=1)[:, None] - radii).argmin(1)
    assert (outward[ring != 1] > 0.99).all() and (outward[ring == 1] < -0.99).all()
    along = np.stack((np.linspace(0, 1.2, 25), np.zeros(25)), axis=1)
    x = along[:, 0]
    exact = np.max([np.min([x - 0.9, 1e9 * np.ones(25)], axis=0), np.minimum(0.6 - x, x - 0.3)], axis=0)
    assert np.abs(cloud.signed_distance(along) - exact).max() < 5e-3


def test_sharp_corners_do_not_turn_a_planar_cloud_over() -> None:
    rng = np.random.default_rng(0)
    tips = np.stack(
        [(r * math.cos(a), r * math.sin(a)) for a, r in zip(np.arange(10) * math.pi / 5, [0.9, 0.25] * 5, strict=True)]
    )
    start, end = tips, np.roll(tips, -1, axis=0)
    share = rng.uniform(size=(300, 10, 1))
    points = (start + share * (end - start)).reshape(-1, 2)
    edge = end - start
    normals = np.broadcast_to(np.stack((edge[:, 1], -edge[:, 0]), axis=1), (300, 10, 2)).reshape(-1, 2)
    cloud = OrientedPointCloud(points)
    assert ((cloud.normals * normals).sum(1) > 0).mean() > 0.98


def test_a_solid_cloud_gets_outward_normals_and_a_distance() -> None:
    torus = trimesh.creation.torus(0.65, 0.25)
    inner = trimesh.creation.icosphere(3, 0.12).apply_translation((0.65, 0, 0))
    outer_points, faces = trimesh.sample.sample_surface(torus, 6000, seed=0)
    inner_points = trimesh.sample.sample_surface(inner, 600, seed=0)[0]
    points = np.concatenate((outer_points, inner_points))
    cloud = OrientedPointCloud(points)
    assert ((cloud.normals[:6000] * torus.face_normals[faces]).sum(1) > 0.9).mean() > 0.99
    hollow = cloud.normals[6000:] * (points[6000:] - (0.65, 0, 0))
    assert (hollow.sum(1) < 0).all()
    probes = np.random.default_rng(1).uniform(-1, 1, (2000, 3))
    ring = np.hypot(np.hypot(probes[:, 0], probes[:, 1]) - 0.65, probes[:, 2]) - 0.25
    hole = 0.12 - np.linalg.norm(probes - (0.65, 0, 0), axis=1)
    exact = np.maximum(ring, hole)
    found = cloud.signed_distance(probes)
    clear = np.abs(exact) > 0.03
    assert (np.sign(found) == np.sign(exact))[clear].all()
    assert np.abs(found - exact).max() < 0.04


def test_given_normals_are_kept() -> None:
    points = _sphere(2000)
    cloud = OrientedPointCloud(points, -points / 0.8)
    assert np.allclose(cloud.normals, -points / 0.8)
    assert cloud.signed_distance(np.zeros((1, 3)))[0] > 0.7
