"""Assignment of parameters to optimizers."""

import copy
from dataclasses import replace

import pytest
import torch
from helpers.settings import short_preset

from latentsdf.models.factory import build_network
from latentsdf.models.feature_pyramid import FeaturePyramid
from latentsdf.reconstruction.optimizer import FieldOptimizer


def test_one_optimizer_per_parameter() -> None:
    """Hidden matrices go to Muon, the features of a pyramid to row-wise Adam, all other parameters to Adam."""
    methods = (
        ("igr", {"adam"}),
        ("hotspot", {"adam", "muon"}),
        ("latentsdf", {"adam", "grid"}),
        ("instant_ngp", {"adam", "grid"}),
    )
    for method, kinds in methods:
        config = short_preset(method)
        network = build_network(config.model, 2, config.extent)
        optimizer = FieldOptimizer(network, 2, config.train)
        assert set(optimizer.state_dict()) == kinds
        parameters = [p for p in network.parameters() if optimizer.grid is None or p.shape != network.table.shape]
        held = [*optimizer.adam.param_groups[0]["params"]]
        if optimizer.muon is not None:
            held += optimizer.muon.param_groups[0]["params"]
            assert all(min(p.shape) > 2 for p in optimizer.muon.param_groups[0]["params"])
        assert {id(p) for p in held} == {id(p) for p in parameters} and len(held) == len(parameters)


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_step_length(clip: float) -> None:
    """Without momentum the first Adam step has the length of the learning rate, clipped gradient or not."""
    config = short_preset("igr")
    network = build_network(config.model, 2, config.extent)
    optimizer = FieldOptimizer(network, 2, replace(config.train, lr_network=1e-3, clip=clip))
    before = [p.detach().clone() for p in network.parameters()]
    network(torch.rand(20, 2)).square().sum().backward()
    optimizer.step(0.5)
    moved = [(p - old).abs().max().item() for p, old in zip(network.parameters(), before, strict=True)]
    assert max(moved) == pytest.approx(5e-4, rel=0.05)


def test_moments_of_single_features() -> None:
    """With `grid_moments: value`, features move as by Adam; those that no batch reads keep their values."""
    config = short_preset("instant_ngp")
    network = build_network(config.model, 2, config.extent)
    assert isinstance(network, FeaturePyramid)
    optimizer = FieldOptimizer(network, 2, replace(config.train, grid_moments="value", lr_network=0.0, lr_grid=1e-2))
    expected = copy.deepcopy(network.table)
    start = expected.detach().clone()
    adam = torch.optim.Adam([expected], lr=1e-2, betas=(0.9, 0.99), eps=1e-12)
    points = torch.rand(64, 2)
    for _ in range(3):
        (network(points) - 1).square().sum().backward()
        rows, gradient = network.pop_row_gradients()
        expected.grad = torch.zeros_like(expected).index_copy(0, rows, gradient)
        adam.step()
        (network(points) - 1).square().sum().backward()
        optimizer.step(1.0)
    torch.testing.assert_close(network.table, expected, atol=1e-5, rtol=1e-3)
    moved = (network.table != start).any(1)
    assert moved.any() and not moved.all()
