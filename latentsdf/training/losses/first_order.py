"""Loss terms in the values and first derivatives of a field u whose zero set should pass through a point cloud.

Sources: IGR (Gropp et al. 2020), SIREN (Sitzmann et al. 2020), SAL (Atzmon & Lipman 2020), SALD (Atzmon & Lipman 2021),
HotSpot (Wang et al. 2025).
"""

import torch
from jaxtyping import Float
from torch import Tensor


def surface_term(distance: Float[Tensor, "*N"]) -> Tensor:
    """Mean |u| at points of the cloud (IGR)."""
    return distance.abs().mean()


def off_surface_term(distance: Float[Tensor, "*N"], sharpness: float = 100.0) -> Tensor:
    """Mean exp(-sharpness |u|) off the cloud: penalizes zeros away from it (SIREN)."""
    return torch.exp(-sharpness * distance.abs()).mean()


def eikonal_term(gradients: Float[Tensor, "... d"]) -> Tensor:
    """Mean | |grad u| - 1 | (the L1 form used by SIREN and HotSpot)."""
    return (_norm(gradients) - 1).abs().mean()


def eikonal_squared_term(gradients: Float[Tensor, "... d"]) -> Tensor:
    """Mean (|grad u| - 1)^2 (IGR)."""
    return (_norm(gradients) - 1).square().mean()


def normal_term(gradients: Float[Tensor, "*N d"], normals: Float[Tensor, "*N d"], *, cosine: bool = False) -> Tensor:
    """Mean |grad u - n| (IGR), or 1 - cos of their angle (SIREN); normals are outward unit vectors."""
    if cosine:
        return (1 - torch.nn.functional.cosine_similarity(gradients, normals, dim=-1)).mean()
    return _norm(gradients - normals).mean()


def sign_agnostic_term(distance: Float[Tensor, "*N"], unsigned: Float[Tensor, "*N"]) -> Tensor:
    """Mean | |u| - h |, where h >= 0 is the distance to the cloud (SAL)."""
    return (distance.abs() - unsigned).abs().mean()


def sign_agnostic_normal_term(gradients: Float[Tensor, "*N d"], directions: Float[Tensor, "*N d"]) -> Tensor:
    """Mean of min(|grad u - g|, |grad u + g|) for a gradient direction g whose sign is unknown (SALD)."""
    return torch.minimum(_norm(gradients - directions), _norm(gradients + directions)).mean()


def heat_term(
    distance: Tensor, gradients: Float[Tensor, "... d"], absorption: float, density: Tensor | float
) -> Tensor:
    """Screened-Poisson energy (1/2) int exp(-2 lambda |u|) (|grad u|^2 + 1) dx of HotSpot, estimated without bias.

    Args:
        distance: u (...) at the points.
        gradients: grad u (..., d) at the points.
        absorption: lambda, in 1 / length.
        density: Probability density of the whole sampling mixture at each point. Dividing by the density of only the
            component from which a point was drawn, as HotSpot's code does, counts the integral once per component.
    """
    energy = 0.5 * torch.exp(-2 * absorption * distance.abs()) * (gradients.square().sum(-1) + 1)
    return (energy / density).mean()


def _norm(vectors: Tensor) -> Tensor:
    return vectors.norm(dim=-1)
