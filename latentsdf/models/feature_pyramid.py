"""Multiresolution feature grids with a small softplus network, for fast fitting of one point cloud.

Level l covers [-extent, extent]^d with R_l cells per axis. Its features G_l are interpolated multilinearly, and the
field is u(x) = f([x, G_1(x), ..., G_n(x)]) with a multilayer perceptron f.

Hash grids (Instant-NGP, Müller et al. 2022, Sec. 3) limit the memory of fine levels: a level with more than 2^T
vertices has a table of 2^T rows, and vertex i = (i_1, ..., i_d), each in 0 .. R_l, reads row

    h(i) = (i_1 p_1 xor ... xor i_d p_d) mod 2^T,   p = (1, 2654435761, 805459861)      (Eq. 4)

Vertices that collide share a row. Coarser levels have one row per vertex. The resolutions grow geometrically
(`growing_resolutions`). Differences from Instant-NGP: f also reads x, and is smooth, so that losses in grad u can be
differentiated.

Gradients: on the CPU, one compiled pass over the points computes the features and their spatial derivatives, so

    grad u = df/dx + sum_l (dG_l/dx)^T (df/dG_l)

needs one reverse pass through f and none through the grids. The backward pass of a loss in u and grad u adds to the
rows that the points read. `forward` is differentiable once in the points, with the same gradient. Pure second
derivatives of G_l are zero, so losses in the Hessian would be incomplete: the points of `jet` cannot be differentiated
again.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsdf.models.derivatives import Jet
from latentsdf.utils.numba_cache import compiled
from latentsdf.utils.torch_lattice import lattice_coordinates

_BETA = 100.0  # of the softplus activation
_PRIMES = (1, 2654435761, 805459861)
"""Factors of the spatial hash by axis (Müller et al. 2022, Eq. 4)."""
_HASHED_START = 1e-4  # hashed features start uniform in +-this (Müller et al. 2022, Sec. 4)


def growing_resolutions(levels: int, base: int, finest: int) -> tuple[int, ...]:
    """Resolutions R_l = floor(base b^l), b = (finest / base)^(1 / (levels - 1)) (Müller et al. 2022, Eq. 2 and 3).

    Args:
        levels: Number L of levels, at least 1.
        base: Cells per axis of the first level.
        finest: Cells per axis of the last level, at least `base`; not used if there is one level.

    Returns:
        L resolutions, from `base` to `finest`.
    """
    growth = (finest / base) ** (1 / max(levels - 1, 1))
    # The tolerance makes the last one exact: 16 * 128^(1 / 15)^15 is 2047.9999999999993.
    return tuple(math.floor(base * growth**level * (1 + 1e-9)) for level in range(levels))


class FeaturePyramid(nn.Module):
    """Map from points (N, dim) to distances (N,).

    Args:
        dim: Dimension d of the points.
        resolutions: Cells R_l per axis of each level.
        channels: Features C per vertex.
        width: Width of the network's hidden layers.
        depth: Number of the network's hidden layers.
        extent: Half side of the box.
        max_rows: Rows 2^T of a level, a power of two; finer levels are hashed. None for dense levels of any size.

    Attributes:
        table: (V, C) features of the vertices of all levels, one level after the other.
        network: The multilayer perceptron f.
    """

    def __init__(
        self,
        dim: int,
        resolutions: tuple[int, ...],
        channels: int,
        width: int,
        depth: int,
        extent: float,
        max_rows: int | None = None,
    ) -> None:
        super().__init__()
        self.dim, self.extent = dim, extent
        self.resolutions = np.array(resolutions)
        rows = (self.resolutions + 1) ** dim
        self.masks = np.zeros_like(rows)
        """(L,) Mask 2^T - 1 of the row of each hashed level, 0 of dense levels."""
        if max_rows is not None:
            self.masks[rows > max_rows] = max_rows - 1
            rows = np.minimum(rows, max_rows)
        self.offsets = np.cumsum([0, *rows])
        self.table = nn.Parameter(torch.zeros(int(self.offsets[-1]), channels))
        if max_rows is not None:
            nn.init.uniform_(self.table, -_HASHED_START, _HASHED_START)
        inputs = dim + channels * len(resolutions)
        layers: list[nn.Module] = []
        for number in range(depth):
            layers += [nn.Linear(inputs if number == 0 else width, width), nn.Softplus(beta=_BETA)]
        self.network = nn.Sequential(*layers, nn.Linear(width, 1))
        for layer in self.network:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        self._sums: Tensor | None = None
        self._touched = np.zeros(len(self.table), dtype=np.bool_)

    def forward(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Signed distances."""
        if not points.requires_grad:
            return self._decode(points, self._features(points, derivatives=False)[:, 0])
        features = self._features(points)
        moved = (points - points.detach())[:, None]  # 0, with the derivative of the points
        return self._decode(points, features[:, 0] + (moved @ features[:, 1:]).squeeze(1))

    def jet(self, points: Float[Tensor, "N d"]) -> Jet:
        """Distances and gradients by the chain rule; see the module docstring."""
        features = self._features(points)
        inputs = torch.cat((points, features[:, 0]), dim=1).requires_grad_()
        distance: Tensor = self.network(inputs).squeeze(-1)
        (slope,) = torch.autograd.grad(distance.sum(), inputs, create_graph=True)
        through_features = (features[:, 1:] @ slope[:, self.dim :, None]).squeeze(-1)
        return Jet(points, distance, slope[:, : self.dim] + through_features)

    def pop_row_gradients(self) -> tuple[Int[Tensor, " U"], Float[Tensor, "U C"]]:
        """Return and clear the gradients that accumulated in `table` since the last call.

        Returns:
            The distinct rows (U,) with gradients, ascending, and their gradients (U, C).
        """
        if self._sums is None:
            gradient = self.table.grad
            assert gradient is not None
            rows = gradient.abs().sum(1).nonzero().squeeze(1)
            self.table.grad = None
            return rows, gradient[rows]
        rows = torch.from_numpy(np.flatnonzero(self._touched))
        gradients = self._sums[rows]
        self._sums[rows] = 0
        self._touched[:] = False
        return rows, gradients

    def _decode(self, points: Tensor, features: Tensor) -> Tensor:
        distance: Tensor = self.network(torch.cat((points, features), dim=1)).squeeze(-1)
        return distance

    def _features(self, points: Float[Tensor, "N d"], derivatives: bool = True) -> Float[Tensor, "N _ LC"]:
        """Features of all levels (index 0 of the second axis) and their derivatives along each axis (1 .. d)."""
        if self.table.device.type != "cpu" or self.table.dtype != torch.float32:
            return self.features_reference(points)
        if self._sums is None:
            self._sums = torch.zeros_like(self.table)
        features: Tensor = _InterpolateLevels.apply(self.table, points.detach(), derivatives, self)  # type: ignore[no-untyped-call]
        return features

    def features_reference(self, points: Float[Tensor, "N d"]) -> Float[Tensor, "N 1+d LC"]:
        """Reference implementation of the compiled pass in torch operations, for any device and precision."""
        levels = []
        # Computed on the device: a constant would be copied there in each call.
        corner = torch.arange(2**self.dim, device=points.device)
        bits = torch.stack([corner >> (self.dim - 1 - axis) & 1 for axis in range(self.dim)], dim=1)
        sizes = (array.tolist() for array in (self.resolutions, self.offsets[:-1], self.masks))
        for resolution, offset, mask in zip(*sizes, strict=True):
            position = lattice_coordinates(points.detach() / self.extent, resolution)
            inside = (position > 0) & (position < resolution)
            position = position.clamp(0, resolution)
            lower = position.floor().clamp(max=resolution - 1)
            fraction = (position - lower)[:, None]
            pairs = torch.where(bits == 1, fraction, 1 - fraction)
            rows = torch.zeros((), dtype=torch.long, device=points.device)
            for index, prime in zip((lower.long()[:, None] + bits).unbind(-1), _PRIMES, strict=False):
                rows = rows ^ (index * prime) if mask else rows * (resolution + 1) + index
            rows = (rows & mask if mask else rows) + offset
            weights = [pairs.prod(-1)]
            for axis in range(self.dim):
                others = pairs[..., [a for a in range(self.dim) if a != axis]].prod(-1)
                rate = torch.where(inside[:, axis], resolution / (2 * self.extent), 0.0)[:, None]
                weights.append((2 * bits[:, axis] - 1) * rate * others)
            levels.append(torch.stack(weights, dim=1) @ self.table[rows])
        return torch.cat(levels, dim=-1)


