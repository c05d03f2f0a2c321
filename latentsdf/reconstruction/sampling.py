"""Training points of one step: on the cloud, off the cloud, and with a guiding signed distance."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from latentsdf.config.reconstruction import FieldTrainConfig, ReconstructConfig
from latentsdf.data.importance_sampling import UniformGaussianMixture
from latentsdf.geometry.pointcloud.denoising import denoise
from latentsdf.geometry.pointcloud.orientation import OrientedPointCloud
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.utils.chunks import map_chunks
from latentsdf.utils.console import show_note

_LOCAL_NEIGHBOR = 50  # IGR: the distance to this neighbor is the standard deviation of local samples
_GUIDE_POINTS = 200_000
_GUIDE_STDS = (0.05, 0.02, 0.005)  # of the guide's points around the cloud
_GUIDE_UNIFORM = 0.4  # share of the guide's points that are uniform in the box


@dataclass(frozen=True)
class CloudBatch:
    """Points of one step, in model space."""

    surface: Float[Tensor, "N d"]
    """Points of the cloud."""
    normals: Float[Tensor, "N d"] | None
    """Unit normals at `surface`; None without normals."""
    offsurface: Float[Tensor, "M d"]
    """Points off the cloud; with `offsurface_sampling` `local` or `cloud`, the local ones last."""
    guide: Float[Tensor, "G d"]
    """Points with a guiding signed distance; none if the guide is off."""
    guide_distance: Float[Tensor, " G"]
    """Signed distance to the oriented cloud at `guide`."""


class CloudSampler:
    """Draws the batches of one cloud, reproducibly for the seed of the configuration.

    Args:
        cloud: The cloud in model space.
        config: Sizes and distribution of the batches; with `denoise` the points are smoothed first, and with a guide
            the cloud is oriented.
        device: Device of the batches.
    """

    def __init__(self, cloud: PointCloud, config: ReconstructConfig, device: torch.device) -> None:
        self.config, self.device = config.train, device
        self.point_probabilities: Tensor | None = None
        """Probability of each point of the cloud, (N,); None for a uniform distribution."""
        self.generator = torch.Generator().manual_seed(self.config.seed)
        gaussian_share = self.config.offsurface_share if self.config.offsurface_sampling == "gaussian" else 0.0
        self.mixture = UniformGaussianMixture(cloud.dim, config.extent, self.config.offsurface_std, gaussian_share)
        """Distribution of the off-surface points that are not local."""
        self._cloud = denoise(cloud.points) if config.denoise else cloud.points
        if self._cloud is not cloud.points:
            show_note("noise", "exceeds the point spacing; the points are smoothed first (denoise: false disables it)")
        normals = cloud.normals
        guide, guide_distance = np.empty((0, cloud.dim)), np.empty(0)
        if config.loss.uses_guide:
            oriented = OrientedPointCloud(self._cloud, normals)
            normals = oriented.normals
            guide = self._guide_points(config.extent)
            guide_distance = map_chunks(oriented.signed_distance, guide)
        self.points = _as_tensor(self._cloud)
        self.normals = None if normals is None else _as_tensor(normals)
        self._guide, self._guide_distance = _as_tensor(guide), _as_tensor(guide_distance)
        if self.config.offsurface_sampling in ("local", "cloud"):
            neighbor = min(_LOCAL_NEIGHBOR, len(self._cloud) - 1)
            distances = self._tree.query(self._cloud, k=neighbor + 1, workers=-1)[0]
            self._local_std = _as_tensor(distances[:, -1])

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._cloud)

    def draw(self, guided: bool = True) -> CloudBatch:
        """Draw the next batch.

        Args:
            guided: Include points with a guiding signed distance, if the configuration has a guide.

        Returns:
            The batch on the sampler's device.
        """
        rows = self._surface_rows()
        offsurface = self._offsurface()
        guide_count = self.config.surface_points if guided and len(self._guide) else 0
        guide_rows = self._uniform_rows(len(self._guide), guide_count)
        return CloudBatch(
            surface=self.points[rows].to(self.device),
            normals=None if self.normals is None else self.normals[rows].to(self.device),
            offsurface=offsurface.to(self.device),
            guide=self._guide[guide_rows].to(self.device),
            guide_distance=self._guide_distance[guide_rows].to(self.device),
        )

    def nearest(self, points: Float[Tensor, "N d"]) -> tuple[Float[Tensor, " N"], Float[Tensor, "N d"]]:
        """Find the nearest point of the cloud.

        Args:
            points: Query points (N, d) in model space.

        Returns:
            Distances (N,) to the nearest point of the cloud, and unit directions (N, d) away from it.
        """
        queries = points.detach().cpu()
        distance, nearest = self._tree.query(queries.numpy(), workers=-1)
        away = torch.nn.functional.normalize(queries - self.points[nearest], dim=1)
        return torch.from_numpy(distance.astype(np.float32)).to(points.device), away.to(points.device)

    def _surface_rows(self) -> Tensor:
        count = self.config.surface_points
        if self.point_probabilities is None:
            return self._uniform_rows(len(self.points), count)
        return torch.multinomial(self.point_probabilities, count, replacement=True, generator=self.generator)

    def _offsurface(self) -> Tensor:
        count, sampling = self.config.offsurface_points, self.config.offsurface_sampling
        if sampling not in ("local", "cloud"):
            return self.mixture.draw(count, self.generator)
        if sampling == "local":
            points = self.mixture.draw(count, self.generator)
        else:
            points = self._displaced(self._uniform_rows(len(self.points), count), self.config.offsurface_std)
        rows = self._uniform_rows(len(self.points), local_count(self.config))
        points[len(points) - len(rows) :] = self._displaced(rows, self._local_std[rows, None])
        return points

    def _displaced(self, rows: Tensor, std: Tensor | float) -> Tensor:
        """Points of the cloud plus normal noise."""
        return self.points[rows] + std * torch.randn(len(rows), self.points.shape[1], generator=self.generator)

    def _uniform_rows(self, total: int, count: int) -> Tensor:
        return torch.randint(max(total, 1), (count,), generator=self.generator)

    def _guide_points(self, extent: float) -> NDArray[np.float64]:
        """Draw points of the cloud displaced by Gaussian noise of three widths, and uniform points."""
        rng = np.random.default_rng(self.config.seed)
        uniform_count = round(_GUIDE_UNIFORM * _GUIDE_POINTS)
        rows = rng.integers(len(self._cloud), size=_GUIDE_POINTS - uniform_count)
        std = np.resize(_GUIDE_STDS, len(rows))[:, None]
        near = self._cloud[rows] + std * rng.normal(size=(len(rows), self._cloud.shape[1]))
        uniform = rng.uniform(-extent, extent, (uniform_count, self._cloud.shape[1]))
        return np.concatenate((near, uniform))


def local_count(config: FieldTrainConfig) -> int:
    """Return the number of local points of a batch with `offsurface_sampling` `local` or `cloud`."""
    return math.ceil(config.offsurface_points * config.offsurface_share)


def _as_tensor(array: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
