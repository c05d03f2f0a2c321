"""Comparison of meshes, functions and fields."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import trimesh
from helpers.fields import sphere

import latentsdf as ls
from latentsdf.geometry.similarity import Similarity

BALL = trimesh.creation.icosphere(3, 0.7)


def test_concentric_balls() -> None:
    """Similar meshes with parallel faces have the distance of their planes, and are not missing anything."""
    larger = trimesh.Trimesh(BALL.vertices * (0.71 / 0.7), BALL.faces, process=False)
    found = ls.metrics(larger, BALL, points=2000, taus=(0.005, 0.02))
    height = (BALL.face_normals * BALL.triangles_center).sum(axis=1)
    assert found.triangle_mean == pytest.approx(height.mean() * 0.01 / 0.7, rel=0.01)
    assert found.pieces == 1 and found.missing == 0
    assert ls.metrics(BALL, BALL, points=500).triangle_mean < 1e-6


def test_field_and_mesh() -> None:
    """The surface of a function is extracted at the given resolution, up to the error of its cells."""
    for shapes in ((sphere, BALL), (BALL, sphere)):
        found = ls.metrics(*shapes, resolution=16, points=500)
        assert 0 < found.triangle_mean < (1 / 16) ** 2 * 4 and found.pieces == 1


def test_seed_and_number_of_points() -> None:
    """The seed determines the samples, and with them the result."""
    box = trimesh.creation.box((1, 1, 1))
    first, again, other = (ls.metrics(box, BALL, points=300, seed=seed).triangle_mean for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("shapes", "settings", "error", "message"),
    [
        (("chair.ply", BALL), {}, FileNotFoundError, "chair.ply: no such file"),
        ((3, BALL), {}, ls.LatentSDFError, "got int 3"),
        ((BALL, trimesh.Trimesh()), {}, ls.MeshError, "no surface|no faces|empty"),
        ((lambda points: points.norm(dim=1) + 1, BALL), {"resolution": 16}, ls.EmptyLevelSetError, "no surface"),
        (
            (BALL, BALL),
            {"taus": (0.0,)},
            ls.ConfigError,
            "thresholds of the F-score must be above 0 and below 1, got 0",
        ),
        ((BALL, BALL), {"points": 0}, ls.ConfigError, "points"),
        ((BALL, BALL), {"against": "faces"}, ls.ConfigError, "against"),
    ],
)
def test_invalid_arguments(shapes: Any, settings: Any, error: type[Exception], message: str) -> None:
    """Missing files, other objects, shapes without a surface and invalid settings are refused."""
    with pytest.raises(error, match=message):
        ls.metrics(*shapes, **settings)


@pytest.mark.slow
def test_any_shape() -> None:
    """Meshes, functions and combined fields are compared alike, in boxes of any place and size.

    Slow: ten surfaces are extracted on lattices of 64 cells.
    """
    ball = trimesh.creation.icosphere(4, 0.7)
    for shape in (sphere, ls.union(sphere, lambda points: points.norm(dim=1) - 0.2), ball):
        found = ls.metrics(shape, ball, resolution=64, points=5000)
        assert found.triangle_mean < 0.003 and found.pieces == 1 and found.missing == 0
    apart = ls.metrics(ls.offset(ball, 0.1), sphere, resolution=64, points=5000)
    assert apart.triangle_mean == pytest.approx(0.1, abs=0.003)
    far = ls.union(sphere, lambda points: (points - torch.tensor([9.0, 0, 0])).norm(dim=1) - 0.5)
    box = replace(far, domain=Similarity((4.5, 0.0, 0.0), 1 / 5.5))
    assert ls.metrics(box, box, resolution=64, points=500).pieces == 2