class _InterpolateLevels(torch.autograd.Function):
    """Features and derivatives by compiled kernels.

    The backward pass accumulates into the pyramid's own buffer, because most rows of the table get no gradient.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, points: Tensor, derivatives: bool, pyramid: FeaturePyramid) -> Tensor:
        ctx.points, ctx.pyramid = points, pyramid
        count = len(pyramid.resolutions) * table.shape[1]
        features = torch.zeros(len(points), 1 + pyramid.dim if derivatives else 1, count)
        _interpolate(
            np.ascontiguousarray(points.numpy()),
            table.detach().numpy(),
            pyramid.resolutions,
            pyramid.masks,
            pyramid.offsets,
            np.float32(pyramid.extent),
            features.numpy(),
        )
        return features

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None, None]:
        pyramid: FeaturePyramid = ctx.pyramid
        assert pyramid._sums is not None
        _scatter_add(
            np.ascontiguousarray(ctx.points.numpy()),
            pyramid._sums.numpy(),
            pyramid._touched,
            pyramid.resolutions,
            pyramid.masks,
            pyramid.offsets,
            np.float32(pyramid.extent),
            gradient.contiguous().numpy(),
        )
        return None, None, None, None


@compiled(inline="always")
def _cell(x: Any, resolution: Any, extent: Any) -> Any:
    """Cell along one axis, position in it, and the derivative of that position by x, which is 0 outside the box."""
    position = (x / extent + np.float32(1)) * np.float32(resolution / 2)
    rate = np.float32(resolution) / (np.float32(2) * extent)
    if position <= 0:
        return 0, np.float32(0), np.float32(0)
    if position >= resolution:
        return resolution - 1, np.float32(1), np.float32(0)
    lower = int(position)
    return lower, position - np.float32(lower), rate


@compiled(inline="always")
def _corner(corner: Any, dim: Any, side: Any, mask: Any, lower: Any, fraction: Any, rate: Any, weights: Any) -> Any:
    """Row of a corner within its level; writes its weight and the weight's spatial derivatives to `weights`."""
    row = 0
    weights[:] = 1
    for axis in range(dim):
        bit = corner >> (dim - 1 - axis) & 1
        index = lower[axis] + bit
        # 64-bit products have the low bits of the 32-bit products of the paper, and the mask keeps no others.
        row = row ^ (index * _PRIMES[axis]) if mask else row * side + index
        factor = fraction[axis] if bit else np.float32(1) - fraction[axis]
        slope = rate[axis] if bit else -rate[axis]
        for part in range(dim + 1):
            weights[part] *= slope if part == axis + 1 else factor
    return row & mask if mask else row


