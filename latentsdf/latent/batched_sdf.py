"""Signed distances of batches of codes in plain tensor operations, for losses, function transforms and export.

    s(x) = s_o(x) where |s_g(x)| < w,  s_g(x) elsewhere

with the general branch s_g, the overfit branch s_o and the half width w of the fusion band. Outside the box [-1, 1]^3
fields continue as in `latent.decoded_shape`.

This band is decided for every point from s_g alone, so it follows the codes of a batch, and there is nothing to search
or to store. The band of `extraction.fusion_band`, which `ShapeSpace.fused` uses, consists of lattice cells around the
zero set instead. Both have the same width on average; they differ near their edges, where |s_g| is about w, and where
s_g is not a distance. Membership in the band is piecewise constant and has no gradient. At its edge s jumps by
s_o - s_g.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.models.derivatives import norm
from latentsdf.models.latent_sdf import BranchDistances, LatentSDF
from latentsdf.utils.arrays import describe
from latentsdf.utils.errors import ConfigError

SDFBranch = Branch | Literal["fused"]
"""`general` (s_g), `overfit` (s_o), or `fused` (s)."""


def signed_distance(
    model: LatentSDF,
    codes: Tensor,
    points: Tensor,
    branch: SDFBranch = "fused",
    *,
    half_width: float,
    by_layer: bool = False,
) -> Tensor:
    """Evaluate a branch for a batch of codes and points.

    Args:
        model: Networks and feature grid. Codes and points are converted to the type and device of its weights.
        codes: Codes (..., L), or with `by_layer` one code for each conditioned layer (..., N, L).
        points: Points (..., P, 3) in model space. The leading dimensions of codes and points are broadcast.
        branch: `fused`, `general` or `overfit`.
        half_width: Half width w of the fusion band, in model space.
        by_layer: Whether `codes` has a dimension of layers.

    Returns:
        Signed distances (..., P), of the type and on the device of the points; NaN for points that are not numbers.

    Raises:
        ConfigError: An argument is no tensor of floating-point numbers or has the wrong shape, or the branch is
            unknown.
    """
    _require_valid(model, codes, points, branch, by_layer)
    code_dims = 2 if by_layer else 1
    batch = _broadcast(codes.shape[:-code_dims], points.shape[:-2])
    z, x = model.like_weights(codes), model.like_weights(points)
    if math.prod(codes.shape[:-code_dims]) == 1:  # `Size.numel` would fix the sizes of an exported program
        # The weights of a code are computed once for all of its points.
        z, x = z.reshape(1, *z.shape[-code_dims:]), x.reshape(1, -1, 3)
    else:
        z = z.expand(*batch, *z.shape[-code_dims:]).flatten(0, len(batch) - 1)
        x = x.expand(*batch, *x.shape[-2:]).flatten(0, len(batch) - 1)
    inside = x.clamp(-1, 1)
    if branch == "general":
        distance = model.branch("general", inside, z)
    else:
        both = model(inside, z)
        distance = both.overfit if branch == "overfit" else fuse(both, half_width)
    distance = distance + norm(x - inside)
    return distance.reshape(*batch, points.shape[-2]).to(points)


def fuse(branches: BranchDistances, half_width: float) -> Tensor:
    """Combine the branches at points of the box to s; see the module docstring."""
    return torch.where(branches.general.abs() < half_width, branches.overfit, branches.general)


def _require_valid(model: LatentSDF, codes: Tensor, points: Tensor, branch: str, by_layer: bool) -> None:
    for name, value in (("codes", codes), ("points", points)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            found = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(
                f"{name} must be a torch tensor of floating-point numbers, got {found}; convert with torch.as_tensor, "
                "or use `ShapeSpace.distance`, which accepts ids, fits and arrays"
            )
        if value.layout != torch.strided:
            raise ConfigError(f"{name} must be a dense tensor, got layout {value.layout}; convert with to_dense()")
        if value.is_meta:
            raise ConfigError(f"{name} must have values, got a tensor on the device 'meta'")
    if not isinstance(branch, str) or branch not in ("fused", *get_args(Branch)):
        raise ConfigError(f"branch must be fused, general or overfit, got {describe(branch)}")
    if not isinstance(by_layer, bool):
        raise ConfigError(f"by_layer must be True or False, got {describe(by_layer)}")
    length = model.config.code_size
    expected = (len(model.conditioned_layers()), length) if by_layer else (length,)
    if codes.shape[-len(expected) :] != expected:
        form = ", ".join(map(str, expected))
        hint = "" if by_layer or codes.ndim < 2 else "; pass by_layer=True for codes by layer"
        raise ConfigError(f"codes must have shape (..., {form}), got {tuple(codes.shape)}{hint}")
    if points.ndim < 2 or points.shape[-1] != 3:
        raise ConfigError(
            f"points must have shape (..., P, 3), got {tuple(points.shape)}; x[None] makes one point a list"
        )


def _broadcast(codes: torch.Size, points: torch.Size) -> torch.Size:
    try:
        return torch.broadcast_shapes(codes, points)
    except RuntimeError as error:
        raise ConfigError(
            f"the leading dimensions of codes {tuple(codes)} and points {tuple(points)} do not broadcast; the last "
            "dimensions of points are (P, 3)"
        ) from error
