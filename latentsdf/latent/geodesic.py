"""Shortest path between two codes, where length is the change of the decoded signed distances.

A path z_1, ..., z_N with fixed ends has the energy

    E = sum_i |F(z_{i+1}) - F(z_i)|^2 / P + w sum_i |u_i|^2

F(z) (P,) is the general branch at P fixed points within 0.1 of the surfaces on the straight path, truncated to
[-0.1, 0.1], and u_i are the coordinates of z_i under the Gaussian prior (`CodePrior`). The weak prior determines the
components of the codes on which the distances do not depend. The inner codes are optimized together by
Levenberg-Marquardt. At the minimum all steps have equal length, so the shape changes at constant speed along the path.

With M = N - 2 inner codes and the Jacobian J_i (P, L) of F at z_i with respect to u_i, divided by sqrt(P), the
Gauss-Newton Hessian of E / 2 is block tridiagonal: 2 J_i^T J_i + w I on the diagonal, -J_i^T J_{i+1} next to it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from latentsdf.latent import levenberg_marquardt
from latentsdf.latent.prior import CodePrior
from latentsdf.models.code_jacobian import linearize
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.errors import EmptyLevelSetError
from latentsdf.utils.precision import widest

_POINTS = 2048
_CANDIDATES = 32_768
_CLAMP = 0.1
_STEPS = 12
_TOLERANCE = 1e-3
_MAX_DAMPING = 1e4
_MAX_TRIALS = 100  # not reached: consecutive rejected steps exceed the damping limit earlier


def shorten_path(
    model: LatentSDF, prior: CodePrior, path: Float[Tensor, "N L"], *, prior_weight: float = 1e-6, seed: int = 0
) -> Float[Tensor, "N L"]:
    """Minimize the energy of a path.

    Args:
        model: Decoder that measures length.
        prior: Gaussian of the training codes.
        path: Initial codes (N, L); a path of fewer than 3 codes is returned unchanged.
        prior_weight: Weight w of the prior.
        seed: Seed of the points at which distances are compared.

    Returns:
        Codes (N, L) with the same ends.

    Raises:
        EmptyLevelSetError: No shape of the path has a surface, whose motion could be measured.
    """
    if len(path) < 3:
        return path
    coordinates = prior.encode(path)
    points = _points_near_surfaces(model, path, seed)
    if not len(points):
        raise EmptyLevelSetError(
            "no shape of the path has a surface in [-1, 1]^3; use the linear path, or train longer"
        )
    problem = _PathProblem(model, prior, points, prior_weight, coordinates)
    start = coordinates[1:-1].flatten()[None]
    found, _ = levenberg_marquardt.minimize(
        problem,
        start,
        problem.cost(start),
        max_trials=_MAX_TRIALS,
        max_accepted=_STEPS,
        tolerance=_TOLERANCE,
        max_damping=_MAX_DAMPING,
    )
    shortest = path.clone()
    shortest[1:-1] = prior.decode(found.view_as(coordinates[1:-1]))
    return shortest


def step_lengths(model: LatentSDF, path: Float[Tensor, "N L"], seed: int = 0) -> Float[Tensor, " M"]:
    """Compute the root mean square change of the decoded distances along each step of a path.

    Args:
        model: Decoder.
        path: Codes (N, L).
        seed: Seed of the points at which distances are compared.

    Returns:
        Changes (N - 1,).
    """
    distances = _decode(model, path, _points_near_surfaces(model, path, seed))
    return (distances[1:] - distances[:-1]).square().mean(1).sqrt()


@dataclass(frozen=True)
class _PathProblem:
    """The path as one least-squares problem (K = 1) in the coordinates of the inner codes, D = M L."""

    model: LatentSDF
    prior: CodePrior
    points: Float[Tensor, "P 3"]
    prior_weight: float
    initial: Float[Tensor, "N L"]

    def cost(self, parameters: Float[Tensor, "1 D"], rows: Int[Tensor, " 1"] | None = None) -> Float[Tensor, " 1"]:
        del rows
        coordinates = self._coordinates(parameters)
        distances = _decode(self.model, self.prior.decode(coordinates), self.points)
        changes = (distances[1:] - distances[:-1]).square().mean(1).sum()
        return widest((changes + self.prior_weight * coordinates.square().sum())[None])

    def normal_equations(
        self, parameters: Float[Tensor, "1 D"], rows: Int[Tensor, " 1"], exact: Bool[Tensor, " 1"]
    ) -> tuple[Float[Tensor, "1 D D"], Float[Tensor, "1 D"]]:
        del rows, exact
        coordinates = self._coordinates(parameters)
        distances = _decode(self.model, self.prior.decode(coordinates), self.points)
        inner = coordinates[1:-1]
        count, dim = inner.shape
        points = self.points.expand(count, -1, -1)
        (linearized,) = linearize(self.model, ("general",), points, self.prior.decode(inner))
        root = len(self.points) ** 0.5
        counts = (linearized.distance.abs() < _CLAMP)[..., None]
        jacobian = (linearized.code_gradient() @ self.prior.basis) * counts / root  # (M, P, L)
        changes = (distances[1:] - distances[:-1]) / root
        residual = changes[:-1] - changes[1:]
        gradient = (jacobian * residual[..., None]).sum(1) + self.prior_weight * inner
        hessian = torch.zeros(count, dim, count, dim, device=inner.device)
        for i in range(count):
            identity = torch.eye(dim, device=inner.device)
            hessian[i, :, i] = 2 * jacobian[i].T @ jacobian[i] + self.prior_weight * identity
            if i + 1 < count:
                hessian[i, :, i + 1] = -jacobian[i].T @ jacobian[i + 1]
                hessian[i + 1, :, i] = hessian[i, :, i + 1].T
        return hessian.view(1, count * dim, count * dim), gradient.flatten()[None]

    def _coordinates(self, parameters: Float[Tensor, "1 D"]) -> Float[Tensor, "N L"]:
        """All codes of the path, with its fixed ends."""
        coordinates = self.initial.clone()
        coordinates[1:-1] = parameters.view_as(coordinates[1:-1])
        return coordinates


def _points_near_surfaces(model: LatentSDF, path: Float[Tensor, "N L"], seed: int) -> Float[Tensor, "P 3"]:
    draw = torch.Generator().manual_seed(seed)
    points = (2 * torch.rand(_CANDIDATES, 3, generator=draw) - 1).to(path.device)
    near = torch.zeros(len(points), dtype=torch.bool, device=path.device)
    with torch.no_grad():
        for code in path:
            near |= model.branch("general", points[None], code[None])[0].abs() < _CLAMP
    return points[near][:_POINTS]


def _decode(model: LatentSDF, codes: Float[Tensor, "N L"], points: Float[Tensor, "P 3"]) -> Float[Tensor, "N P"]:
    """Truncated distances of the general branch."""
    with torch.no_grad():
        distances = model.branch("general", points.expand(len(codes), -1, -1), codes)
    return distances.clamp(-_CLAMP, _CLAMP)
