"""One shape of a space as signed distances in model space: either branch, both fused, and the band between them.

Model space is the box [-1, 1]^3. Beyond it a signed distance is the distance to the box plus the field at the closest
point of the box. Points that are not finite raise ConfigError. A distance can be differentiated by its points.
"""

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.extraction.field import SignedDistance
from latentsdf.extraction.fusion_band import FusionBand, find_band
from latentsdf.latent.inversion.delta import Delta, Refined
from latentsdf.models.derivatives import jet
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.finite import require_finite

_CHUNK = 65_536


class Decoded:
    """What a code (L,), or one for each conditioned layer (N, L), decodes to, with a refined shape's detail on top.

    Raises CheckpointError where the delta belongs to another space or another code.
    """

    def __init__(
        self, model: LatentSDF, code: Float[Tensor, "*N L"], delta: Delta | None = None, *, band_voxels: float
    ) -> None:
        self.model, self.delta, self.band_voxels = model, delta, band_voxels
        self.code = code.clone()  # a caller's array may change under the band that is kept
        self._refined = None if delta is None else Refined(delta, model, self.code)

    def field(self, branch: Branch) -> SignedDistance:
        """One branch: points (N, 3) -> distance (N,)."""
        return _everywhere(lambda points: self._decode(branch, points))

    def fused(self) -> SignedDistance:
        """Both branches as one: s_o in the band, s_g elsewhere."""
        band = self.band

        def distance(points: Tensor) -> Tensor:
            fused = self._decode("general", points)
            near = band.contains(points)
            if near.any():
                fused[near] = self._decode("overfit", points[near])
            return fused

        return _everywhere(distance)

    def slope(self) -> SignedDistance:
        """|grad s| of the fused field; its jump at the edge of the band, if it has one, does not count."""
        field = self.fused()
        return lambda points: torch.cat(
            [jet(field, some).gradient.norm(dim=1).detach() for some in points.split(_CHUNK)]
        )

    @cached_property
    def band(self) -> FusionBand:
        """Where s_o holds, as `extract` fuses at 256^3."""
        return find_band(self.field("general"), band_voxels=self.band_voxels, device=self.code.device)

    def _decode(self, branch: Branch, points: Tensor) -> Tensor:
        refined = self._refined
        lookup = refined.lookup if refined else None
        distance = self.model.branch(branch, points[None], self.code[None], lookup)[0]
        corrected = branch == "general" or self.model.is_residual
        return distance + refined.correction(points) if refined and corrected else distance


def _everywhere(field: SignedDistance) -> SignedDistance:
    """The same field beyond the box too, in bounded memory where the points ask for no gradient."""

    def distance(points: Tensor) -> Tensor:
        require_finite(points)
        inside = points.clamp(-1, 1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and points.requires_grad):
            found = torch.cat([field(some) for some in inside.split(_CHUNK)])
            # In float32 the squares of far coordinates would not be finite.
            return found + (points - inside).double().norm(dim=1).float()

    return distance
