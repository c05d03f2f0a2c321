"""Benchmarks: both sides of a comparison do the same work, and reported values match closed forms."""

import argparse
import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from helpers.paths import REPOSITORY

import latentsdf as ls
from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.config.reconstruction import FieldLossConfig
from latentsdf.data.furniture import furniture
from latentsdf.geometry.mesh import save
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training.losses.data import data_term
from latentsdf.utils.errors import ConfigError


def _benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_training_step_matches_grid_sample_with_dense_adam() -> None:
    """With one channel and one code value, a step equals the reference step in loss, grid, codes and weights."""
    training = _benchmark("training")
    torch.manual_seed(0)
    # With one channel and one code value, a moment per row is a moment per value.
    branch = BranchConfig(width=16, depth=2, conditioning="concat", frequencies=0)
    none = BranchConfig(width=0)
    config = ModelConfig(code_dim=1, warp=none, general=branch, overfit=branch, grid=GridConfig(12, 1), residual=False)
    model = LatentSDF(config)
    torch.nn.init.normal_(model.require_grid().table)
    codes = torch.randn(6, 1)
    reference, ours = training.ReferenceTrainer(model, codes), training.RowTrainer(model, codes)
    before = model.require_grid().table.detach().clone()
    (batch,) = training.batches(1, shapes=4, points=50, known=6)
    assert ours.step(batch) == pytest.approx(reference.step(batch), rel=1e-5)
    table = model.require_grid().table.detach()
    assert 0 < (table != before).float().mean() < 1
    torch.testing.assert_close(table, reference.volume.detach()[0].flatten(1).T, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.codes, reference.codes.weight.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.general.last.weight, reference.general[-1].weight, atol=1e-5, rtol=1e-4)


def test_training_losses_match_with_many_channels() -> None:
    """Both implementations compute the same loss and error for many channels."""
    training = _benchmark("training")
    torch.manual_seed(0)
    model = training.small_model(12, 8, width=16)
    torch.nn.init.normal_(model.require_grid().table)
    codes = torch.randn(6, 32)
    (batch,) = training.batches(1, shapes=4, points=50, known=6)
    expected = training.ReferenceTrainer(model, codes).loss(batch).item()
    rows, points, distance = batch
    found = data_term(model.decode_general(points, codes[rows]), distance)
    found = (
        found + data_term(model.decode_overfit(points, codes[rows]), distance) + 1e-4 * codes[rows].norm(dim=1).mean()
    )
    assert found.item() == pytest.approx(expected, rel=1e-5)
    errors = [trainer(model, codes).error(batch) for trainer in (training.ReferenceTrainer, training.RowTrainer)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)


def test_step_count_of_seconds_to_error() -> None:
    """The number of steps to an error follows from a known gain per step; a method that never improves times out."""
    training = _benchmark("training")

    class GeometricError:
        def __init__(self, gain: float) -> None:
            self.left, self.gain = 1.0, gain

        def step(self, _: object) -> None:
            self.left *= self.gain

        def error(self, _: object) -> float:
            return self.left

    found = training.seconds_to_error(
        {"slow": GeometricError(0.9), "fast": GeometricError(0.5)}, lambda step: step, None, 0.01, 1.0, every=1
    )
    assert [steps for _, steps, _ in found.values()] == [44, 7]
    assert all(error <= 0.01 and seconds > 0 for seconds, _, error in found.values())
    stuck = training.seconds_to_error({"stuck": GeometricError(1.0)}, lambda step: step, None, 0.01, 1e-6, every=1)
    assert stuck["stuck"][2] == 1.0


@pytest.fixture
def regularizers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module benchmarks/regularizers.py, which can import quality.py."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    return _benchmark("regularizers")


def _sphere_samples() -> torch.Tensor:
    """Points around a sphere of radius 0.5 with their distances; distances below 0.1 are wrong on purpose."""
    torch.manual_seed(0)
    points = torch.rand(30_000, 3) * 2 - 1
    distance = points.norm(dim=1) - 0.5
    distance[distance.abs() < 0.09] = 0.095
    return torch.cat((points, distance[:, None]), dim=1)


def test_far_field_of_sphere(regularizers: ModuleType) -> None:
    """Far-field errors of an exact and of a scaled, shifted sphere equal their closed forms."""
    samples = _sphere_samples()
    far = samples[samples[:, 3].abs() > 0.1]
    exact = regularizers.far_field(lambda x: x.norm(dim=1) - 0.5, samples)
    assert exact == pytest.approx({"error": 0, "wrong_sign": 0, "slope_error": 0}, abs=1e-6)
    # Slope 3 and a radius too large by 0.2: the sign is wrong from 0.5 to 0.7, of which 0.6 to 0.7 is far.
    found = regularizers.far_field(lambda x: 3 * (x.norm(dim=1) - 0.7), samples)
    radius = far[:, :3].norm(dim=1)
    assert found["slope_error"] == pytest.approx(2, abs=1e-5)
    assert found["wrong_sign"] == pytest.approx(float(((radius > 0.6) & (radius < 0.7)).float().mean()), abs=1e-4)
    assert found["error"] == pytest.approx(float((3 * (radius - 0.7) - far[:, 3]).abs().mean()), rel=1e-5)


