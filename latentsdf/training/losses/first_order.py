"""Terms in the field's values and gradients: what a raw point cloud says, and what a distance function obeys."""

import torch
from jaxtyping import Float
from torch import Tensor


def surface_term(distance: Float[Tensor, " N"]) -> Tensor:
    """Mean |u| on the cloud, where a distance is zero."""
    return distance.abs().mean()


def off_surface_term(distance: Float[Tensor, " N"], sharpness: float = 100.0) -> Tensor:
    """Mean exp(-sharpness |u|) off the cloud: pushes spurious zeros away (SIREN, METHODS 4.3)."""
    return torch.exp(-sharpness * distance.abs()).mean()


def eikonal_term(gradients: Float[Tensor, "... d"]) -> Tensor:
    """Mean | |grad u| - 1 | (IGR eq. 3 with the L1 norm, as HotSpot uses it)."""
    return (_norm(gradients) - 1).abs().mean()


def eikonal_squared_term(gradients: Float[Tensor, "... d"]) -> Tensor:
    """Mean (|grad u| - 1)^2 (IGR eq. 3)."""
    return (_norm(gradients) - 1).square().mean()


def normal_term(gradients: Float[Tensor, "N d"], normals: Float[Tensor, "N d"], *, cosine: bool = False) -> Tensor:
    """Mean |grad u - n| (IGR), or 1 - cos of their angle (SIREN); normals are unit vectors that point outward."""
    if cosine:
        return (1 - torch.nn.functional.cosine_similarity(gradients, normals, dim=-1)).mean()
    return _norm(gradients - normals).mean()


def sign_agnostic_term(distance: Float[Tensor, " N"], unsigned: Float[Tensor, " N"]) -> Tensor:
    """Mean | |u| - h | with h >= 0 the distance to the cloud (SAL, METHODS 4.1)."""
    return (distance.abs() - unsigned).abs().mean()


def sign_agnostic_normal_term(gradients: Float[Tensor, "N d"], directions: Float[Tensor, "N d"]) -> Tensor:
    """Mean of the smaller of |grad u - g| and |grad u + g|, g known up to its sign (SALD, METHODS 4.2)."""
    return torch.minimum(_norm(gradients - directions), _norm(gradients + directions)).mean()


def heat_term(
    distance: Tensor, gradients: Float[Tensor, "... d"], absorption: float, density: Tensor | float
) -> Tensor:
    """HotSpot's screened-Poisson energy (1/2) int exp(-2 lambda |u|) (|grad u|^2 + 1) dx, estimated without bias.

    `density` is the probability density of the *mixture* the points were drawn from (METHODS 7.2: dividing by each
    sample's own component counts the integral twice).
    """
    energy = 0.5 * torch.exp(-2 * absorption * distance.abs()) * (gradients.square().sum(-1) + 1)
    return (energy / density).mean()


def _norm(vectors: Tensor) -> Tensor:
    return vectors.norm(dim=-1)
