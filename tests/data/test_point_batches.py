"""Tests of training on surface points: batches, loss, a family of spheres, unsuitable input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.points import oriented_sphere_points
from helpers.settings import small_config
from helpers.training import new_trainer

import latentsdf as ls
from latentsdf.config.inversion import InvertConfig
from latentsdf.config.model import BranchConfig, ModelConfig
from latentsdf.config.training import Config, LossConfig, TrainConfig
from latentsdf.data.import_export import import_samples
from latentsdf.data.point_batches import NOISE_STD, PointBatch
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.store import SampleStore
from latentsdf.models.derivatives import gradient
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training.extend import extend
from latentsdf.training.objective import Objective
from latentsdf.training.train import train

SPHERE_RADII = (0.3, 0.4, 0.5, 0.6, 0.7)


UNSEEN = 0.45
CONFIG = Config(
    preset="points",
    model=ModelConfig(
        code_dim=4,
        warp=BranchConfig(width=0),
        general=BranchConfig(32, 3, 3, "softplus", "concat", 0, "igr"),
        overfit=BranchConfig(width=0),
    ),
    loss=LossConfig(code=1e-3, normals=1.0, eikonal=0.1, eikonal_norm="l2", regularizer_points=32),
    train=TrainConfig(
        samples="points",
        steps=200,
        points_per_shape=64,
        lr_network=5e-3,
        lr_code=5e-3,
        code_std=0.0,
        bf16=False,
        log_every=10,
    ),
)
RAW = replace(CONFIG, loss=replace(CONFIG.loss, normals=0.0))


@pytest.mark.parametrize("oriented", [True, False])
def test_batch_statistics(sphere_stores: dict[bool, Path], oriented: bool) -> None:
    """A batch has surface points with normals, points displaced by the stated noise, and uniform points."""
    store = SampleStore.open(sphere_stores[oriented])
    train_config = replace(CONFIG.train, shapes_per_batch=2, points_per_shape=3000)
    pool = ShapeSamplePool(store, store.keys(), train_config, CONFIG.loss if oriented else RAW.loss)
    batch = pool.batch(7)
    assert isinstance(batch, PointBatch) and len(batch.shape_index) == 2
    assert pool.nbytes == sum(part.nbytes for part in pool._parts) == 5 * 2000 * (24 if oriented else 12)
    for row, points, near, box in zip(
        batch.shape_index.tolist(), batch.points, batch.near_points, batch.box_points, strict=True
    ):
        assert torch.allclose(points.norm(dim=1), torch.tensor(SPHERE_RADII[row]), atol=1e-6)
        assert len(torch.unique(points, dim=0)) > 1400  # 2000 (1 - exp(-1.5)) are expected
        moved = near - points
        assert moved.std(0).numpy() == pytest.approx(NOISE_STD, rel=0.05) and moved.mean().abs() < 0.05 * NOISE_STD
        assert box.shape == (32, 3) and box.abs().max() <= 1 and box.abs().mean() > 0.35
    assert batch.normals.shape == (2, 3000, 3 if oriented else 0)
    if oriented:
        torch.testing.assert_close(batch.normals, batch.points / batch.points.norm(dim=-1, keepdim=True))
    # Normals are not kept in memory if the loss does not use them.
    raw = ShapeSamplePool(store, store.keys(), train_config, RAW.loss).batch(7)
    assert raw.normals.shape[-1] == 0 and torch.equal(raw.points, batch.points)


def test_box_of_regularizers(sphere_stores: dict[bool, Path]) -> None:
    """The uniform points fill the box of half side `regularizer_extent`, 1.8 in IGR's shape space."""
    store = SampleStore.open(sphere_stores[True])
    loss = replace(CONFIG.loss, regularizer_points=2000, regularizer_extent=1.8)
    wide = ShapeSamplePool(store, store.keys(), CONFIG.train, loss).batch(0).box_points
    assert 1.75 < wide.abs().max() <= 1.8
    assert wide.std().item() == pytest.approx(1.8 / 3**0.5, rel=0.03)
    plain = ShapeSamplePool(store, store.keys(), CONFIG.train, replace(loss, regularizer_extent=1.0)).batch(0)
    torch.testing.assert_close(wide, 1.8 * plain.box_points)


