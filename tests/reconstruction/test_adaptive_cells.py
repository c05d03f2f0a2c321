"""Adaptive cells as a quadrature of the box."""

import pytest
import torch

from latentsdf.reconstruction.adaptive_cells import AdaptiveCells


@pytest.mark.parametrize("dim", [2, 3])
def test_partition_and_quadrature(dim: int) -> None:
    """Cells are small where requested, fill the box, and their weights integrate the volume of any region."""
    cells = AdaptiveCells(dim, 1.1)
    cells.split(lambda points, level: points[:, 0].abs() < 0.2 / level, levels=2)
    assert (cells.edge**dim).sum().item() == pytest.approx(2.2**dim, rel=1e-5)
    base = 2.2 / 16
    assert set((base / cells.edge).round().int().tolist()) == {1, 2, 4}
    assert (cells.edge[(cells.lower[:, 0].abs() < 1e-3)] < 0.3 * base).all()
    assert (cells.edge[cells.lower[:, 0] > 0.3] > 0.9 * base).all()
    points, weights = cells.sample(100_000, torch.Generator().manual_seed(0))
    assert points.abs().max() <= 1.1
    for low, high in ((-1.1, 1.1), (-0.15, 0.02), (0.3, 0.9)):
        held = ((points > low) & (points < high)).all(1)
        assert weights[held].sum().item() == pytest.approx((high - low) ** dim, rel=0.08)
    # Half of the points lie in the finest cells, which cover a small part of the volume.
    assert (points[:, 0].abs() < 0.15).float().mean() > 0.3
