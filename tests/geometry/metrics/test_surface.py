"""Metrics of surfaces with known distances."""

import math

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.metrics.surface import (
    Reference,
    cd_l1_half,
    compare_surfaces,
    f_score,
    f_score_name,
    harmonic_mean,
    nearest_distances,
    sample_surface,
    share_within,
)
from latentsdf.utils.errors import ConfigError


def _plate(height: float) -> trimesh.Trimesh:
    vertices = [[-0.5, height, -0.5], [0.5, height, -0.5], [0.5, height, 0.5], [-0.5, height, 0.5]]
    return trimesh.Trimesh(vertices, [[0, 2, 1], [0, 3, 2]], process=False)


def test_metric_definitions() -> None:
    """Metrics of three given distances match their formulas."""
    a, b = np.array([0.1, 0.3]), np.array([0.2])
    expected = {
        "cd_sq_sum": 0.05 + 0.04,
        "cd_sq_half": 0.045,
        "cd_l1_sum": 0.4,
        "cd_l1_half": 0.2,
        "nearest_to_reference": 0.2,
        "nearest_to_reconstruction": 0.2,
        "hausdorff_to_reference": 0.3,
        "hausdorff_to_reconstruction": 0.2,
        "hausdorff": 0.3,
        "hausdorff_95": 0.29,  # between 0.1 and 0.3, at 95 %
    }
    assert nearest_distances(a, b).as_dict() == pytest.approx(expected)
    assert nearest_distances(b, np.array([0.5])).to_reconstruction == 0.5 and math.isclose(cd_l1_half(a, b), 0.2)
    assert math.isclose(f_score(a, b, 0.25), 2 * 0.5 * 1 / 1.5)
    assert f_score(a, b, 0.01) == 0.0 and share_within(a, 0.3) == 0.5 and harmonic_mean(0.0, 0.0) == 0.0


def test_parallel_plates() -> None:
    """All distances between parallel plates equal their separation."""
    t = 0.1
    result = compare_surfaces(_plate(t), _plate(0.0), count=60_000)
    assert math.isclose(result.to_reference_mean, t, rel_tol=1e-9)
    assert math.isclose(result.to_reconstruction_mean, t, rel_tol=1e-9)
    assert math.isclose(result.triangle_max, t, rel_tol=1e-9)
    assert math.isclose(result.nearest.cd_l1_half, t, rel_tol=5e-3)
    assert math.isclose(result.nearest.cd_sq_sum, 2 * t * t, rel_tol=5e-3)
    assert math.isclose(result.nearest.hausdorff, t, rel_tol=2e-2)
    assert result.f_scores[0.01] == 0.0 and math.isclose(result.normal_consistency, 1.0)


def test_precision_and_recall() -> None:
    """A quarter of a plate is precise and recalls a quarter, within the threshold of its border."""
    quarter = _plate(0.0)
    quarter.vertices = quarter.vertices * 0.5
    result = compare_surfaces(quarter, _plate(0.0), count=20_000, taus=(0.01,))
    assert result.precisions == {0.01: 1.0}
    share = 0.25 + 4 * 0.5 * 0.01
    assert result.recalls[0.01] == pytest.approx(share, abs=0.01)
    figures = result.as_dict()
    assert figures["precision_0.01"] == 1.0 and figures["recall_0.01"] == result.recalls[0.01]
    assert figures["f_score_0.01"] == pytest.approx(2 * share / (1 + share), abs=0.01)
    assert figures["hausdorff"] == figures["hausdorff_to_reconstruction"] > 0.3 > figures["hausdorff_to_reference"]


def test_sampling_floor() -> None:
    """The sampling floor matches its expectation, and a perfect copy reaches it."""
    sphere = trimesh.creation.icosphere(5, 0.7)
    n = 30_000
    result = compare_surfaces(sphere, sphere, count=n)
    figures = result.as_dict()
    squared, distance = sphere.area / (math.pi * n), 0.5 * math.sqrt(sphere.area / n)
    expected = {"cd_sq_sum": 2 * squared, "cd_sq_half": squared, "cd_l1_sum": 2 * distance, "cd_l1_half": distance}
    expected |= {"nearest_to_reference": distance, "nearest_to_reconstruction": distance}
    # The 95th percentile of nearest distances, which have the density 2 pi n r exp(-pi n r^2 / A) / A.
    expected["hausdorff_95"] = math.sqrt(math.log(20) * squared)
    assert {name: figures[f"floor_{name}"] for name in expected} == pytest.approx(expected, rel=0.03)
    assert {name: figures[name] for name in expected} == pytest.approx(expected, rel=0.03)
    assert expected["hausdorff_95"] < figures["floor_hausdorff"] < 3 * expected["hausdorff_95"]
    assert result.to_reference_mean < 1e-9 and result.f_scores[0.005] == 1.0