def _reference_terms(objective: Objective, batch: PointBatch, codes: torch.Tensor) -> dict[str, float]:
    """Compute the loss terms point by point, with gradients by central differences."""
    model, step = objective.model, 1e-5

    def value(point: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        return model.branch("general", point[None, None], code[None])[0, 0].detach()

    def slope(point: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        ends = [[value(point + sign * step * axis, code) for axis in torch.eye(3)] for sign in (1, -1)]
        return (torch.stack(ends[0]) - torch.stack(ends[1])) / (2 * step)

    surface, normals, eikonal = [], [], []
    for shape, code in enumerate(codes):
        for point, normal in zip(batch.points[shape], batch.normals[shape], strict=True):
            surface.append(abs(float(value(point, code))))
            if len(normal):
                normals.append(float(((slope(point, code) - normal) ** 2).sum().sqrt()))
        for point in (*batch.near_points[shape], *batch.box_points[shape]):
            eikonal.append((float((slope(point, code) ** 2).sum().sqrt()) - 1) ** 2)
    loss = objective.loss
    terms = {"surface": loss.surface[0] * np.mean(surface), "eikonal": loss.eikonal[0] * np.mean(eikonal)}
    terms["code"] = loss.code[0] * float(np.mean([np.sqrt(float((code**2).sum())) for code in codes]))
    return terms | ({"normals": loss.normals[0] * np.mean(normals)} if normals else {})


@pytest.mark.parametrize("config", [CONFIG, RAW], ids=["oriented", "raw"])
def test_loss_matches_reference(config: Config, sphere_stores: dict[bool, Path]) -> None:
    """The loss equals a slow implementation, and its gradients are finite."""
    config = replace(config, loss=replace(config.loss, surface=2.0, normals=0.7 * config.loss.normals[0]))
    store = SampleStore.open(sphere_stores[True])
    few = replace(config.train, points_per_shape=6, shapes_per_batch=3)
    drawn = ShapeSamplePool(store, store.keys(), few, replace(config.loss, regularizer_points=4)).batch(0)
    batch = replace(drawn, **{name: getattr(drawn, name).double() for name in vars(drawn) if name != "shape_index"})
    torch.manual_seed(0)
    model = LatentSDF(config.model).double()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    codes = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    objective = Objective(model, config.loss, few)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        terms, touched = objective(batch, codes, 1.0, 0.0)
        slow = _reference_terms(objective, batch, codes.detach())
    finally:
        torch.set_default_dtype(default)
    assert touched is None
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(slow, rel=1e-6)
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in (*model.parameters(), codes))


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG, RAW], ids=["oriented", "raw"])
def test_shape_space_of_spheres(config: Config, sphere_stores: dict[bool, Path], tmp_path: Path) -> None:
    """A space trained on spheres is accurate, orders its codes by radius, and fits an unseen radius."""
    oriented = config.loss.normals[0] > 0
    off, slanted = (0.006, 0.03) if oriented else (0.012, 0.15)  # normals constrain the surface more
    train(sphere_stores[oriented], tmp_path / "space", config, device="cpu")
    space = ls.load(tmp_path / "space", device="cpu")
    for radius in SPHERE_RADII:
        points = torch.from_numpy(oriented_sphere_points(radius, 500)[0]).float()
        code = space.code(f"r{radius}")
        assert space.field(code)(points).abs().mean() < off
        slope = gradient(lambda x, code=code: space.model.branch("general", x, code[None]), points[None])[0]
        assert (slope.norm(dim=1) - 1).abs().mean() < slanted
        outward = (slope * points).sum(1) / radius  # negative inside, without normals too
        assert outward.mean() > 1 - slanted
        mesh = space.extract(code, 48)
        assert np.linalg.norm(mesh.vertices, axis=1) == pytest.approx(radius, abs=5 * off)
    centered = space.codes - space.codes.mean(0)
    along = centered @ torch.linalg.svd(centered)[2][0]
    order = along.argsort().tolist()
    assert order in (list(range(5)), list(range(5))[::-1])

    points, normals = oriented_sphere_points(UNSEEN)
    target = np.hstack((points, normals)) if oriented else points
    fit = space.invert(target, InvertConfig(frame="model", steps=15, starts=2, points=512))
    assert space.field(fit)(torch.from_numpy(points).float()).abs().mean() < off
    place = float((torch.from_numpy(fit.code) - space.codes.mean(0)) @ torch.linalg.svd(centered)[2][0])
    low, high = sorted((float(along[1]), float(along[2])))
    assert low < place < high and fit.ok

    # `extend` fits only the codes, with the training loss.
    (tmp_path / "more" / "ball").mkdir(parents=True)
    np.save(tmp_path / "more" / "ball" / "unseen.npy", target)
    import_samples(tmp_path / "more", tmp_path / "more.zarr", normalization="none")
    budget = replace(config, train=replace(config.train, steps=60))
    extend(tmp_path / "space", tmp_path / "more.zarr", tmp_path / "larger", budget, device="cpu")
    larger = ls.load(tmp_path / "larger", device="cpu")
    assert larger.field("unseen", frame="model")(torch.from_numpy(points).float()).abs().mean() < off
    assert torch.equal(larger.codes[:5], space.codes)


