"""Loss terms of a batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.settings import small_config
from helpers.training import new_trainer

import latentsdf as ls
from latentsdf.config import loader
from latentsdf.config.model import BranchConfig, ModelConfig
from latentsdf.config.training import Config, LossConfig, TrainConfig
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.sdf_batches import SdfBatch
from latentsdf.data.store import SampleStore
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training import objective
from latentsdf.training.objective import Objective


@pytest.mark.parametrize("points", [False, True], ids=["sdf", "points"])
def test_heat_term_equals_integral_over_box(points: bool, store_path: Path) -> None:
    """The heat term of the general branch equals numerical quadrature, with the scheduled absorption."""
    many = SampleStore.open(store_path)
    kind = "points" if points else "sdf"
    settings = TrainConfig(samples=kind, shapes_per_batch=1, points_per_shape=4, bf16=False)  # type: ignore[arg-type]
    loss = LossConfig(heat=1.0, heat_lambda=(4.0, 0.5, 4.0, 8.0), eikonal=1.0, regularizer_points=150_000)
    batch = ShapeSamplePool(many, many.keys(), settings, loss).batch(0)
    model = LatentSDF(ModelConfig(code_dim=1, warp=BranchConfig(width=0), overfit=BranchConfig(width=0)))
    model.branch = lambda *args, **_: 1.5 * (args[1].norm(dim=-1) - 0.5)  # type: ignore[method-assign]
    axis = (torch.arange(120) + 0.5) / 60 - 1
    distance = 1.5 * (torch.cartesian_prod(axis, axis, axis).norm(dim=-1) - 0.5)
    for progress, absorption in ((0.0, 4.0), (0.75, 6.0), (1.0, 8.0)):
        terms, _ = Objective(model, loss, settings)(batch, torch.zeros(1, 1), 1.0, progress)
        integral = 8 * (0.5 * torch.exp(-2 * absorption * distance.abs()) * (1.5**2 + 1)).mean().item()
        assert terms["heat"].item() == pytest.approx(integral, rel=0.015)
        assert terms["eikonal"].item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("branch", ["general", "overfit"])
def test_regularizers_on_either_branch(branch: str, store_path: Path) -> None:
    """Every regularizer is finite and trains on the general and on the overfit branch."""
    smooth = BranchConfig(width=24, depth=2, activation="softplus", frequencies=2)
    config = small_config(points_per_shape=64, bf16=False)
    config = replace(config, model=replace(config.model, general=smooth, overfit=smooth))
    weights = {"directional_divergence": 0.1, "lipschitz": 0.1, "eikonal": 0.1}
    loss = LossConfig(**weights, eikonal_norm="l2", code_prior="kl", code=0.01, regularizer_points=32)
    loss = replace(loss, regularizer_branch=branch)  # type: ignore[arg-type]
    run = new_trainer(store_path, replace(config, loss=loss))
    first = run.train_step()
    for _ in range(30):
        last = run.train_step()
    assert weights.keys() < first.keys() and all(np.isfinite(list(last.values())))
    assert last["loss"] < first["loss"]
    run.pool._parts[2].offsurface[:, 3] = np.nan
    with pytest.raises(ls.TrainingError, match="the general term is not finite for table/table_0002"):
        run.train_step()


def test_general_branch_without_residual_gradient(store_path: Path) -> None:
    """Without its data term, the general branch receives no gradient from the overfit branch."""
    config = small_config(free_share=0.25, code_decay=0.0)
    run = new_trainer(store_path, replace(config, loss=LossConfig(general=0, code=0)))
    start = {name: value.clone() for name, value in run.model.named_parameters()}
    for _ in range(3):
        run.train_step()
    moved = {name for name, value in run.model.named_parameters() if not torch.equal(value, start[name])}
    assert {name.split(".")[0] for name in moved} == {"overfit", "grid", "warp"}


@pytest.mark.slow
def test_parameters_trained_by_agreement(store_path: Path) -> None:
    """The agreement term falls, while grid and codes stay unchanged."""
    config = small_config(points_per_shape=512, bf16=False, code_std=0.3)
    run = new_trainer(store_path, replace(config, loss=LossConfig(general=0, overfit=0, code=0, agreement=1)))
    table = run.model.require_grid().table.data.normal_(0, 0.3)
    before, codes = table.clone(), run.codes.table.detach().clone()
    terms = [run.train_step()["agreement"] for _ in range(80)]
    assert np.mean(terms[-10:]) < 0.5 * np.mean(terms[:10])
    assert torch.equal(table, before) and torch.equal(run.codes.table, codes)


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_products_by_device(native: bool, store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrix products use bfloat16 only on devices with native support."""
    kind = torch.bfloat16 if native else torch.float32
    monkeypatch.setattr(objective, "matmul_dtype", lambda device: kind if device.type == "cpu" else None)
    found = new_trainer(store_path, small_config(points_per_shape=64)).train_step()
    exact = new_trainer(store_path, small_config(points_per_shape=64, bf16=False)).train_step()
    assert found == pytest.approx(exact, rel=0.05) and (found == exact) is not native


