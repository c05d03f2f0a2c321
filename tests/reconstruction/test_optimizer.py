"""Assignment of parameters to optimizers."""

from dataclasses import replace

import pytest
import torch
from helpers.settings import short_preset

from latentsdf.models.factory import build_network
from latentsdf.reconstruction.optimizer import FieldOptimizer


def test_one_optimizer_per_parameter() -> None:
    """Hidden matrices go to Muon, the features of a pyramid to row-wise Adam, all other parameters to Adam."""
    for method, kinds in (("igr", {"adam"}), ("hotspot", {"adam", "muon"}), ("latentsdf", {"adam", "grid"})):
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
