"""Row-wise lazy Adam: a step costs what the batch touched, not the whole table.

Each row keeps its own step count for the bias correction, its first moment per value and its second moment as one
number. A row that no batch reads neither moves nor decays. With a dense gradient on every row and one channel it is
Adam (test).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class RowAdam:
    """Adam over the rows of one table (V, C) that receive a gradient (Kingma & Ba 2015, algorithm 1, row by row)."""

    def __init__(self, table: Tensor, lr: float, betas: tuple[float, float] = (0.9, 0.99), eps: float = 1e-12) -> None:
        self.table = table
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.first = torch.zeros_like(table)
        self.second = torch.zeros(len(table), device=table.device)
        self.count = torch.zeros(len(table), device=table.device)

    @torch.no_grad()
    def step(self, rows: Int[Tensor, " U"], gradient: Float[Tensor, "U C"]) -> None:
        """Move the given distinct rows."""
        beta1, beta2 = self.betas
        count = self.count[rows] + 1
        first = self.first[rows].lerp_(gradient, 1 - beta1)
        second = self.second[rows].lerp_(gradient.square().mean(1), 1 - beta2)
        self.count[rows], self.first[rows], self.second[rows] = count, first, second
        scale = (second / (1 - beta2**count)).sqrt_().add_(self.eps)
        step = first.mul_((-self.lr / ((1 - beta1**count) * scale))[:, None])
        self.table.index_add_(0, rows, step)

    def state_dict(self) -> dict[str, Tensor]:
        """Moments and counts, as tensors."""
        return {"first": self.first, "second": self.second, "count": self.count}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from `state_dict`."""
        for name in ("first", "second", "count"):
            getattr(self, name).copy_(state[name])
