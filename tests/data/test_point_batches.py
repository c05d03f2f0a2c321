"""Shape spaces from points on surfaces alone: clouds to a store, batches, the loss, a family of spheres, bad input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from helpers import new_trainer, small_config
from numpy.typing import NDArray
from scipy.spatial import cKDTree

import latentsdf as ls
from latentsdf import cli
from latentsdf.config.inversion import InvertConfig
from latentsdf.config.model import BranchConfig, ModelConfig
from latentsdf.config.training import Config, LossConfig, TrainConfig
from latentsdf.data.import_export import export_samples, import_samples
from latentsdf.data.point_batches import NEARBY, PointBatch
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.store import SampleStore
from latentsdf.models.derivatives import gradient
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training.extend import extend
from latentsdf.training.objective import Objective
from latentsdf.training.train import require_valid, train

RADII = (0.3, 0.4, 0.5, 0.6, 0.7)
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


def _sphere(radius: float, count: int = 2000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and normals."""
    normals = np.random.default_rng(round(1000 * radius)).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return radius * normals, normals


@pytest.fixture(scope="module")
def spheres(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A store of spheres around the origin from clouds with normals, and one from clouds without."""
    stores = {}
    for oriented in (True, False):
        root = tmp_path_factory.mktemp("clouds")
        (root / "ball").mkdir()
        for radius in RADII:
            points, normals = _sphere(radius)
            if oriented:
                np.savez(root / "ball" / f"r{radius}.npz", points=points, normals=3 * normals)
            else:
                np.savetxt(root / "ball" / f"r{radius}.xyz", points)
        stores[oriented] = root / "balls.zarr"
        command = ["import", str(root), str(stores[oriented]), "--normalization", "none"]
        assert cli.main(command) == 0
    return stores


def test_clouds_become_shapes_in_model_space(spheres: dict[bool, Path], tmp_path: Path) -> None:
    for oriented, path in spheres.items():
        store = SampleStore.open(path)
        assert store.keys() == [f"ball/r{radius}" for radius in RADII]
        surface = store.read("ball/r0.6").samples.surface
        assert store.surface_shape("ball/r0.6") == surface.shape == (2000, 6 if oriented else 3)
        points, normals = _sphere(0.6)
        expected = np.hstack((points, normals))[:, : surface.shape[1]].astype(np.float32)
        np.testing.assert_allclose(surface[np.lexsort(surface.T)], expected[np.lexsort(expected.T)], atol=1e-7)
        export_samples(store, tmp_path / "out.h5")
        back = tmp_path / f"{oriented}.zarr"
        assert import_samples(tmp_path / "out.h5", back).imported == store.keys()
        assert SampleStore.open(back).read("ball/r0.6").samples.surface.shape == surface.shape
    (tmp_path / "clouds").mkdir()
    far = _sphere(0.5)[0] * 400 + (7, -5, 3)
    np.save(tmp_path / "clouds" / "far.npy", far)
    import_samples(tmp_path / "clouds", tmp_path / "far.zarr")
    record = SampleStore.open(tmp_path / "far.zarr").read("clouds/far")
    lengths = np.linalg.norm(record.samples.surface, axis=1)
    assert lengths.max() == pytest.approx(1 / 1.03, abs=1e-6) and lengths.min() > 0.95
    away, nearest = cKDTree(far).query(record.similarity.to_user(record.samples.surface))
    assert away.max() < 1e-3 and len(np.unique(nearest)) == len(far)


@pytest.mark.parametrize("oriented", [True, False])
def test_a_batch_has_points_of_each_shape_and_others_beside_them(spheres: dict[bool, Path], oriented: bool) -> None:
    store = SampleStore.open(spheres[oriented])
    train_config = replace(CONFIG.train, shapes_per_batch=2, points_per_shape=3000)
    pool = ShapeSamplePool(store, store.keys(), train_config, CONFIG.loss if oriented else RAW.loss)
    batch = pool.batch(7)
    assert isinstance(batch, PointBatch) and len(batch.shape) == 2
    assert pool.nbytes == sum(part.nbytes for part in pool._parts) == 5 * 2000 * (24 if oriented else 12)
    for row, points, near, box in zip(
        batch.shape.tolist(), batch.points, batch.near_points, batch.box_points, strict=True
    ):
        assert torch.allclose(points.norm(dim=1), torch.tensor(RADII[row]), atol=1e-6)
        assert len(torch.unique(points, dim=0)) > 1400  # 2000 (1 - exp(-1.5)) are expected
        moved = near - points
        assert moved.std(0).numpy() == pytest.approx(NEARBY, rel=0.05) and moved.mean().abs() < 0.05 * NEARBY
        assert box.shape == (32, 3) and box.abs().max() <= 1 and box.abs().mean() > 0.35
    assert batch.normals.shape == (2, 3000, 3 if oriented else 0)
    if oriented:
        torch.testing.assert_close(batch.normals, batch.points / batch.points.norm(dim=-1, keepdim=True))
    # Normals that nobody asks for are not held.
    raw = ShapeSamplePool(store, store.keys(), train_config, RAW.loss).batch(7)
    assert raw.normals.shape[-1] == 0 and torch.equal(raw.points, batch.points)


def _slow_terms(objective: Objective, batch: PointBatch, codes: torch.Tensor) -> dict[str, float]:
    """Every point alone, its gradient by central differences."""
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
    terms = {"general": loss.general * np.mean(surface), "eikonal": loss.eikonal * np.mean(eikonal)}
    terms["code"] = loss.code * float(np.mean([np.sqrt(float((code**2).sum())) for code in codes]))
    return terms | ({"normals": loss.normals * np.mean(normals)} if normals else {})


@pytest.mark.parametrize("config", [CONFIG, RAW], ids=["oriented", "raw"])
def test_the_loss_equals_a_slow_one(config: Config, spheres: dict[bool, Path]) -> None:
    config = replace(config, loss=replace(config.loss, general=2.0, normals=0.7 * config.loss.normals))
    store = SampleStore.open(spheres[True])
    few = replace(config.train, points_per_shape=6, shapes_per_batch=3)
    drawn = ShapeSamplePool(store, store.keys(), few, replace(config.loss, regularizer_points=4)).batch(0)
    batch = replace(drawn, **{name: getattr(drawn, name).double() for name in vars(drawn) if name != "shape"})
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
        slow = _slow_terms(objective, batch, codes.detach())
    finally:
        torch.set_default_dtype(default)
    assert touched is None
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(slow, rel=1e-6)
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in (*model.parameters(), codes))


@pytest.mark.parametrize("config", [CONFIG, RAW], ids=["oriented", "raw"])
def test_a_family_of_spheres_is_learned_and_one_more_is_found(
    config: Config, spheres: dict[bool, Path], tmp_path: Path
) -> None:
    oriented = config.loss.normals > 0
    off, slanted = (0.006, 0.03) if oriented else (0.012, 0.15)  # normals say more
    train(spheres[oriented], tmp_path / "space", config, device="cpu")
    space = ls.load(tmp_path / "space", device="cpu")
    for radius in RADII:
        points = torch.from_numpy(_sphere(radius, 500)[0]).float()
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

    points, normals = _sphere(UNSEEN)
    target = np.hstack((points, normals)) if oriented else points
    fit = space.invert(target, InvertConfig(frame="model", steps=15, starts=2, points=512))
    assert space.field(fit)(torch.from_numpy(points).float()).abs().mean() < off
    place = float((torch.from_numpy(fit.code) - space.codes.mean(0)) @ torch.linalg.svd(centered)[2][0])
    low, high = sorted((float(along[1]), float(along[2])))
    assert low < place < high and fit.ok

    # The very loss of training, codes alone.
    (tmp_path / "more" / "ball").mkdir(parents=True)
    np.save(tmp_path / "more" / "ball" / "unseen.npy", target)
    import_samples(tmp_path / "more", tmp_path / "more.zarr", normalization="none")
    budget = replace(config, train=replace(config.train, steps=60))
    extend(tmp_path / "space", tmp_path / "more.zarr", tmp_path / "larger", budget, device="cpu")
    larger = ls.load(tmp_path / "larger", device="cpu")
    assert larger.field("unseen")(torch.from_numpy(points).float()).abs().mean() < off
    assert torch.equal(larger.codes[:5], space.codes)


def test_meshes_of_an_ordinary_store_train_from_their_surface_points(store_path: Path) -> None:
    run = new_trainer(store_path, replace(CONFIG, train=replace(CONFIG.train, shapes_per_batch=4)))
    first = run.train_step()
    for _ in range(60):
        last = run.train_step()
    assert list(first) == ["loss", "general", "normals", "eikonal", "code"]
    assert last["general"] < 0.3 * first["general"] and last["normals"] < first["normals"]


def test_other_regularizers_join_and_a_bad_cloud_is_blamed(spheres: dict[bool, Path]) -> None:
    loss = replace(CONFIG.loss, heat=0.1, divergence=0.01, lipschitz=0.01)
    run = new_trainer(spheres[True], replace(CONFIG, loss=loss))
    assert {"heat", "divergence", "lipschitz", "eikonal", "normals"} < run.train_step().keys()
    run.pool._parts[2].surface[:, 0] = np.nan
    with pytest.raises(ls.TrainingError, match="the eikonal and general and normals term is not finite for ball/r0.5"):
        run.train_step()


def test_what_points_cannot_train_is_said(spheres: dict[bool, Path], store_path: Path, tmp_path: Path) -> None:
    for path, config, message in (
        (spheres[False], CONFIG, "shape 'ball/r0.3' has points without normals, .* set loss.normals to 0"),
        (spheres[True], small_config(), "shape 'ball/r0.3' has points of its surface alone .*train.samples: points"),
        (spheres[True], small_config(lattice=True), "shape 'ball/r0.3' has points of its surface alone"),
    ):
        with pytest.raises(ls.StoreError, match=message):
            new_trainer(path, config)
    bare = SampleStore.create(tmp_path / "bare.zarr", SampleStore.open(store_path).config)
    record = SampleStore.open(store_path).read("table/table_0000")
    bare.write(replace(record, samples=replace(record.samples, surface=np.empty((0, 6), np.float32))))
    with pytest.raises(ls.StoreError, match="'table/table_0000' has no points of its surface.* --surface above 0"):
        new_trainer(bare.path, CONFIG)
    dual = replace(CONFIG.model, overfit=BranchConfig(width=8))
    for config, message in (
        (replace(CONFIG, model=dual), "trains the general branch alone; set model.overfit.width to 0"),
        (replace(CONFIG, loss=replace(CONFIG.loss, eikonal=0.0)), "a field of zeros .* loss.eikonal above 0"),
        (replace(CONFIG, loss=replace(CONFIG.loss, regularizer_points=0)), "regularizer_points must be at least 1"),
        (replace(CONFIG, train=replace(CONFIG.train, samples="sdf")), "loss.normals compares .*train.samples: points"),
    ):
        with pytest.raises(ls.ConfigError, match=message):
            require_valid(config)


def test_files_that_are_no_clouds_are_named(spheres: dict[bool, Path], tmp_path: Path) -> None:
    points = _sphere(0.5, 300)[0]
    np.savetxt(tmp_path / "good.xyz", points)
    np.savetxt(tmp_path / "signed.xyz", np.hstack((points, points[:, :1])))
    np.savetxt(tmp_path / "flat.xyz", points[:, :2])
    np.savetxt(tmp_path / "few.xyz", points[:50])
    (tmp_path / "notes.txt").write_text("not points")
    trimesh.creation.box().export(tmp_path / "mesh.ply")
    report = import_samples(tmp_path, tmp_path / "s.zarr")
    name = tmp_path.name
    assert report.imported == [f"{name}/good"]
    for stem, message in (
        ("signed", r"signed.xyz: expected points \(N, 3\) or with normals \(N, 6\), got \(300, 4\)"),
        ("flat", r"flat.xyz: expected points .* got \(300, 2\)"),
        ("few", "50 points are too few"),
        ("notes", "notes.txt: cannot be read"),
        ("mesh", "mesh.ply: has faces; meshes are sampled by latentsdf-preprocess"),
    ):
        with pytest.raises(ls.StoreError, match=message):
            raise ls.StoreError(report.failed[f"{name}/{stem}"])
    with pytest.raises(ls.StoreError, match="normalization .sphere there, none now."):
        import_samples(tmp_path, tmp_path / "s.zarr", normalization="none")
    export_samples(SampleStore.open(spheres[True]), tmp_path / "s.h5")
    with pytest.raises(ls.ConfigError, match="in model space already; leave the normalization out"):
        import_samples(tmp_path / "s.h5", tmp_path / "t.zarr", normalization="none")