def test_debris_share_of_area(regularizers: ModuleType) -> None:
    """Debris is the share of the area outside the largest piece; specks count as area and not as pieces."""
    parts = [trimesh.creation.icosphere(2, radius) for radius in (1.0, 0.5, 0.05)]
    for place, part in enumerate(parts):
        part.apply_translation((3 * place, 0, 0))
    areas = [part.area for part in parts]
    # The third sphere has 0.25 % of the area of the first: debris, but not a piece.
    found = regularizers.debris(trimesh.util.concatenate(parts))
    assert found == {"pieces": 2, "debris": pytest.approx(1 - areas[0] / sum(areas))}
    assert regularizers.debris(parts[0]) == {"pieces": 1, "debris": pytest.approx(0, abs=1e-12)}


def test_valid_and_distinct_regularizer_variants(regularizers: ModuleType) -> None:
    """Every variant is a valid configuration, no two are equal, and all have the same time budget."""
    configs = [regularizers.timed_config(regularizers.BASE, 1.0, changed) for changed in regularizers.VARIANTS.values()]
    assert len({repr(config) for config in configs}) == len(regularizers.VARIANTS)
    assert {config.train.minutes for config in configs} == {1.0}
    assert all({*pair} <= regularizers.VARIANTS.keys() for pair in regularizers.REFERENCES)


def test_loss_terms_of_ablation_variants() -> None:
    """The variants of HotSpot's ablation share all settings but the loss, each with its documented terms."""
    pointcloud = _benchmark("pointcloud")
    lines = {
        name: pointcloud._config(name, argparse.Namespace(dimension="2d", set=["train.seed=3"]))
        for name in pointcloud.ABLATION
    }
    assert {line.train.seed for line in lines.values()} == {3}
    assert len({replace(line, method="", loss=FieldLossConfig()) for line in lines.values()}) == 1
    terms = {
        name: {term for term, weight in vars(line.loss).items() if _counts(weight) and not term.endswith("_lambda")}
        for name, line in lines.items()
    }
    assert terms["eikonal"] == {"surface", "eikonal"}
    assert terms["heat"] - terms["eikonal"] == {"heat"} and terms["area"] - terms["eikonal"] == {"off_surface"}
    assert terms["sal"] == {"surface", "sign_agnostic"}
    with pytest.raises(ConfigError, match="loss.heet"):
        pointcloud._config("heat", argparse.Namespace(dimension="2d", set=["loss.heet=[1.0]"]))


def _counts(weight: tuple[float, ...] | bool) -> bool:
    return isinstance(weight, tuple) and any(weight)


@pytest.mark.slow
def test_ablations_of_a_space(space_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are metrics of the same shapes with one choice changed: the width of the band, or the branch."""
    ablations, meshes = _benchmark("ablations"), tmp_path / "meshes"
    save(furniture("table", 1), meshes / "table" / "table_0001.ply")
    words = [str(space_path), "--meshes", str(meshes), "--resolution", "32", "--points", "500"]
    tables = {}
    for name, more in (("band", ["--widths", "1", "6"]), ("branches", [])):
        monkeypatch.setattr("sys.argv", ["ablations.py", name, *words, *more, "--markdown", str(tmp_path / name)])
        ablations.main()
        tables[name] = [line.split(" | ") for line in (tmp_path / name).read_text().splitlines()]
    assert [row[0] for row in tables["band"][2:]] == ["| n = 1", "| n = 6"]
    assert [row[0] for row in tables["branches"][2:]] == [f"| {name}" for name in ablations.BRANCHES]
    space = ls.load(space_path, "cpu")
    references = {"table_0001": furniture("table", 1)}
    options: dict[str, Any] = {"resolution": 32, "points": 500, "field_points": 0, "against": "vertices"}
    found, _ = ls.evaluate(space, references, mode="general", **options)
    row = tables["branches"][2]
    assert float(row[1]) == pytest.approx(1e4 * found.figures()["table_0001"]["cd_sq_sum"], abs=1e-3)


@pytest.mark.parametrize("name", ["points", "oriented", "half", "view", "noisy"])
def test_observations_of_unseen_shapes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points of a ball are at its radius, on the side that is meant, and its normals point away from the center."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    observed, _ = _benchmark("unseen").CLOUDS[name](trimesh.creation.icosphere(4, 0.5))
    points, tolerance = np.asarray(observed)[:, :3], 0.05 if name == "noisy" else 3e-3
    assert len(points) > 500 and np.abs(np.linalg.norm(points, axis=1) - 0.5).max() < tolerance
    if observed.shape[1] == 6:
        assert ((points * observed[:, 3:]).sum(1) > 0.49).all()
    if name == "half":
        assert points[:, 0].min() > 0
    if name == "view":  # from 35 degrees to the right and 20 degrees above
        depth = points @ [0.539, 0.342, 0.770]
        assert depth.min() > -0.01 and depth.max() > 0.49
