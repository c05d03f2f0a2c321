"""Signed distance fields of one decoded shape, in model space.

    s = s_o in the fusion band, s_g elsewhere

with the general branch s_g, the overfit branch s_o and the band of `extraction.fusion_band`. Model space is the box
[-1, 1]^3. Outside the box, where the networks are not trained, the fields continue as

    s(x) = s(c) + |x - c|,    c = closest point of the box to x

All fields are differentiable with respect to the points, and raise ConfigError for points that are not finite.
"""

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.extraction.field import SignedDistance
from latentsdf.extraction.fusion_band import FusionBand, find_band
from latentsdf.latent.inversion.delta import AppliedDelta, Delta
from latentsdf.models.derivatives import jet
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.chunks import map_chunks
from latentsdf.utils.finite import require_finite


class DecodedShape:
    """Signed distance fields of one code, including the refined detail of a fit if there is any.

    Args:
        model: Networks and feature grid.
        code: Code (L,), or one code for each conditioned layer (N, L).
        delta: Refined detail for this model and code, or None.
        band_voxels: Half width of the fusion band, in cells of a 512^3 lattice.

    Raises:
        CheckpointError: The delta belongs to another space or to another code.
    """

    def __init__(
        self, model: LatentSDF, code: Float[Tensor, "*N L"], delta: Delta | None = None, *, band_voxels: float
    ) -> None:
        self.model, self.delta, self.band_voxels = model, delta, band_voxels
        self.code = code.clone()  # the caller may change its array while the band is cached
        self._refined = None if delta is None else AppliedDelta(delta, model, self.code)

    def field(self, branch: Branch) -> SignedDistance:
        """Return the signed distance function of one branch, from points (N, 3) to distances (N,)."""
        return _extend_beyond_box(lambda points: self._decode(branch, points))

    def fused(self) -> SignedDistance:
        """Return the fused signed distance function: s_o in the band, s_g elsewhere."""
        band = self.band

        def distance(points: Tensor) -> Tensor:
            fused = self._decode("general", points)
            near = band.contains(points)
            if near.any():
                fused[near] = self._decode("overfit", points[near])
            return fused

        return _extend_beyond_box(distance)

    def gradient_norm(self) -> SignedDistance:
        """Return |grad s| of the fused field as a function of points, without the jump of s at the edge of the band."""
        field = self.fused()
        return lambda points: map_chunks(lambda chunk: jet(field, chunk).gradient.norm(dim=1).detach(), points)

    @cached_property
    def band(self) -> FusionBand:
        """Region in which s_o is used: the band of `extract` at a resolution of 256."""
        return find_band(self.field("general"), band_voxels=self.band_voxels, device=self.code.device)

    def _decode(self, branch: Branch, points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        refined = self._refined
        lookup = refined.lookup if refined else None
        distance = self.model.branch(branch, points[None], self.code[None], lookup)[0]
        corrected = branch == "general" or self.model.is_residual
        return distance + refined.correction(points) if refined and corrected else distance


def _extend_beyond_box(field: SignedDistance) -> SignedDistance:
    """Extend a field beyond the box, and evaluate it in chunks to bound the memory."""

    def distance(points: Tensor) -> Tensor:
        require_finite(points)
        inside = points.clamp(-1, 1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and points.requires_grad):
            # In float32 the squares of large coordinates overflow.
            return map_chunks(field, inside) + (points - inside).double().norm(dim=1).float()

    return distance
