"""The ways a benchmark compares do the same work."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from latentsdf.config import BranchConfig, GridConfig, ModelConfig
from latentsdf.losses import data_term
from latentsdf.model.field import LatentSDF


def _benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_step_of_ours_equals_one_of_grid_sample_and_dense_adam() -> None:
    training = _benchmark("training")
    torch.manual_seed(0)
    # One channel and one code value: there a moment by row is a moment by value.
    branch = BranchConfig(width=16, depth=2, conditioning="concat", frequencies=0)
    model = LatentSDF(ModelConfig(1, BranchConfig(width=0), branch, branch, GridConfig(12, 1)))
    torch.nn.init.normal_(model.shared_grid().table)
    codes = torch.randn(6, 1)
    reference, ours = training.ReferenceWay(model, codes), training.OurWay(model, codes)
    before = model.shared_grid().table.detach().clone()
    (batch,) = training.batches(1, shapes=4, points=50, known=6)
    assert ours.step(batch) == pytest.approx(reference.step(batch), rel=1e-5)
    table = model.shared_grid().table.detach()
    assert 0 < (table != before).float().mean() < 1
    torch.testing.assert_close(table, reference.volume.detach()[0].flatten(1).T, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.codes, reference.codes.weight.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.general.last.weight, reference.general[-1].weight, atol=1e-5, rtol=1e-4)


def test_losses_of_both_ways_are_equal_with_many_channels() -> None:
    training = _benchmark("training")
    torch.manual_seed(0)
    model = training.small_model(12, 8, width=16)
    torch.nn.init.normal_(model.shared_grid().table)
    codes = torch.randn(6, 32)
    (batch,) = training.batches(1, shapes=4, points=50, known=6)
    expected = training.ReferenceWay(model, codes).loss(batch).item()
    rows, points, distance = batch
    found = data_term(model.decode_general(points, codes[rows]), distance)
    found = (
        found + data_term(model.decode_overfit(points, codes[rows]), distance) + 1e-4 * codes[rows].norm(dim=1).mean()
    )
    assert found.item() == pytest.approx(expected, rel=1e-5)
