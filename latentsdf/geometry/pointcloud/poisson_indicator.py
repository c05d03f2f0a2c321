"""The indicator of a solid from an oriented cloud, by one Fourier transform (Peng et al. 2021, Shape as Points).

grad chi = the normals spread over the lattice, so lap chi = its divergence, solved on the periodic box
[-extent, extent]^d. chi rises by 1 from inside to outside when a normal is weighted by the area its point stands for.
"""

from itertools import product

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

Floats = NDArray[np.float64]

_SMOOTHING = 1.5  # standard deviation of the Gaussian that stands for a point, in cells


class PoissonIndicator:
    """chi minus its mean at the cloud: positive outside, negative inside."""

    def __init__(self, points: Floats, vectors: Floats, resolution: int, extent: float) -> None:
        self.resolution, self.extent = resolution, extent
        dim = points.shape[1]
        frequency = [np.fft.fftfreq(resolution, 1 / resolution) * np.pi / extent for _ in range(dim - 1)]
        frequency.append(np.fft.rfftfreq(resolution, 1 / resolution) * np.pi / extent)
        grids = np.meshgrid(*frequency, indexing="ij", sparse=True)
        squared = sum(g**2 for g in grids)
        spread = _spread(self._place(points), vectors * (resolution / (2 * extent)) ** dim, resolution)
        divergence = sum(g * scipy.fft.rfftn(part) for g, part in zip(grids, spread, strict=True))
        cell = 2 * extent / resolution
        squared = np.asarray(squared)
        squared[(0,) * dim] = 1.0  # the mean of chi, fixed below
        spectrum = -1j * divergence / squared * np.exp(-0.5 * (_SMOOTHING * cell) ** 2 * squared)
        self.values: NDArray[np.float32] = scipy.fft.irfftn(spectrum, s=(resolution,) * dim).astype(np.float32)
        self.values -= np.float32(self(points).mean())

    def __call__(self, points: Floats) -> Floats:
        """Multilinear in the lattice, at points (N, d)."""
        return np.asarray(map_coordinates(self.values, self._place(points).T, order=1, mode="grid-wrap"))

    def _place(self, points: Floats) -> Floats:
        return (points / self.extent + 1) * (self.resolution / 2)


def _spread(place: Floats, vectors: Floats, resolution: int) -> list[NDArray[np.float32]]:
    """Each component of the vectors, spread multilinearly on the lattice."""
    dim = place.shape[1]
    lower = np.floor(place).astype(np.int64)
    fraction = place - lower
    shape = (resolution,) * dim
    sums = np.zeros((dim, resolution**dim))
    for bits in product((0, 1), repeat=dim):
        index = np.ravel_multi_index(tuple((lower + bits).T % resolution), shape)
        weight = np.where(bits, fraction, 1 - fraction).prod(axis=1)
        for axis in range(dim):
            sums[axis] += np.bincount(index, weights=weight * vectors[:, axis], minlength=resolution**dim)
    return [part.reshape(shape).astype(np.float32) for part in sums]
