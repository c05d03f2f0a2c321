"""Signed distance fields of one decoded shape, in model space.

    s = s_o in the fusion band, s_g elsewhere

with the general branch s_g, the overfit branch s_o and the band of `extraction.fusion_band`. Model space is the box
[-1, 1]^3. Outside the box, where the networks are not trained, the fields continue as

    s(x) = s(c) + |x - c|,    c = closest point of the box to x

All fields are differentiable by the points, and by the code and the weights if these require gradients, any number of
times. They raise ConfigError for points that are not finite.
"""

import torch
import trimesh
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from latentsdf.config.model import Branch
from latentsdf.extraction.extract import extract
from latentsdf.extraction.field import SignedDistance
from latentsdf.extraction.fusion_band import FusionBand, find_band
from latentsdf.latent.inversion.deltas import AnyDelta, apply_delta
from latentsdf.models.derivatives import jet, norm
from latentsdf.models.folded_code import fold_code
from latentsdf.models.latent_sdf import BranchDistances, LatentSDF
from latentsdf.utils.chunks import CHUNK_SIZE, map_chunks
from latentsdf.utils.finite import require_finite

_CPU_CHUNK = 16_384
"""Points per evaluation on the CPU: the values of a layer then stay in its cache, which halves the time per point."""


class DecodedShape:
    """Signed distance fields of one code, including the refined detail of a fit if there is any.

    Args:
        model: Networks and feature grid.
        code: Code (L,), or one code for each conditioned layer (N, L). The fields follow a code that requires gradients
            when it is changed in place, for example by an optimizer.
        delta: Refined detail for this model and code, or None.
        band_voxels: Half width of the fusion band, in cells of a 512^3 lattice.

    Raises:
        CheckpointError: The delta belongs to another space or to another code.
    """

    def __init__(
        self, model: LatentSDF, code: Float[Tensor, "*N L"], delta: AnyDelta | None = None, *, band_voxels: float
    ) -> None:
        self.model, self.delta, self.band_voxels = model, delta, band_voxels
        # A caller may change its array in place later; a code on an autograd graph must remain on it.
        self.code = code if code.requires_grad else code.clone()
        self._band: tuple[Tensor, list[int], FusionBand] | None = None
        self._refined = None if delta is None else apply_delta(delta, model, self.code)

    def field(self, branch: Branch) -> SignedDistance:
        """Return the signed distance function of one branch, from points (N, 3) to distances (N,)."""
        return self._extend_beyond_box(lambda points: self._decode(branch, points))

    def fused(self) -> SignedDistance:
        """Return the fused signed distance function: s_o in the band, s_g elsewhere."""

        def distance(points: Tensor) -> Tensor:
            fused = self._decode("general", points)
            near = self.band.contains(points)
            if not near.any():
                return fused
            return fused.index_put((near,), self._decode("overfit", points[near]))

        return self._extend_beyond_box(distance)

    def surface(self, resolution: int, *, smallest_piece: float = 0.0) -> trimesh.Trimesh:
        """Extract the fused surface in model space; the arguments and errors are those of `extraction.extract`."""
        return extract(
            self.field("general"),
            self.field("overfit"),
            resolution=resolution,
            band_voxels=self.band_voxels,
            smallest_piece=smallest_piece,
            device=self.code.device,
        )

    def branches(self, points: Float[Tensor, "N 3"]) -> BranchDistances:
        """Evaluate both branches, each (N,), at points of the box; unlike fields, also while a graph is recorded."""
        return BranchDistances(self._decode("general", points), self._decode("overfit", points))

    def on(self, model: LatentSDF) -> "DecodedShape":
        """Return the same shape decoded by a copy of its model."""
        code = model.like_weights(self.code.detach())
        return DecodedShape(model, code, self.delta, band_voxels=self.band_voxels)

    def gradient_norm(self) -> SignedDistance:
        """Return |grad s| of the fused field as a function of points, without the jump of s at the edge of the band."""
        field = self.fused()

        def slope(points: Tensor) -> Tensor:
            with torch.enable_grad():
                return jet(field, points).gradient.detach().norm(dim=1)

        return lambda points: map_chunks(slope, points)

    @property
    def band(self) -> FusionBand:
        """Region in which s_o is used: the band of `extract` at a resolution of 256."""
        code, versions = self.code.detach(), _versions(self.model)
        if self._band is None or not torch.equal(self._band[0], code) or self._band[1] != versions:
            device = next(self.model.parameters()).device
            found = find_band(self.field("general"), band_voxels=self.band_voxels, device=device)
            self._band = code.clone(), versions, found
        return self._band[2]

    def _decode(self, branch: Branch, points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        code = self.model.like_weights(self.code)
        if self._refined is not None:
            return self._refined.distance(branch, points, code)
        model = fold_code(self.model, code) if self._is_constant(points) else self.model
        return model.branch(branch, points[None], code[None])[0]

    def _is_constant(self, points: Tensor) -> bool:
        """Whether distances are plain CPU values: no autograd, functorch transforms, tracing, autocast or hooks."""
        plain = type(points) is Tensor and points.device.type == "cpu"
        if type(self.model) is not LatentSDF or not plain or torch.is_grad_enabled():
            return False
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
            return False
        if torch.is_autocast_enabled("cpu") or any(part._forward_hooks for part in self.model.modules()):
            return False
        wrapped = torch._C._functorch.is_functorch_wrapped_tensor
        return not (wrapped(points) or wrapped(self.code)) and forward_ad._current_level < 0

    def _extend_beyond_box(self, field: SignedDistance) -> SignedDistance:
        """Extend a field beyond the box, and evaluate it in chunks to bound the memory."""

        def distance(points: Tensor) -> Tensor:
            converted = self.model.like_weights(points)
            require_finite(converted)
            inside = converted.clamp(-1, 1)
            size = _CPU_CHUNK if inside.device.type == "cpu" else CHUNK_SIZE
            return (map_chunks(field, inside, size) + norm(converted - inside)).to(points)

        return distance


def _versions(model: LatentSDF) -> list[int]:
    """Counters of changes in place to the weights, for example by an optimizer."""
    return [0 if weight.is_inference() else weight._version for weight in model.parameters()]