def test_independence_of_terms_of_one_branch(store_path: Path) -> None:
    """Terms that share one evaluation of a branch have the values of separate evaluations."""
    config = small_config(points_per_shape=64, bf16=False)
    weights = {"heat": 0.3, "eikonal": 0.7}
    alone = {}
    for name, weight in weights.items():
        loss = LossConfig(**{name: weight}, regularizer_branch="overfit")
        alone[name] = new_trainer(store_path, replace(config, loss=loss)).train_step()[name]
    loss = LossConfig(**weights, regularizer_branch="overfit")
    together = new_trainer(store_path, replace(config, loss=loss)).train_step()
    assert {name: together[name] for name in weights} == pytest.approx(alone, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("branch", ["general", "overfit"])
def test_eikonal_and_heat_on_either_branch(branch: str, store_path: Path) -> None:
    """Eikonal and heat terms fall on the general and on the overfit branch."""
    loss = replace(small_config().loss, eikonal=0.1, heat=0.1, regularizer_points=64)
    loss = replace(loss, regularizer_branch=branch)  # type: ignore[arg-type]
    config = replace(small_config(steps=40), loss=loss)
    run = new_trainer(store_path, config)
    first = run.train_step()
    for _ in range(30):
        last = run.train_step()
    assert {"eikonal", "heat"} <= first.keys()
    assert last["eikonal"] + last["heat"] < first["eikonal"] + first["heat"]


def test_data_term_of_deepsdf() -> None:
    """The data and code terms of `deepsdf` are the release's: means over all samples, and over the shapes."""
    config = loader.load(Config, loader.find_preset("deepsdf"))
    generator = torch.Generator().manual_seed(0)
    points = 2 * torch.rand(3, 40, 3, generator=generator) - 1
    distance = 0.3 * torch.randn(3, 40, generator=generator)
    empty = torch.zeros(3, 0, 3)
    batch = SdfBatch(torch.arange(3), points[:, :20], distance[:, :20], points[:, 20:], distance[:, 20:], empty, empty)
    codes = torch.randn(3, 1, generator=generator)
    model = LatentSDF(ModelConfig(code_dim=1, warp=BranchConfig(width=0), overfit=BranchConfig(width=0)))
    model.decode_general = lambda points, _: 0.5 * points[..., 0]  # type: ignore[method-assign]
    terms, _ = Objective(model, config.loss, replace(config.train, bf16=False))(batch, codes, 0.25, 0.0)
    predicted = (0.5 * points[..., 0]).clamp(-0.1, 0.1)
    assert terms["general"].item() == pytest.approx((predicted - distance.clamp(-0.1, 0.1)).abs().mean().item())
    assert terms["code"].item() == pytest.approx(1e-4 * 0.25 * codes.norm(dim=1).mean().item(), rel=1e-5)
    assert terms.keys() == {"general", "code"}
