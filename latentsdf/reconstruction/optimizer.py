"""Optimizer of one field: Adam, Muon for hidden weight matrices, and row-wise Adam for the features of a pyramid."""

from typing import Any

import torch
from torch import nn

from latentsdf.config.reconstruction import FieldTrainConfig
from latentsdf.models.feature_pyramid import FeaturePyramid
from latentsdf.training.row_adam import RowAdam


class FieldOptimizer:
    """Updates each parameter of the network of a field by one of three optimizers.

    Args:
        network: The network; the features of a `FeaturePyramid` are updated row by row.
        dim: Dimension of the points. Matrices with more rows and columns than this belong to hidden layers.
        config: Learning rates, second-moment decay and maximum gradient norm.
    """

    def __init__(self, network: nn.Module, dim: int, config: FieldTrainConfig) -> None:
        self.network, self.config = network, config
        dense = [parameter for name, parameter in network.named_parameters() if name != "table"]
        matrices = [p for p in dense if p.ndim == 2 and min(p.shape) > dim and config.lr_matrices > 0]
        others = [p for p in dense if not any(p is matrix for matrix in matrices)]
        self.adam = torch.optim.Adam(others, lr=config.lr_network, betas=(0.9, config.beta2), fused=True)
        self.muon = torch.optim.Muon(matrices, config.lr_matrices, weight_decay=0.0) if matrices else None
        self.grid: RowAdam | None = None
        if isinstance(network, FeaturePyramid):
            table = network.table.data
            self.grid = RowAdam(table if config.grid_moments == "row" else table.view(-1, 1), config.lr_grid)

    def step(self, scale: float) -> None:
        """Update the parameters by their gradients.

        Args:
            scale: Factor of every learning rate.
        """
        if self.config.clip > 0:
            nn.utils.clip_grad_norm_(self.adam.param_groups[0]["params"], self.config.clip)
        self.adam.param_groups[0]["lr"] = self.config.lr_network * scale
        self.adam.step()
        if self.muon is not None:
            self.muon.param_groups[0]["lr"] = self.config.lr_matrices * scale
            self.muon.step()
        if self.grid is not None:
            assert isinstance(self.network, FeaturePyramid)
            self.grid.lr = self.config.lr_grid * scale
            rows, gradient = self.network.pop_row_gradients()
            if self.config.grid_moments == "value":
                channels = gradient.shape[1]
                rows = (rows[:, None] * channels + torch.arange(channels, device=rows.device)).flatten()
                gradient = gradient.reshape(-1, 1)
            self.grid.step(rows, gradient)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each optimizer in use, by name."""
        optimizers = {"adam": self.adam, "muon": self.muon, "grid": self.grid}
        return {name: optimizer.state_dict() for name, optimizer in optimizers.items() if optimizer is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.adam.load_state_dict(state["adam"])
        if self.muon is not None:
            self.muon.load_state_dict(state["muon"])
        if self.grid is not None:
            self.grid.load_state_dict(state["grid"])
