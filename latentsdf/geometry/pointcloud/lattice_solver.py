"""Integration of a vector field to a function on a lattice that vanishes on a point cloud.

On the vertices of a lattice with spacing h, the function phi minimizes

    sum_edges h^d ((phi_b - phi_a) / h - V_ab)^2 + alpha sum_i A_i phi(x_i)^2,

where V_ab is the component of the vector field V along the edge from a to b, the mean of its values at a and b, and phi
is interpolated multilinearly at the points x_i, of area A_i. This is a screened Poisson equation (Kazhdan and Hoppe
2013): without the second sum, it is lap phi = div V with natural boundary conditions. The graph Laplacian of the
lattice is diagonal in the type-2 cosine transform, which solves the equation without the screening exactly and is the
preconditioner of conjugate gradients for the one with it.
"""

from itertools import product

import numpy as np
import scipy.fft
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import LinearOperator, cg

Floats = NDArray[np.float64]

_TOLERANCE = 1e-4  # relative residual of conjugate gradients
_MAX_ITERATIONS = 200


class VertexLattice:
    """Lattice with R cells per axis over the box [-extent, extent]^d.

    Args:
        dim: Dimension d.
        resolution: Cells R per axis.
        extent: Half side of the box.

    Attributes:
        shape: Number of vertices along each axis, R + 1.
        spacing: Edge length h of a cell.
    """

    def __init__(self, dim: int, resolution: int, extent: float) -> None:
        self.dim, self.resolution, self.extent = dim, resolution, extent
        self.shape = (resolution + 1,) * dim
        self.spacing = 2 * extent / resolution
        eigenvalues = (2 - 2 * np.cos(np.pi * np.arange(resolution + 1) / (resolution + 1))) / self.spacing**2
        self._eigenvalues = sum(np.meshgrid(*[eigenvalues] * dim, indexing="ij", sparse=True), np.zeros(self.shape))

    def interpolation(self, points: Float[Floats, "N d"]) -> csr_matrix:
        """Return the matrix (N, V) of multilinear interpolation at points from the V values at the vertices."""
        position = ((points / self.extent + 1) * (self.resolution / 2)).clip(0, self.resolution)
        lower = np.minimum(position.astype(np.int64), self.resolution - 1)
        fraction = position - lower
        rows, columns, weights = [], [], []
        for corner in product((0, 1), repeat=self.dim):
            rows.append(np.arange(len(points)))
            columns.append(np.ravel_multi_index(tuple((lower + corner).T), self.shape))
            weights.append(np.where(corner, fraction, 1 - fraction).prod(axis=1))
        size = (len(points), int(np.prod(self.shape)))
        return csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=size)

    def diffuse(self, values: Floats, time: float) -> Floats:
        """Take an implicit step of heat flow with insulated boundary: solve (1 - time lap) u = values."""
        return self._divide(values, 1 + time * self._eigenvalues)

    def integrate(
        self, field: list[Floats], points: Float[Floats, "N d"], areas: Float[Floats, " N"], screening: float
    ) -> Floats:
        """Find the function whose gradient is closest to a vector field and which is close to 0 at points.

        Args:
            field: Components of V at the vertices, d arrays of the lattice's shape.
            points: Points x_i in the box.
            areas: Areas A_i of the points.
            screening: Weight alpha of the points, in 1 / length.

        Returns:
            Values of phi at the vertices.
        """
        volume = self.spacing**self.dim
        target = np.zeros(self.shape)  # minus the divergence of V
        for axis, component in enumerate(field):
            first, last = (_along(axis, part) for part in (slice(None, -1), slice(1, None)))
            flux = (component[first] + component[last]) / (2 * self.spacing)
            target[first] -= flux
            target[last] += flux
        # Constants, of which the Laplacian is 0, are regular by the screening.
        regular = self._eigenvalues.copy()
        regular[(0,) * self.dim] = screening * areas.sum() / (2 * self.extent) ** self.dim
        start = self._divide(target, regular)
        interpolation = self.interpolation(points)
        start -= np.average(interpolation @ start.ravel(), weights=areas)
        weighted = interpolation.T.multiply(screening * areas).tocsr()

        def apply(values: Floats) -> Floats:
            return volume * self._laplacian(values.reshape(self.shape)).ravel() + weighted @ (interpolation @ values)

        def precondition(values: Floats) -> Floats:
            return self._divide(values.reshape(self.shape), volume * regular).ravel()

        size = target.size
        solution, _ = cg(
            LinearOperator((size, size), matvec=apply, dtype=np.float64),
            volume * target.ravel(),
            x0=start.ravel(),
            rtol=_TOLERANCE,
            maxiter=_MAX_ITERATIONS,
            M=LinearOperator((size, size), matvec=precondition, dtype=np.float64),
        )
        return np.asarray(solution.reshape(self.shape))

    def _laplacian(self, values: Floats) -> Floats:
        """The positive semidefinite graph Laplacian over h^2."""
        result = np.zeros(self.shape)
        for axis in range(self.dim):
            first, last = (_along(axis, part) for part in (slice(None, -1), slice(1, None)))
            difference = (values[first] - values[last]) / self.spacing**2
            result[first] += difference
            result[last] -= difference
        return result

    def _divide(self, values: Floats, symbol: Floats) -> Floats:
        spectrum = scipy.fft.dctn(values, type=2, norm="ortho", workers=-1)
        return np.asarray(scipy.fft.idctn(spectrum / symbol, type=2, norm="ortho", workers=-1))


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)
