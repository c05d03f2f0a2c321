"""Functionals of HeatSDF (Weidemaier et al. 2025, arXiv 2504.11212), a neural heat method for signed distances.

w is the temperature after a time step t of heat flow from the cloud, u the signed distance (negative inside). Away from
the cloud, -grad w / |grad w| is the gradient of the unsigned distance as t -> 0, so with the direction of the heat
source n = grad w / |grad w|,

    grad u = -n  outside,    grad u = n  inside.

The cut-off c(x) of width b is 1 for x <= -b, 0 for x >= b, and (x / b + 2) (x / b - 1)^2 / 4 in between.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def heat_step_term(
    temperature: Float[Tensor, "*N"], gradient: Float[Tensor, "*N d"], on_cloud: Float[Tensor, "*M"], time: float
) -> Tensor:
    """Return mean w^2 + time mean |grad w|^2 over the box, minus 2 mean w over the cloud.

    Its minimizer solves w - time lap w = V m with the uniform distribution m on the cloud and the volume V of the box:
    one implicit step of heat flow from the cloud, with mean 1 over the box.

    Args:
        temperature: w at uniform points of the box.
        gradient: grad w at these points.
        on_cloud: w at points of the cloud, drawn uniformly from the surface.
        time: Time step, in units of length squared.
    """
    return temperature.square().mean() + time * gradient.square().sum(-1).mean() - 2 * on_cloud.mean()


def cut_off(values: Tensor, width: float) -> Tensor:
    """c(x), which falls smoothly from 1 at -width to 0 at width."""
    relative = (values / width).clamp(-1, 1)
    return (relative + 2) * (relative - 1).square() / 4


def source_direction(
    near: tuple[Float[Tensor, "*N"], Float[Tensor, "*N d"]], far: Float[Tensor, "*N d"] | None, threshold: float
) -> Float[Tensor, "*N d"]:
    """Unit direction n toward the heat source.

    Far from the cloud the temperature of a short time step is too small for its gradient to be learned. There, a second
    one of a longer step replaces it: with b = 3 s^2 - 2 s^3 and s = w / threshold in [0, 1],

        n = g / |g|,    g = b grad w_near + (1 - b) grad w_far.

    Args:
        near: Temperature and gradient of the short time step.
        far: Gradient of the longer time step; None to use the short one everywhere.
        threshold: Temperature from which on only the short time step is used.
    """
    temperature, gradient = near
    if far is not None:
        share = (temperature / threshold).clamp(0, 1)
        blend = (share.square() * (3 - 2 * share))[..., None]
        gradient = blend * gradient + (1 - blend) * far
    return torch.nn.functional.normalize(gradient, dim=-1)


def alignment_term(
    distance: Float[Tensor, "*N"], gradient: Float[Tensor, "*N d"], direction: Float[Tensor, "*N d"], width: float
) -> Tensor:
    """Mean of c(u) |grad u - n|^2 + (1 - c(u)) |grad u + n|^2, with the cut-off c of the given width."""
    inside = cut_off(distance, width)
    toward, away = ((gradient + sign * direction).square().sum(-1) for sign in (-1, 1))
    return (inside * toward + (1 - inside) * away).mean()


def side_term(inside: Float[Tensor, "*N"], outside: Float[Tensor, "*M"], width: float) -> Tensor:
    """Mean c(-u) at points that are inside, plus mean c(u) at points that are outside: penalizes wrong signs.

    Args:
        inside: u at points inside; may be empty.
        outside: u at points outside; may be empty.
        width: Width of the cut-off.
    """
    parts = [cut_off(values, width).mean() for values in (-inside, outside) if len(values)]
    return torch.stack(parts).sum() if parts else inside.new_zeros(())
