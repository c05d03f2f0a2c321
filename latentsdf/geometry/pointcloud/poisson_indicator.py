"""Indicator function of a solid from an oriented point cloud by a spectral Poisson solve.

The normals v_i, weighted by the area of their points, define a vector field V = sum_i v_i g_sigma(x - x_i) with a
Gaussian g_sigma. The indicator chi solves lap chi = div V on the periodic box [-extent, extent]^d. In Fourier space

    chi(k) = -i k . V(k) / |k|^2

(Shape as Points, Peng et al. 2021). With outward normals chi rises by 1 from inside to outside.
"""

from itertools import product

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

Floats = NDArray[np.float64]

_SIGMA_CELLS = 1.5  # standard deviation of the Gaussian, in lattice cells


class PoissonIndicator:
    """Indicator chi minus its mean over the cloud: positive outside, negative inside, a jump of 1 at the surface.

    Attributes:
        resolution: Number of lattice cells per axis.
        extent: Half the side of the periodic box.
        values: Indicator on the lattice, shape (resolution,) * d.
    """

    def __init__(self, points: Floats, vectors: Floats, resolution: int, extent: float) -> None:
        """Solve the Poisson equation for a cloud.

        Args:
            points: Points (N, d) inside the box.
            vectors: Outward normals (N, d), multiplied by the area (length in 2D) that each point represents.
            resolution: Number of lattice cells per axis.
            extent: Half the side of the periodic box.
        """
        self.resolution, self.extent = resolution, extent
        dim = points.shape[1]
        frequency = [np.fft.fftfreq(resolution, 1 / resolution) * np.pi / extent for _ in range(dim - 1)]
        frequency.append(np.fft.rfftfreq(resolution, 1 / resolution) * np.pi / extent)
        wave_vector = np.meshgrid(*frequency, indexing="ij", sparse=True)
        squared = sum(k**2 for k in wave_vector)
        density = vectors * (resolution / (2 * extent)) ** dim
        field = _scatter_multilinear(self._lattice_coordinates(points), density, resolution)
        divergence = sum(k * scipy.fft.rfftn(part) for k, part in zip(wave_vector, field, strict=True))
        cell = 2 * extent / resolution
        squared = np.asarray(squared)
        squared[(0,) * dim] = 1.0  # k = 0 is the mean of chi, which is undetermined and subtracted below
        spectrum = -1j * divergence / squared * np.exp(-0.5 * (_SIGMA_CELLS * cell) ** 2 * squared)
        self.values: NDArray[np.float32] = scipy.fft.irfftn(spectrum, s=(resolution,) * dim).astype(np.float32)
        self.values -= np.float32(self(points).mean())

    def __call__(self, points: Floats) -> NDArray[np.float32]:
        """Evaluate the indicator by multilinear interpolation.

        Args:
            points: Query points (M, d); the indicator is periodic outside the box.

        Returns:
            Values (M,).
        """
        return np.asarray(map_coordinates(self.values, self._lattice_coordinates(points).T, order=1, mode="grid-wrap"))

    def _lattice_coordinates(self, points: Floats) -> Floats:
        return (points / self.extent + 1) * (self.resolution / 2)


def _scatter_multilinear(coordinates: Floats, vectors: Floats, resolution: int) -> list[NDArray[np.float32]]:
    """Distribute vectors (N, d) to the 2^d lattice points around them; returns one lattice per component."""
    dim = coordinates.shape[1]
    lower = np.floor(coordinates).astype(np.int64)
    fraction = coordinates - lower
    shape = (resolution,) * dim
    sums = np.zeros((dim, resolution**dim))
    for corner in product((0, 1), repeat=dim):
        index = np.ravel_multi_index(tuple((lower + corner).T % resolution), shape)
        weight = np.where(corner, fraction, 1 - fraction).prod(axis=1)
        for axis in range(dim):
            sums[axis] += np.bincount(index, weights=weight * vectors[:, axis], minlength=resolution**dim)
    return [component.reshape(shape).astype(np.float32) for component in sums]