@compiled(parallel=True)
def _interpolate(
    points: NDArray[Any],
    table: NDArray[Any],
    resolutions: NDArray[Any],
    masks: NDArray[Any],
    offsets: NDArray[Any],
    extent: Any,
    features: NDArray[Any],
) -> None:
    dim, channels, parts = points.shape[1], table.shape[1], features.shape[1]
    for n in prange(len(points)):
        lower = np.empty(dim, np.int64)
        fraction, rate = np.empty(dim, np.float32), np.empty(dim, np.float32)
        weights = np.empty(dim + 1, np.float32)
        for level in range(len(resolutions)):
            for axis in range(dim):
                lower[axis], fraction[axis], rate[axis] = _cell(points[n, axis], resolutions[level], extent)
            side, mask = resolutions[level] + 1, masks[level]
            for corner in range(1 << dim):
                row = _corner(corner, dim, side, mask, lower, fraction, rate, weights) + offsets[level]
                for part in range(parts):
                    for k in range(channels):
                        features[n, part, level * channels + k] += weights[part] * table[row, k]


# Parallel over levels: they share no rows, so the sums do not depend on the number of threads.
@compiled(parallel=True)
def _scatter_add(
    points: NDArray[Any],
    sums: NDArray[Any],
    touched: NDArray[Any],
    resolutions: NDArray[Any],
    masks: NDArray[Any],
    offsets: NDArray[Any],
    extent: Any,
    gradient: NDArray[Any],
) -> None:
    dim, channels = points.shape[1], sums.shape[1]
    for level in prange(len(resolutions)):
        lower = np.empty(dim, np.int64)
        fraction, rate = np.empty(dim, np.float32), np.empty(dim, np.float32)
        weights = np.empty(dim + 1, np.float32)
        for n in range(len(points)):
            for axis in range(dim):
                lower[axis], fraction[axis], rate[axis] = _cell(points[n, axis], resolutions[level], extent)
            side, mask = resolutions[level] + 1, masks[level]
            for corner in range(1 << dim):
                row = _corner(corner, dim, side, mask, lower, fraction, rate, weights) + offsets[level]
                touched[row] = True
                for part in range(gradient.shape[1]):
                    for k in range(channels):
                        sums[row, k] += weights[part] * gradient[n, part, level * channels + k]
