"""The shortest path between two codes as the decoder measures length: by how much decoded distances change.

A path has energy sum_i |F(z_i+1) - F(z_i)|^2, F the general branch at fixed points near the surfaces that the straight
path passes, clamped as in training. Ends stay; the codes between move by damped Gauss-Newton steps on all
of them at once. At the minimum the steps are equally long, so the shape changes at constant speed. A weak prior on
codes' coordinates keeps directions in place that the distances do not notice.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.latent.prior import CodePrior
from latentsdf.models.code_jacobian import linearize
from latentsdf.models.latent_sdf import LatentSDF

_POINTS = 2048
_CANDIDATES = 32_768
_CLAMP = 0.1
_STEPS = 12
_PLATEAU = 1e-3
_MOST_DAMPING = 1e4


def shorten(
    model: LatentSDF, prior: CodePrior, path: Float[Tensor, "N L"], *, prior_weight: float = 1e-6, seed: int = 0
) -> Float[Tensor, "N L"]:
    """A path with the same ends whose energy no longer falls, starting from the given one."""
    if len(path) < 3:
        return path
    points = _near_surfaces(model, path, seed)
    coordinates = prior.encode(path)
    cost, damping = _energy(model, prior, coordinates, points, prior_weight), 1e-2
    for _ in range(_STEPS):
        curvature, slope = _normal_equations(model, prior, coordinates, points, prior_weight)
        while damping < _MOST_DAMPING:
            diagonal = curvature.diagonal()
            system = curvature + torch.diag(damping * (diagonal + diagonal.mean()))
            tried = coordinates.clone()
            tried[1:-1] -= torch.linalg.solve(system, slope).view_as(tried[1:-1])
            became = _energy(model, prior, tried, points, prior_weight)
            if became < cost:
                break
            damping *= 5
        else:
            break
        gain, coordinates, cost, damping = 1 - became / cost, tried, became, damping / 4
        if gain < _PLATEAU:
            break
    found = path.clone()
    found[1:-1] = prior.decode(coordinates[1:-1])
    return found


def lengths(model: LatentSDF, path: Float[Tensor, "N L"], seed: int = 0) -> Float[Tensor, " N-1"]:
    """Root mean square change of the decoded distances over each step of a path."""
    values = _values(model, path, _near_surfaces(model, path, seed))
    return (values[1:] - values[:-1]).square().mean(1).sqrt()


def _near_surfaces(model: LatentSDF, path: Tensor, seed: int) -> Float[Tensor, "P 3"]:
    draw = torch.Generator().manual_seed(seed)
    points = (2 * torch.rand(_CANDIDATES, 3, generator=draw) - 1).to(path.device)
    near = torch.zeros(len(points), dtype=torch.bool, device=path.device)
    with torch.no_grad():
        for code in path:
            near |= model.branch("general", points[None], code[None])[0].abs() < _CLAMP
    return points[near][:_POINTS]


def _values(model: LatentSDF, codes: Tensor, points: Tensor) -> Float[Tensor, "N P"]:
    with torch.no_grad():
        found = model.branch("general", points.expand(len(codes), -1, -1), codes)
    return found.clamp(-_CLAMP, _CLAMP)


def _energy(model: LatentSDF, prior: CodePrior, coordinates: Tensor, points: Tensor, prior_weight: float) -> float:
    values = _values(model, prior.decode(coordinates), points)
    changes = (values[1:] - values[:-1]).square().mean(1).sum()
    return float(changes + prior_weight * coordinates.square().sum())


def _normal_equations(
    model: LatentSDF, prior: CodePrior, coordinates: Tensor, points: Tensor, prior_weight: float
) -> tuple[Tensor, Tensor]:
    """Curvature (M L, M L) and slope (M L) of half the energy in the M codes between the ends."""
    values = _values(model, prior.decode(coordinates), points)
    inner = coordinates[1:-1]
    count, dim = inner.shape
    ((distance, by_code, _),) = linearize(model, ("general",), points.expand(count, -1, -1), prior.decode(inner))
    rows = (by_code @ prior.basis) * (distance.abs() < _CLAMP)[..., None] / len(points) ** 0.5  # (M, P, L)
    changes = (values[1:] - values[:-1]) / len(points) ** 0.5
    pull = changes[:-1] - changes[1:]
    slope = (rows * pull[..., None]).sum(1) + prior_weight * inner
    curvature = torch.zeros(count, dim, count, dim, device=inner.device)
    for i in range(count):
        curvature[i, :, i] = 2 * rows[i].T @ rows[i] + prior_weight * torch.eye(dim, device=inner.device)
        if i + 1 < count:
            curvature[i, :, i + 1] = -rows[i].T @ rows[i + 1]
            curvature[i + 1, :, i] = curvature[i, :, i + 1].T
    return curvature.view(count * dim, count * dim), slope.flatten()
