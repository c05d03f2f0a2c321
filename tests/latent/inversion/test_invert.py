"""Inversion of meshes, points, parts and noisy points on four trained tables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from helpers.points import sphere_points
from helpers.settings import FAST, FIT

import latentsdf as ls
from latentsdf.data.furniture import furniture
from latentsdf.geometry.mesh import normalize
from latentsdf.geometry.metrics.surface import compare_surfaces
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.observation import observe
from latentsdf.space import ShapeSpace


@pytest.mark.slow
def test_alignment(trained_space: ShapeSpace) -> None:
    """A moved, rotated and scaled shape is fitted with its placement."""
    original = normalize(furniture("table", 1))[0]
    motion = Similarity((0.05, -0.1, 0.07), 0.85, 0.6)
    moved = trimesh.Trimesh(motion.to_model(original.vertices), original.faces, process=False)
    config = replace(FAST, frame="model", starts=6, steps=40)
    stiff, aligned = trained_space.invert(moved, config), trained_space.invert(moved, replace(config, align=True))
    assert aligned.residual < 0.6 * stiff.residual
    found = compare_surfaces(trained_space.extract(aligned, 64), moved, count=5000)
    assert found.to_reference_mean < 0.01 * 0.85 * 2 and aligned.similarity.scale == pytest.approx(1 / 0.85, rel=0.05)


@pytest.mark.slow
def test_codes_by_layer(trained_space: ShapeSpace) -> None:
    """Codes by layer lower the held-out error of an unseen shape; invalid ones are refused."""
    mesh = normalize(furniture("chair", 77))[0]
    seen, unseen = observe(mesh, seed=0), observe(mesh, seed=1)
    one, apart = (trained_space.invert(seen, replace(FAST, by_layer=by_layer)) for by_layer in (False, True))
    assert one.layers is None and apart.layers is not None
    assert apart.layers.shape == (len(trained_space.model.conditioned_layers()), len(apart.code))
    assert np.linalg.norm(one.code - apart.code) < 0.3 * np.linalg.norm(one.code)
    points, near = torch.from_numpy(unseen.points), unseen.near

    def error(fit: ls.Inversion) -> float:
        found = trained_space.field(fit, "overfit", frame="model")(points).numpy()
        return float(np.abs(found - unseen.low)[near].mean())

    assert error(apart) < 0.8 * error(one) and apart.residual < 0.8 * one.residual
    part = trained_space.invert(seen, replace(FAST, partial=True))
    assert part.layers is None
    with pytest.raises(ls.ConfigError, match="codes by layer must be finite and have shape"):
        trained_space.field(replace(apart, layers=apart.layers[:-1]))
    with pytest.raises(ls.ConfigError, match="codes by layer must be finite"):
        trained_space.field(replace(apart, layers=np.full_like(apart.layers, np.nan)))


@pytest.mark.slow
def test_verdict_and_rivals(trained_space: ShapeSpace, tmp_path: Path) -> None:
    """A known shape fits and another kind does not; a part has other hypotheses, in order of their cost."""
    known, other = (normalize(furniture(family, 2))[0] for family in ("table", "lamp"))
    config = replace(FAST, frame="model", assess=True)
    fit, wrong = trained_space.invert_many([known, other], config)
    assert fit.verdict is not None and wrong.verdict is not None
    assert fit.ok and fit.verdict.coverage > 0.98 and fit.rivals == ()
    assert not wrong.ok and wrong.verdict.error > 2 * fit.verdict.error
    points, face = trimesh.sample.sample_surface(known, 4000, seed=0)
    seen = np.concatenate((points, known.face_normals[face]), axis=1)[points[:, 0] > 0]
    part = trained_space.invert(seen, replace(config, partial=True, starts=4))
    assert part.verdict is not None and part.verdict.partial and part.rivals
    margins = [rival.margin for rival in part.rivals]
    assert margins == sorted(margins) and margins[0] >= 0
    assert all(rival.verdict is not None and rival.space == trained_space.fingerprint for rival in part.rivals)
    part.save(tmp_path / "fit")
    rival = ls.load_fit(tmp_path / "fit").rivals[0]
    assert np.array_equal(trained_space.extract(rival, 32).vertices, trained_space.extract(part.rivals[0], 32).vertices)


@pytest.mark.slow
def test_half_shapes(trained_space: ShapeSpace) -> None:
    """The code fitted to half of a training shape is nearest to the code of this shape."""
    for seed in range(4):
        mesh = normalize(furniture("table", seed))[0]
        points, face = trimesh.sample.sample_surface(mesh, 4000, seed=0)
        oriented = np.concatenate((points, mesh.face_normals[face]), axis=1)[points[:, 0] > 0]
        for columns in (3, 6):
            fit = trained_space.invert(oriented[:, :columns], replace(FAST, partial=True, frame="model"))
            assert trained_space.nearest(fit, k=1).ids == [f"table_{seed:04d}"]


def _seen(mesh: trimesh.Trimesh, view: tuple[float, float, float], count: int) -> np.ndarray:
    """Points (N, 3) of the side of a mesh that a distant viewer sees, N up to `count`."""
    points, face = trimesh.sample.sample_surface(mesh, count, seed=0)
    toward = np.array(view) / np.linalg.norm(view)
    facing = mesh.face_normals[face] @ toward > 0
    origins = points + 1e-4 * toward
    hidden = mesh.ray.intersects_any(origins, np.broadcast_to(toward, origins.shape))
    return np.asarray(points[facing & ~hidden])


@pytest.mark.slow
def test_single_view(trained_space: ShapeSpace) -> None:
    """The points visible from one view determine the whole shape."""
    for seed in (0, 3):
        mesh = normalize(furniture("table", seed))[0]
        seen = _seen(mesh, (1, 1.2, 0.7), 6000)
        assert 500 < len(seen) < 3600  # no back, no underside
        fit = trained_space.invert(seen, replace(FAST, partial=True, frame="model"))
        assert trained_space.nearest(fit, k=1).ids == [f"table_{seed:04d}"]
        points = torch.from_numpy(trimesh.sample.sample_surface(mesh, 3000, seed=1)[0]).float()
        assert float(trained_space.field(fit, "overfit")(points).abs().mean()) < 0.02  # of the hidden side too


@pytest.mark.slow
def test_noisy_points(trained_space: ShapeSpace) -> None:
    """Noisy points are fitted by the clean surface."""
    mesh = normalize(furniture("table", 2))[0]
    points = trimesh.sample.sample_surface(mesh, 3000, seed=0)[0]
    truth = torch.from_numpy(trimesh.sample.sample_surface(mesh, 3000, seed=1)[0]).float()
    rng = np.random.default_rng(0)
    off = {}
    for sigma in (0.0, 0.005, 0.01):
        fit = trained_space.invert(points + sigma * rng.normal(size=points.shape), replace(FAST, frame="model"))
        assert trained_space.nearest(fit, k=1).ids == ["table_0002"]
        off[sigma] = float(trained_space.field(fit, "overfit")(truth).abs().mean())
    assert off[0.005] < 1.5 * off[0.0] + 1e-3 and off[0.01] < 0.01


@pytest.mark.slow
def test_points_without_normals(trained_space: ShapeSpace) -> None:
    """Points without normals are fitted nearly as well as the mesh."""
    mesh = normalize(furniture("table", 3))[0]
    truth = observe(mesh, seed=9)
    points = torch.from_numpy(truth.points[truth.near])[None]

    def error(fit: ls.Inversion) -> float:
        with torch.no_grad():
            predicted = trained_space.model.branch("overfit", points, torch.from_numpy(fit.code)[None])[0]
        return float((predicted - torch.from_numpy(truth.low[truth.near])).abs().mean())

    whole = error(trained_space.invert(mesh, replace(FAST, frame="model")))
    cloud = trimesh.sample.sample_surface(mesh, 2000, seed=0)[0]
    assert error(trained_space.invert(cloud, replace(FAST, frame="model"))) < 1.5 * whole


@pytest.mark.slow
def test_convergence(trained_space: ShapeSpace) -> None:
    """A fit ends when it no longer improves, with falling cost."""
    fit = trained_space.invert(furniture("table", 0), replace(FAST, steps=200))
    assert len(fit.history) < 100 and (np.diff(fit.history[-3:]) <= 0).all()


def test_invalid_observations(space: ShapeSpace) -> None:
    """Unusable observations and settings raise errors that state the reason."""
    oriented = np.concatenate((sphere_points(200, 0.6), np.zeros((200, 3))), axis=1)
    with pytest.raises(ls.MeshError, match="200 of 200 normals are not finite or have length 0"):
        space.invert(oriented)
    with pytest.raises(ls.MeshError, match="outside .-1, 1."):
        space.invert(5 * sphere_points(200, 0.6), replace(FAST, frame="model"))
    with pytest.raises(ls.MeshError, match="has no faces|no face"):
        space.invert(trimesh.Trimesh())
    with pytest.raises(ls.MeshError, match="refinement needs distances all around"):
        space.invert(furniture("table", 0), replace(FAST, partial=True), refinement=ls.RefineConfig())
    with pytest.raises(ls.ConfigError, match="prior must be at least 0, got -1"):
        space.invert(sphere_points(200, 0.6), replace(FAST, prior=-1.0))
    with pytest.raises(ls.ConfigError, match="points must be at least 1, got 0"):
        space.invert(sphere_points(200, 0.6), replace(FAST, points=0))


@pytest.mark.slow
def test_training_shape_retrieval(trained_space: ShapeSpace) -> None:
    """The code fitted to a training shape, as mesh or points, is nearest to the code of this shape."""
    for seed in range(4):
        fit = trained_space.invert(furniture("table", seed), FIT)
        assert trained_space.nearest(fit, k=2).ids[0] == f"table_{seed:04d}"
        assert fit.history[-5:].mean() < fit.history[:3].mean() * 1.5
    cloud = furniture("table", 2).sample(3000)
    assert trained_space.nearest(trained_space.invert(cloud, FIT), k=1).ids == ["table_0002"]


@pytest.mark.slow
def test_batch_residuals(trained_space: ShapeSpace) -> None:
    """Fits in a batch have residuals like single fits."""
    targets = [furniture("table", seed) for seed in (0, 3)]
    together = trained_space.invert_many(targets, FIT)
    for target, fit in zip(targets, together, strict=True):
        assert fit.residual < 2 * trained_space.invert(target, FIT).residual + 1e-3


@pytest.mark.slow
def test_prior_weight_in_batch(trained_space: ShapeSpace) -> None:
    """The prior has the same weight for one observation and in a batch."""
    strong = replace(FIT, prior=1.0)
    targets = [furniture("table", seed) for seed in (0, 1, 2, 3)]
    mean = trained_space.codes.mean(0).numpy()
    alone = np.linalg.norm(trained_space.invert(targets[0], strong).code - mean)
    together = np.linalg.norm(trained_space.invert_many(targets, strong)[0].code - mean)
    free = np.linalg.norm(trained_space.invert(targets[0], FIT).code - mean)
    assert abs(together - alone) < 0.1 * free and alone < 0.5 * free