@pytest.mark.slow
def test_training_on_surface_points_of_meshes(store_path: Path) -> None:
    """A store of meshes trains on its surface points, and the loss decreases."""
    run = new_trainer(store_path, replace(CONFIG, train=replace(CONFIG.train, shapes_per_batch=4)))
    first = run.train_step()
    for _ in range(60):
        last = run.train_step()
    assert list(first) == ["loss", "surface", "normals", "eikonal", "code"]
    assert last["surface"] < 0.3 * first["surface"] and last["normals"] < first["normals"]


def test_regularizers_and_nonfinite_shape(sphere_stores: dict[bool, Path]) -> None:
    """Other regularizers can be combined, and a shape with NaN points is reported by its key."""
    loss = replace(CONFIG.loss, heat=0.1, directional_divergence=0.01, lipschitz=0.01)
    run = new_trainer(sphere_stores[True], replace(CONFIG, loss=loss))
    assert {"heat", "directional_divergence", "lipschitz", "eikonal", "normals"} < run.train_step().keys()
    run.pool._parts[2].surface[:, 0] = np.nan
    with pytest.raises(ls.TrainingError, match="the eikonal and normals and surface term is not finite for ball/r0.5"):
        run.train_step()


def test_unsuitable_stores_and_settings(sphere_stores: dict[bool, Path], store_path: Path, tmp_path: Path) -> None:
    """Stores without the required points or normals, and incompatible settings, are rejected."""
    for path, config, message in (
        (sphere_stores[False], CONFIG, "shape 'ball/r0.3' has points without normals, .* set loss.normals to 0"),
        (sphere_stores[True], small_config(), "shape 'ball/r0.3' has only surface points .*train.samples: points"),
        (sphere_stores[True], small_config(lattice=True), "shape 'ball/r0.3' has only surface points"),
    ):
        with pytest.raises(ls.StoreError, match=message):
            new_trainer(path, config)
    bare = SampleStore.create(tmp_path / "bare.zarr", SampleStore.open(store_path).config)
    record = SampleStore.open(store_path).read("table/table_0000")
    bare.write(replace(record, samples=replace(record.samples, surface=np.empty((0, 6), np.float32))))
    with pytest.raises(ls.StoreError, match="'table/table_0000' has no surface points.* --surface above 0"):
        new_trainer(bare.path, CONFIG)
    dual = replace(CONFIG.model, overfit=BranchConfig(width=8))
    for build, message in (
        (lambda: replace(CONFIG, model=dual), "trains the general branch only; set model.overfit.width to 0"),
        (lambda: replace(CONFIG, loss=replace(CONFIG.loss, eikonal=0.0)), "loss.eikonal above 0.* zero everywhere"),
        (lambda: replace(CONFIG.loss, regularizer_points=0), "regularizer_points must be at least 1"),
        (
            lambda: replace(CONFIG, train=replace(CONFIG.train, samples="sdf")),
            "loss.normals needs .*train.samples: points",
        ),
    ):
        with pytest.raises(ls.ConfigError, match=message):
            build()
