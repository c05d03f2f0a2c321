"""Oriented point clouds and their approximate signed distance."""

import math

import numpy as np
import pytest
import trimesh
from helpers.points import circle_points, sphere_points

from latentsdf.geometry.pointcloud.orientation import OrientedPointCloud


@pytest.mark.slow
def test_nested_circles() -> None:
    """Nested circles alternate in orientation, and the signed distance between them matches the closed form."""
    radii = (0.9, 0.6, 0.3)
    points = np.concatenate([circle_points(round(3000 * r), r, n) for n, r in enumerate(radii)])
    cloud = OrientedPointCloud(points)
    outward = (cloud.normals * points).sum(1) / np.linalg.norm(points, axis=1)
    ring = np.abs(np.linalg.norm(points, axis=1)[:, None] - radii).argmin(1)
    assert (outward[ring != 1] > 0.99).all() and (outward[ring == 1] < -0.99).all()
    along = np.stack((np.linspace(0, 1.2, 25), np.zeros(25)), axis=1)
    x = along[:, 0]
    exact = np.max([np.min([x - 0.9, 1e9 * np.ones(25)], axis=0), np.minimum(0.6 - x, x - 0.3)], axis=0)
    assert np.abs(cloud.signed_distance(along) - exact).max() < 5e-3


@pytest.mark.slow
def test_star_with_sharp_corners() -> None:
    """Sharp corners do not invert the orientation of the curve behind them."""
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


def test_torus_with_cavity() -> None:
    """Normals point out of a torus and into its spherical cavity; the signed distance matches the closed form."""
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


def test_given_normals() -> None:
    """Normals passed by the caller are kept, even if they point inward."""
    points = sphere_points(2000)
    cloud = OrientedPointCloud(points, -points / 0.8)
    assert np.allclose(cloud.normals, -points / 0.8)
    assert cloud.signed_distance(np.zeros((1, 3)))[0] > 0.7


def test_sphere_area() -> None:
    """The areas of the points sum to the area of the sphere."""
    cloud = OrientedPointCloud(sphere_points(5000))
    assert math.isclose(cloud.area.sum(), 4 * math.pi * 0.64, rel_tol=0.12)
