"""Where the losses look: on the cloud, around it, and in the box."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.data.mixture import Mixture
from latentsdf.geometry.pointcloud.denoising import denoise
from latentsdf.geometry.pointcloud.orientation import OrientedPointCloud
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.utils.console import show_note

_LOCAL_NEIGHBOUR = 50  # IGR's noise reaches to this neighbour
_POOL = 200_000
_GUIDE_STDS = (0.05, 0.02, 0.005)
_GUIDE_UNIFORM = 0.4  # share of the pool
_PIECE = 65_536


@dataclass(frozen=True)
class Batch:
    """Points of one step."""

    surface: Tensor
    normals: Tensor | None
    off: Tensor
    guide: Tensor
    guide_distance: Tensor


class Sampler:
    """Batches for one cloud, reproducible from the seed of the configuration."""

    def __init__(self, cloud: PointCloud, config: ReconstructConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.chances: Tensor | None = None
        """Probability of each point of the cloud; None for equal ones."""
        self.generator = torch.Generator().manual_seed(config.seed)
        share = config.nearby_share if config.nearby == "gaussian" else 0.0
        self.mixture = Mixture(cloud.dim, config.extent, config.gaussian_std, share)
        self._cloud = points = denoise(cloud.points) if config.denoise else cloud.points
        if points is not cloud.points:
            show_note("noise", "wider than the points' spacing; they are smoothed first (--denoise false: not)")
        normals = cloud.normals
        guide = np.empty((0, cloud.dim))
        distance = np.empty(0)
        if any(config.loss.guide):
            oriented = OrientedPointCloud(points, normals)
            normals = oriented.normals
            guide = self._around(points)
            pieces = [guide[start : start + _PIECE] for start in range(0, len(guide), _PIECE)]
            distance = np.concatenate([oriented.signed_distance(piece) for piece in pieces])
        self.points = torch.from_numpy(points.astype(np.float32))
        self.normals = None if normals is None else torch.from_numpy(normals.astype(np.float32))
        self.guide = torch.from_numpy(guide.astype(np.float32))
        self.guide_distance = torch.from_numpy(distance.astype(np.float32))
        if config.nearby == "local":
            nearest = min(_LOCAL_NEIGHBOUR, len(points) - 1)
            reach = self._tree.query(points, k=nearest + 1, workers=-1)[0][:, -1]
            self.reach = torch.from_numpy(reach.astype(np.float32))

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._cloud)

    def draw(self, guided: bool = True) -> Batch:
        """The next batch; `guided` with points that have a first signed distance, where there are any."""
        if self.chances is None:
            rows = self._rows(len(self.points), self.config.surface_points)
        else:
            count = self.config.surface_points
            rows = torch.multinomial(self.chances, count, replacement=True, generator=self.generator)
        off = self.mixture.draw(self.config.off_points, self.generator)
        if self.config.nearby == "local":
            near = self._rows(len(self.points), math.ceil(len(off) * self.config.nearby_share))
            noise = torch.randn(len(near), off.shape[1], generator=self.generator)
            off[len(off) - len(near) :] = self.points[near] + self.reach[near, None] * noise
        chosen = self._rows(len(self.guide), self.config.surface_points if guided and len(self.guide) else 0)
        parts = (
            self.points[rows],
            None if self.normals is None else self.normals[rows],
            off,
            self.guide[chosen],
            self.guide_distance[chosen],
        )
        return Batch(*(None if part is None else part.to(self.device) for part in parts))  # type: ignore[arg-type]

    def unsigned(self, points: Float[Tensor, "N d"]) -> tuple[Float[Tensor, " N"], Float[Tensor, "N d"]]:
        """Distances to the nearest point of the cloud, and unit directions away from it."""
        where = points.detach().cpu()
        distance, nearest = self._tree.query(where.numpy(), workers=-1)
        away = torch.nn.functional.normalize(where - self.points[nearest], dim=1)
        return torch.from_numpy(distance.astype(np.float32)).to(points.device), away.to(points.device)

    def _rows(self, total: int, count: int) -> Tensor:
        return torch.randint(max(total, 1), (count,), generator=self.generator)

    def _around(self, points: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(self.config.seed)
        uniform = round(_GUIDE_UNIFORM * _POOL)
        rows = rng.integers(len(points), size=_POOL - uniform)
        std = np.resize(_GUIDE_STDS, len(rows))[:, None]
        near = points[rows] + std * rng.normal(size=(len(rows), points.shape[1]))
        everywhere = rng.uniform(-self.config.extent, self.config.extent, (uniform, points.shape[1]))
        return np.concatenate((near, everywhere))
