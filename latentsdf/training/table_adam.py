"""Adam over all values of a table of which each step reads few rows, with the interface of `row_adam.RowAdam`.

Rows that a step does not read have the gradient 0: their moments decay and their values still move. The releases of
DeepSDF, Compact-SDF and IGR optimize codes and grids in this way. The time and memory of a step grow with the table.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


class TableAdam:
    """`torch.optim.Adam` of one table.

    Args:
        table: Float32 parameters (V, C), updated in place.
        lr: Learning rate; may be changed between steps.
        betas: Decays of the moments.
    """

    def __init__(self, table: Tensor, lr: float, betas: tuple[float, float]) -> None:
        self.table = table
        self._adam = torch.optim.Adam([table], lr=lr, betas=betas, fused=True)

    @property
    def lr(self) -> float:
        """Learning rate."""
        return float(self._adam.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        self._adam.param_groups[0]["lr"] = value

    def step(self, rows: Int[Tensor, " U"], gradient: Float[Tensor, "U C"]) -> None:
        """Update the table.

        Args:
            rows: Distinct indices (U,) of the rows whose gradients are not 0.
            gradient: Gradients (U, C) of these rows.
        """
        self.table.grad = torch.zeros_like(self.table).index_copy_(0, rows, gradient)
        self._adam.step()
        self.table.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return moments and step count."""
        return self._adam.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self._adam.load_state_dict(state)
