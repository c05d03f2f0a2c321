"""Metric definitions on shapes with known answers (TABLES 6)."""

import math

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.metrics import cd_l1_half, cd_sq_sum, compare, f_score, sample_surface


def _plate(height: float) -> trimesh.Trimesh:
    vertices = [[-0.5, height, -0.5], [0.5, height, -0.5], [0.5, height, 0.5], [-0.5, height, 0.5]]
    return trimesh.Trimesh(vertices, [[0, 2, 1], [0, 3, 2]], process=False)


def test_definitions_on_distances() -> None:
    a, b = np.array([0.1, 0.3]), np.array([0.2])
    assert math.isclose(cd_sq_sum(a, b), 0.05 + 0.04)
    assert math.isclose(cd_l1_half(a, b), 0.2)
    assert math.isclose(f_score(a, b, 0.25), 2 * 0.5 * 1 / 1.5)
    assert f_score(a, b, 0.01) == 0.0


def test_two_parallel_plates_at_a_distance() -> None:
    t = 0.1
    result = compare(_plate(t), _plate(0.0), n=60_000)
    assert math.isclose(result.to_reference_mean, t, rel_tol=1e-9)
    assert math.isclose(result.to_reconstruction_mean, t, rel_tol=1e-9)
    assert math.isclose(result.triangle_max, t, rel_tol=1e-9)
    assert math.isclose(result.cd_l1_half, t, rel_tol=5e-3)
    assert math.isclose(result.cd_sq_sum, 2 * t * t, rel_tol=5e-3)
    assert math.isclose(result.hausdorff, t, rel_tol=2e-2)
    assert result.f_score_002 == 0.0 and math.isclose(result.normal_consistency, 1.0)


def test_the_floor_is_the_expected_one_and_a_perfect_copy_reaches_it() -> None:
    sphere = trimesh.creation.icosphere(5, 0.7)
    n = 30_000
    result = compare(sphere, sphere, n=n)
    assert math.isclose(result.floor_cd_sq_sum, 2 * sphere.area / (math.pi * n), rel_tol=0.02)
    assert math.isclose(result.floor_cd_l1_half, 0.5 * math.sqrt(sphere.area / n), rel_tol=0.02)
    assert math.isclose(result.cd_sq_sum, result.floor_cd_sq_sum, rel_tol=0.03)
    assert result.to_reference_mean < 1e-9 and result.f_score_002 > 0.99


@pytest.mark.parametrize("radius", [0.5, 0.6])
def test_concentric_spheres(radius: float) -> None:
    reference = trimesh.creation.icosphere(5, 0.55)
    result = compare(trimesh.creation.icosphere(5, radius), reference, n=20_000)
    assert math.isclose(result.to_reference_mean, 0.05, rel_tol=0.01)


def test_samples_are_reproducible_and_area_weighted() -> None:
    box = trimesh.creation.box((1, 1, 3))
    first, again = sample_surface(box, 20_000, 3), sample_surface(box, 20_000, 3)
    assert np.array_equal(first.points, again.points)
    caps = (np.abs(first.normals[:, 2]) > 0.5).mean()
    assert abs(caps - 2 / 14) < 0.01
