"""Inversion: derivatives against autograd and differences, what clouds say, placements, parts, bad input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from helpers import SMALL_MODEL

import latentsdf as ls
from latentsdf.config.inversion import InvertConfig
from latentsdf.config.model import Branch, BranchConfig, Conditioning, Recipe
from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.furniture import furniture
from latentsdf.geometry.mesh import normalize
from latentsdf.geometry.mesh_sdf.sampling import solid_from_config
from latentsdf.geometry.metrics.surface import compare_surfaces
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.gauss_newton import MOTIONS, Samples, Solver
from latentsdf.latent.inversion.observation import observe, orient_observation
from latentsdf.latent.inversion.sdf_bounds import bounds
from latentsdf.latent.inversion.unoriented_points import UnorientedPointCloud
from latentsdf.latent.prior import CodePrior
from latentsdf.models.code_jacobian import linearize
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.space import ShapeSpace

FAST = InvertConfig(steps=20, starts=2, points=1024)


@pytest.fixture(scope="module")
def space(space_path: Path) -> ShapeSpace:
    return ls.load(space_path, device="cpu")


def _model(conditioning: Conditioning, warp: int = 16, recipe: Recipe = "latentsdf", **changes: object) -> LatentSDF:
    torch.manual_seed(0)
    branch = BranchConfig(40, 3, skip=2, activation="softplus", conditioning=conditioning, frequencies=2, recipe=recipe)
    config = replace(SMALL_MODEL, general=branch, overfit=branch, warp=replace(branch, width=warp, skip=0))
    model = LatentSDF(replace(config, **changes)).requires_grad_(False)  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


KINDS = [("concat", "latentsdf"), ("concat", "igr"), ("film", "latentsdf"), ("hyper", "latentsdf")]


@pytest.mark.parametrize(("conditioning", "recipe"), KINDS)
@pytest.mark.parametrize("warp", [0, 16])
def test_every_point_has_its_own_derivatives(conditioning: Conditioning, recipe: Recipe, warp: int) -> None:
    _check_derivatives(_model(conditioning, warp, recipe))


@pytest.mark.parametrize("changes", [{"residual": False}, {"overfit": BranchConfig(width=0)}])
def test_every_point_has_its_own_derivatives_in_other_models(changes: dict[str, object]) -> None:
    _check_derivatives(_model("hyper", **changes))


def _check_derivatives(model: LatentSDF) -> None:
    points, codes = torch.rand(2, 700, 3) * 2 - 1, torch.randn(2, SMALL_MODEL.code_dim) * 0.3
    found = linearize(model, ("general", "overfit"), points, codes)
    for branch, linearized in zip(("general", "overfit"), found, strict=True):
        # A shape a point: slow, and plain autograd.
        alone = codes.repeat_interleave(700, 0).requires_grad_()
        where = points.reshape(-1, 1, 3).clone().requires_grad_()
        distance = model.branch(branch, where, alone)  # type: ignore[arg-type]
        by_code, by_point = torch.autograd.grad(distance.sum(), (alone, where))
        torch.testing.assert_close(linearized.distance, distance.detach().view(2, 700), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(linearized.code_gradient, by_code.view(2, 700, -1), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(linearized.point_gradient, by_point.view(2, 700, 3), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("conditioning", "recipe"), KINDS)
@pytest.mark.parametrize("warp", [0, 16])
def test_codes_by_layer_reach_their_layers_and_have_their_derivatives(
    conditioning: Conditioning, recipe: Recipe, warp: int
) -> None:
    model = _model(conditioning, warp, recipe).double()
    layers = model.conditioned_layers()
    points = torch.rand(2, 20, 3, dtype=torch.float64) * 2 - 1
    codes = 0.3 * torch.randn(2, len(layers), SMALL_MODEL.code_dim, dtype=torch.float64)
    same = codes[:, :1].expand_as(codes)
    for alike, alone in zip(model(points, same), model(points, codes[:, 0]), strict=True):
        torch.testing.assert_close(alike, alone)
    # What reaches a layer, seen by the layer itself.
    read = {}
    hooks = [layer.register_forward_hook(lambda part, given, _: read.update({part: given[1]})) for layer in layers]
    model(points, codes)
    for hook in hooks:
        hook.remove()
    for i, layer in enumerate(layers):
        assert torch.equal(read[layer], codes[:, i])
    branches: tuple[Branch, Branch] = ("general", "overfit")
    for branch in branches:
        (linearized,) = linearize(model, (branch,), points, codes)
        step = 1e-6
        for i, k in np.ndindex(len(layers), SMALL_MODEL.code_dim):
            offset = torch.zeros_like(codes)
            offset[:, i, k] = step
            up, down = (model.branch(branch, points, codes + sign * offset) for sign in (1, -1))
            torch.testing.assert_close(
                linearized.code_gradient[:, :, i, k], (up - down) / (2 * step), atol=1e-6, rtol=1e-4
            )


def test_derivatives_from_products_in_bfloat16_keep_two_digits() -> None:
    model = _model("hyper", 16)
    points, codes = torch.rand(2, 700, 3) * 2 - 1, torch.randn(2, SMALL_MODEL.code_dim) * 0.3
    (exact,), (quick,) = (linearize(model, ("general",), points, codes, kind) for kind in (None, torch.bfloat16))
    assert torch.equal(exact.distance, quick.distance) and torch.equal(exact.point_gradient, quick.point_gradient)
    assert 0 < (quick.code_gradient - exact.code_gradient).norm() < 0.01 * exact.code_gradient.norm()


def test_the_prior_of_codes_by_layer_weighs_their_mean_and_their_distances_from_it() -> None:
    torch.manual_seed(0)
    prior = CodePrior.fit(torch.randn(30, 4))
    by_layer, motion = torch.randn(3, 4), torch.randn(MOTIONS)
    solver = Solver(_model("film"), prior, 0.3, torch.ones(MOTIONS), layers=3)
    mean = by_layer.mean(0)
    wanted = 0.3 * mean.square().sum() + 0.3 * (by_layer - mean).square().sum() + 0.3 * motion.square().sum()
    vector = torch.cat((by_layer.flatten(), motion))
    assert float(vector @ solver._precision @ vector) == pytest.approx(float(wanted), rel=1e-5)
    torch.testing.assert_close(solver.codes(by_layer.flatten()[None])[0], prior.decode(by_layer))


@pytest.mark.parametrize("by_layer", [False, True])
def test_the_slope_is_the_derivative_of_the_cost_in_codes_and_placement(by_layer: bool) -> None:
    model = _model("hyper").double()
    torch.manual_seed(1)
    prior = CodePrior.fit(torch.randn(30, SMALL_MODEL.code_dim, dtype=torch.float64))
    layers = len(model.conditioned_layers()) if by_layer else 1
    spread = torch.tensor([0.2, 0.3, 0.1, 0.1, 0.1], dtype=torch.float64)
    solver = Solver(model, prior, 0.01, spread, layers=layers)
    points = torch.rand(1, 400, 3, dtype=torch.float64) * 1.6 - 0.8
    middle = 0.1 * torch.randn(1, 400, dtype=torch.float64)
    samples = Samples.clamped(points, middle - 0.01, middle + 0.01, middle.abs() < 0.05)
    origin = torch.tensor([[0.1, 0.5, 0.0, 0.1, 0.0]], dtype=torch.float64)
    vector = 0.3 * torch.randn(1, layers * SMALL_MODEL.code_dim + MOTIONS, dtype=torch.float64)
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


def test_a_fit_tells_the_sides_of_a_cloud_without_normals() -> None:
    ball = np.asarray(trimesh.sample.sample_surface(trimesh.creation.icosphere(5, 0.6), 2000, seed=0)[0])
    seen = observe(ball, "none")
    assert seen.cloud is not None and len(seen.cloud.points) == 2000
    radial = (seen.cloud.points / np.linalg.norm(seen.cloud.points, axis=1, keepdims=True)).astype(np.float32)
    known = orient_observation(seen, radial)
    fresh = slice(len(seen.points), None)
    assert len(known.points[fresh]) > 3000 and np.array_equal(known.low[fresh], known.high[fresh])
    turned = orient_observation(seen, -radial)
    for found, sign in ((known, 1), (turned, -1)):
        exact = np.linalg.norm(found.points[fresh], axis=1) - 0.6
        assert np.abs(sign * found.low[fresh] - exact).max() < 2e-3
    # Where the fit's normal and the tangent plane disagree, nothing is concluded.
    tangent = np.cross(radial, [0.0, 0.0, 1.0]).astype(np.float32)
    assert len(orient_observation(seen, tangent).points) < len(seen.points) + 100
    for given in (np.hstack((ball, radial)), trimesh.creation.icosphere(3, 0.6)):
        assert observe(given, "none").cloud is None
    assert observe(ball, "none", partial=True).cloud is None


def test_the_faces_of_a_thin_board_are_told_apart() -> None:
    board = trimesh.creation.box((1.2, 0.8, 0.03))
    points, face = trimesh.sample.sample_surface(board, 2000, seed=0)
    seen = observe(np.asarray(points), "none")
    assert seen.cloud is not None
    known = orient_observation(seen, np.asarray(board.face_normals)[face].astype(np.float32))
    fresh = (known.low == known.high) & (known.low != 0)
    beyond = np.abs(known.points[fresh]) - np.array([0.6, 0.4, 0.015])
    exact = np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(1), 0)
    # Neighbours are 0.03 apart, as the faces are: planes through both would stand across.
    assert len(exact) > 3800 and (np.abs(known.low[fresh] - exact) > 1e-4).mean() < 0.06


@pytest.mark.parametrize(
    ("mesh", "share"),
    [
        (trimesh.creation.box((1.2, 0.8, 0.03)), 0.95),
        (trimesh.creation.cylinder(0.03, 1.4), 0.95),
        (trimesh.creation.box((0.9, 0.9, 0.9)), 0.25),
    ],
    ids=["board", "rod", "cube"],
)
def test_points_that_stand_out_do_so_outward(mesh: trimesh.Trimesh, share: float) -> None:
    """Without any fit: both faces of a board and all of a rod, and of a cube what lies near its edges."""
    points = np.asarray(trimesh.sample.sample_surface(mesh, 2000, seed=0)[0])
    known = UnorientedPointCloud(points, np.random.default_rng(0)).bounds()
    exact = (known.low == known.high) & (known.low != 0)
    distance = solid_from_config(mesh, SamplingConfig())(known.points[exact])
    assert exact.sum() > share * 2 * len(points) * 0.8
    assert (np.sign(distance) == np.sign(known.low[exact])).mean() > 0.97


def test_a_moved_turned_and_scaled_shape_is_aligned(space: ShapeSpace) -> None:
    original = normalize(furniture("table", 1))[0]
    motion = Similarity((0.05, -0.1, 0.07), 0.85, 0.6)
    moved = trimesh.Trimesh(motion.to_model(original.vertices), original.faces, process=False)
    config = replace(FAST, frame="model", starts=6, steps=40)
    stiff, aligned = space.invert(moved, config), space.invert(moved, replace(config, align=True))
    assert aligned.residual < 0.6 * stiff.residual
    found = compare_surfaces(space.extract(aligned, 64), moved, count=5000)
    assert found.to_reference_mean < 0.01 * 0.85 * 2 and aligned.similarity.scale == pytest.approx(1 / 0.85, rel=0.05)


def test_codes_by_layer_come_nearer_to_an_unseen_shape(space: ShapeSpace) -> None:
    mesh = normalize(furniture("chair", 77))[0]
    seen, unseen = observe(mesh, seed=0), observe(mesh, seed=1)
    one, apart = (space.invert(seen, replace(FAST, by_layer=by_layer)) for by_layer in (False, True))
    assert one.layers is None and apart.layers is not None
    assert apart.layers.shape == (len(space.model.conditioned_layers()), len(apart.code))
    assert np.linalg.norm(one.code - apart.code) < 0.3 * np.linalg.norm(one.code)
    points, near = torch.from_numpy(unseen.points), unseen.near

    def error(fit: ls.Inversion) -> float:
        return float(np.abs(space.field(fit, "overfit")(points).numpy() - unseen.low)[near].mean())

    assert error(apart) < 0.8 * error(one) and apart.residual < 0.8 * one.residual
    part = space.invert(seen, replace(FAST, partial=True))
    assert part.layers is None
    with pytest.raises(ls.ConfigError, match="codes by layer of shape"):
        space.field(replace(apart, layers=apart.layers[:-1]))
    with pytest.raises(ls.ConfigError, match="finite codes by layer"):
        space.field(replace(apart, layers=np.full_like(apart.layers, np.nan)))


def test_halves_find_their_whole(space: ShapeSpace) -> None:
    for seed in range(4):
        mesh = normalize(furniture("table", seed))[0]
        points, face = trimesh.sample.sample_surface(mesh, 4000, seed=0)
        oriented = np.concatenate((points, mesh.face_normals[face]), axis=1)[points[:, 0] > 0]
        for columns in (3, 6):
            fit = space.invert(oriented[:, :columns], replace(FAST, partial=True, frame="model"))
            assert space.nearest(fit, k=1).ids == [f"table_{seed:04d}"]


def _seen(mesh: trimesh.Trimesh, view: tuple[float, float, float], count: int) -> np.ndarray:
    """Points (N, 3) of the side of a mesh that a distant viewer sees, N up to `count`."""
    points, face = trimesh.sample.sample_surface(mesh, count, seed=0)
    towards = np.array(view) / np.linalg.norm(view)
    facing = mesh.face_normals[face] @ towards > 0
    origins = points + 1e-4 * towards
    hidden = mesh.ray.intersects_any(origins, np.broadcast_to(towards, origins.shape))
    return np.asarray(points[facing & ~hidden])


def test_what_one_view_shows_finds_its_whole(space: ShapeSpace) -> None:
    for seed in (0, 3):
        mesh = normalize(furniture("table", seed))[0]
        seen = _seen(mesh, (1, 1.2, 0.7), 6000)
        assert 500 < len(seen) < 3600  # no back, no underside
        fit = space.invert(seen, replace(FAST, partial=True, frame="model"))
        assert space.nearest(fit, k=1).ids == [f"table_{seed:04d}"]
        points = torch.from_numpy(trimesh.sample.sample_surface(mesh, 3000, seed=1)[0]).float()
        assert float(space.field(fit, "overfit")(points).abs().mean()) < 0.02  # of the hidden side too


def test_noisy_points_fit_the_clean_surface(space: ShapeSpace) -> None:
    mesh = normalize(furniture("table", 2))[0]
    points = trimesh.sample.sample_surface(mesh, 3000, seed=0)[0]
    truth = torch.from_numpy(trimesh.sample.sample_surface(mesh, 3000, seed=1)[0]).float()
    rng = np.random.default_rng(0)
    off = {}
    for sigma in (0.0, 0.005, 0.01):
        fit = space.invert(points + sigma * rng.normal(size=points.shape), replace(FAST, frame="model"))
        assert space.nearest(fit, k=1).ids == ["table_0002"]
        off[sigma] = float(space.field(fit, "overfit")(truth).abs().mean())
    assert off[0.005] < 1.5 * off[0.0] + 1e-3 and off[0.01] < 0.01


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
    with pytest.raises(ls.ConfigError, match="prior must be at least 0.0, got -1"):
        space.invert(_sphere(200), replace(FAST, prior=-1.0))
    with pytest.raises(ls.ConfigError, match="points must be at least 1, got 0"):
        space.invert(_sphere(200), replace(FAST, points=0))