@pytest.mark.parametrize("radius", [0.5, 0.6])
@pytest.mark.parametrize("against", ["samples", "vertices"])
def test_concentric_spheres(radius: float, against: Reference) -> None:
    """Distances between concentric spheres equal the difference of their radii."""
    reference = trimesh.creation.icosphere(5, 0.55)
    result = compare_surfaces(
        trimesh.creation.icosphere(5, radius), reference, 20_000, taus=(0.04, 0.06), against=against
    )
    assert math.isclose(result.to_reference_mean, 0.05, rel_tol=0.01)
    figures = result.as_dict()
    for name, expected in (("cd_sq_half", 0.05**2), ("cd_l1_half", 0.05), ("hausdorff_95", 0.05)):
        assert figures[name] == pytest.approx(expected, rel=0.08)
    assert figures["hausdorff_95"] < figures["hausdorff"] < 0.07
    assert figures["f_score_0.04"] == 0 and figures["f_score_0.06"] > 0.999 and "f_score_0.02" not in figures


def test_reference_vertices() -> None:
    """With `vertices`, only vertices of faces of the reference are compared, as a dense distance matrix confirms."""
    sphere = trimesh.creation.icosphere(2, 0.55)
    loose = trimesh.Trimesh(np.vstack((sphere.vertices, [[9.0, 9.0, 9.0]])), sphere.faces, process=False)
    ours = sample_surface(sphere, 500, 0).points
    apart = np.linalg.norm(ours[:, None] - np.asarray(sphere.vertices), axis=-1)
    result = compare_surfaces(sphere, loose, 500, against="vertices")
    assert result.nearest == nearest_distances(apart.min(1), apart.min(0))
    again = np.linalg.norm(sample_surface(sphere, 500, 2).points[:, None] - np.asarray(sphere.vertices), axis=-1)
    assert result.floor.as_dict() == pytest.approx(nearest_distances(again.min(1), again.min(0)).as_dict())


@pytest.mark.parametrize("tau", [0.0, 1.0, math.nan])
def test_invalid_threshold(tau: float) -> None:
    """Thresholds of the F-score outside (0, 1) are rejected."""
    with pytest.raises(ConfigError, match="thresholds of the F-score must be above 0 and below 1"):
        compare_surfaces(_plate(0.0), _plate(0.0), 10, taus=(0.5, tau))


def test_surface_samples() -> None:
    """Equal seeds give equal samples, and samples are uniform by area."""
    box = trimesh.creation.box((1, 1, 3))
    first, again = sample_surface(box, 20_000, 3), sample_surface(box, 20_000, 3)
    assert np.array_equal(first.points, again.points)
    caps = (np.abs(first.normals[:, 2]) > 0.5).mean()
    assert abs(caps - 2 / 14) < 0.01


def test_report_names() -> None:
    """Reports name F-scores by their threshold and repeat the point-to-point metrics with the prefix `floor_`."""
    assert [f_score_name(tau) for tau in (0.02, 0.005, 1e-5)] == ["f_score_0.02", "f_score_0.005", "f_score_0.00001"]
    result = compare_surfaces(_plate(0.0), _plate(0.0), 100, taus=(0.5,))
    nearest = result.nearest.as_dict()
    others = {"f_score_0.5", "missing", "debris", "pieces", "reference_pieces", "normal_consistency", "triangle_mean"}
    others |= {"to_reference_mean", "to_reconstruction_mean", "triangle_max", "precision_0.5", "recall_0.5"}
    assert set(result.as_dict()) == set(nearest) | {f"floor_{name}" for name in nearest} | others
    assert result.over_floor == result.nearest.cd_sq_sum / result.floor.cd_sq_sum
