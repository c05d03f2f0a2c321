"""Images of a field on a slice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.similarity import Similarity
from latentsdf.reconstruction.plots import draw_distance, draw_phase
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.utils.errors import ConfigError


class _Disk(torch.nn.Module):
    """|x| - 0.55."""

    def __init__(self) -> None:
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(0.55))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=1) - self.radius


class _HalfPlane(torch.nn.Module):
    """1 for y > 0, else 0."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return (points[:, 1] > 0).float()


@pytest.mark.parametrize("dim", [2, 3])
def test_distance_image(dim: int) -> None:
    """A disk is blue, its outside orange, and its border a black ring, in any user frame."""
    similarity = Similarity((7.0,) * dim, 0.1)
    image = np.asarray(draw_distance(Reconstruction(_Disk(), similarity, ReconstructConfig()), size=220))
    assert image.shape == (220, 220, 3)
    center, corner = image[112, 107].astype(int), image[2, 2].astype(int)
    assert center[2] > center[0] and corner[0] > corner[2]
    rows, columns = np.nonzero((image == 0).all(-1))
    radius = np.hypot(rows + 0.5 - 110, columns + 0.5 - 110) / 100
    assert len(rows) > 100 and np.abs(radius - 0.55).max() < 0.02


def test_phase_image() -> None:
    """The phase of the upper half plane is white above black."""
    field = Reconstruction(_Disk(), Similarity((0.0, 0.0), 1.0), ReconstructConfig(), phase_field=_HalfPlane())
    image = np.asarray(draw_phase(field, size=16))
    assert (image[:8] == 255).all() and (image[8:] == 0).all()
    with pytest.raises(ConfigError, match="has no phase field"):
        draw_phase(replace(field, phase_field=None))
