"""Inversion: derivatives against autograd and differences, what clouds say, placements, parts, bad input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from conftest import SMALL_MODEL

import latentsdf as ls
from latentsdf.bounds import bounds
from latentsdf.config import BranchConfig, Conditioning, InvertConfig
from latentsdf.gauss_newton import MOTIONS, Samples, Solver
from latentsdf.geometry.furniture import furniture
from latentsdf.geometry.mesh import Similarity, normalize
from latentsdf.geometry.metrics import compare
from latentsdf.model.field import LatentSDF
from latentsdf.model.jacobian import linearize
from latentsdf.observation import observe
from latentsdf.prior import CodePrior
from latentsdf.space import ShapeSpace

FAST = InvertConfig(steps=20, starts=2, points=1024)


@pytest.fixture(scope="module")
def space(space_path: Path) -> ShapeSpace:
    return ls.load(space_path, device="cpu")


def _model(conditioning: Conditioning, warp: int = 16) -> LatentSDF:
    torch.manual_seed(0)
    branch = BranchConfig(width=24, depth=3, frequencies=2, conditioning=conditioning, skip=2, activation="softplus")
    config = replace(SMALL_MODEL, general=branch, overfit=branch, warp=replace(branch, width=warp, skip=0))
    model = LatentSDF(config).requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("conditioning", ["concat", "film", "hyper"])
@pytest.mark.parametrize("warp", [0, 16])
def test_every_point_has_its_own_derivatives(conditioning: Conditioning, warp: int) -> None:
    model = _model(conditioning, warp)
    points, codes = torch.rand(2, 700, 3) * 2 - 1, torch.randn(2, SMALL_MODEL.code_dim) * 0.3
    found = linearize(model, ("general", "overfit"), points, codes)
    for branch, linearized in zip(("general", "overfit"), found, strict=True):
        # A shape a point: slow, and plain autograd.
        alone = codes.repeat_interleave(700, 0).requires_grad_()
        where = points.reshape(-1, 1, 3).clone().requires_grad_()
        distance = model.branch(branch, where, alone)  # type: ignore[arg-type]
        by_code, by_point = torch.autograd.grad(distance.sum(), (alone, where))
        torch.testing.assert_close(linearized.distance, distance.detach().view(2, 700), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(linearized.by_code, by_code.view(2, 700, -1), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(linearized.by_point, by_point.view(2, 700, 3), atol=1e-4, rtol=1e-3)


def test_the_slope_is_the_derivative_of_the_cost_in_code_and_placement() -> None:
    model = _model("hyper").double()
    torch.manual_seed(1)
    prior = CodePrior.fit(torch.randn(30, SMALL_MODEL.code_dim, dtype=torch.float64))
    solver = Solver(model, prior, 0.01, torch.tensor([0.2, 0.3, 0.1, 0.1, 0.1], dtype=torch.float64))
    points = torch.rand(1, 400, 3, dtype=torch.float64) * 1.6 - 0.8
    middle = 0.1 * torch.randn(1, 400, dtype=torch.float64)
    samples = Samples.clamped(points, middle - 0.01, middle + 0.01, middle.abs() < 0.05)
    origin = torch.tensor([[0.1, 0.5, 0.0, 0.1, 0.0]], dtype=torch.float64)
    vector = 0.3 * torch.randn(1, SMALL_MODEL.code_dim + MOTIONS, dtype=torch.float64)
    _, slope = solver._normal_equations(vector, origin, samples)
    step = 1e-6
    for i in range(vector.shape[1]):
        offset = torch.zeros_like(vector)
        offset[0, i] = step
        up, down = (solver._cost(vector + sign * offset, origin, samples) for sign in (1, -1))
        assert abs(float(up - down) / (2 * step) - float(slope[0, i])) < 0.02 * float(slope.abs().max())


def _sphere(count: int, radius: float = 0.6) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(count, 3))
    return radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)


@pytest.mark.parametrize("normals", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_the_bounds_from_a_cloud_hold(normals: bool, partial: bool) -> None:
    cloud = _sphere(3000)
    if partial:
        cloud = cloud[cloud[:, 0] > 0]
    known = bounds(cloud, cloud / 0.6 if normals else None, partial=partial, rng=np.random.default_rng(1))
    truth = np.linalg.norm(known.points, axis=1) - 0.6
    slack = 2e-3  # spheres bend away from the flat surface that the lower bound supposes
    held = (known.low - slack <= truth) & (truth <= known.high + slack)
    assert held.mean() > 0.999
    if partial:
        # The missing half is not said to be empty.
        hidden = known.points[:, 0] < -0.3
        assert (np.abs(truth[hidden]) < 0.05).sum() > 10
        assert (known.low[hidden] < -0.1).all() or normals
    else:
        assert (known.low > 0.05).sum() > 300 and (known.high < -0.05).sum() > 100


def test_a_moved_turned_and_scaled_shape_is_aligned(space: ShapeSpace) -> None:
    original = normalize(furniture("table", 1))[0]
    motion = Similarity((0.05, -0.1, 0.07), 0.85, 0.6)
    moved = trimesh.Trimesh(motion.to_model(original.vertices), original.faces, process=False)
    config = replace(FAST, frame="model", starts=6, steps=40)
    stiff, aligned = space.invert(moved, config), space.invert(moved, replace(config, align=True))
    assert aligned.residual < 0.6 * stiff.residual
    found = compare(space.extract(aligned, 64), moved, n=5000)
    assert found.to_reference_mean < 0.01 * 0.85 * 2 and aligned.similarity.scale == pytest.approx(1 / 0.85, rel=0.05)


def test_halves_find_their_whole(space: ShapeSpace) -> None:
    for seed in range(4):
        mesh = normalize(furniture("table", seed))[0]
        points, face = trimesh.sample.sample_surface(mesh, 4000, seed=0)
        oriented = np.concatenate((points, mesh.face_normals[face]), axis=1)[points[:, 0] > 0]
        for columns in (3, 6):
            fit = space.invert(oriented[:, :columns], replace(FAST, partial=True, frame="model"))
            assert space.nearest(fit, k=1).ids == [f"table_{seed:04d}"]


def test_raw_points_fit_nearly_as_well_as_the_mesh(space: ShapeSpace) -> None:
    mesh = normalize(furniture("table", 3))[0]
    truth = observe(mesh, seed=9)
    points = torch.from_numpy(truth.points[truth.near])[None]

    def error(fit: ls.Inversion) -> float:
        with torch.no_grad():
            predicted = space.model.branch("overfit", points, torch.from_numpy(fit.code)[None])[0]
        return float((predicted - torch.from_numpy(truth.low[truth.near])).abs().mean())

    whole = error(space.invert(mesh, replace(FAST, frame="model")))
    cloud = trimesh.sample.sample_surface(mesh, 2000, seed=0)[0]
    assert error(space.invert(cloud, replace(FAST, frame="model"))) < 1.5 * whole


def test_a_fit_stops_when_it_no_longer_improves(space: ShapeSpace) -> None:
    fit = space.invert(furniture("table", 0), replace(FAST, steps=200))
    assert len(fit.history) < 100 and (np.diff(fit.history[-3:]) <= 0).all()


def test_bad_observations_are_refused(space: ShapeSpace) -> None:
    oriented = np.concatenate((_sphere(200), np.zeros((200, 3))), axis=1)
    with pytest.raises(ls.MeshError, match="200 of 200 normals are not finite or have length 0"):
        space.invert(oriented)
    with pytest.raises(ls.MeshError, match="outside .-1, 1."):
        space.invert(5 * _sphere(200), replace(FAST, frame="model"))
    with pytest.raises(ls.MeshError, match="has no faces|no face"):
        space.invert(trimesh.Trimesh())
    with pytest.raises(ls.MeshError, match="refining needs distances all around"):
        space.invert(furniture("table", 0), replace(FAST, partial=True), refinement=ls.RefineConfig())
    with pytest.raises(ls.ConfigError, match="prior's weight must not be negative, got -1"):
        space.invert(_sphere(200), replace(FAST, prior=-1.0))
    with pytest.raises(ls.ConfigError, match="at least 1 step, start and point"):
        space.invert(_sphere(200), replace(FAST, points=0))
