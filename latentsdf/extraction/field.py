"""Signed distance fields as callables, and their validated evaluation on lattice vertices.

Every consumer of a field (extraction, rendering, metrics) takes any callable from points to signed distances: an
analytic shape, a mesh distance, one branch of a decoder, or a combination of fields. It searches for the surface in the
box [-1, 1]^3, or, for a `Field`, in the box that the field names.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config.sampling import SamplingConfig
from latentsdf.extraction.sparse_lattice import Ints, Mask, SparseLattice
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_sdf.sampling import solid_from_config
from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.geometry.targets import read_mesh
from latentsdf.models.derivatives import jet
from latentsdf.utils.arrays import as_array, describe
from latentsdf.utils.chunks import map_chunks
from latentsdf.utils.errors import ConfigError, EmptyLevelSetError, LatentSDFError, MeshError
from latentsdf.utils.precision import widened
from latentsdf.utils.torch_lattice import vertex_positions

SignedDistance = Callable[[Tensor], Tensor]
"""Points (N, 3) float32 in model space to signed distances (N,), negative inside."""


@dataclass(frozen=True)
class Field:
    """A signed distance function in any frame, with the box that contains its surface.

    Calling it evaluates `function`: points (N, 3) to distances (N,), both as tensors on `device`.
    """

    function: SignedDistance
    """The signed distance, negative inside, in the frame of the points."""
    domain: Similarity = IDENTITY
    """Similarity transform that maps the box with the surface to [-1, 1]^3."""
    device: torch.device | str = "cpu"
    """Device of the points and the distances."""

    def __call__(self, points: Tensor) -> Tensor:
        """Evaluate the signed distance (N,) at points (N, 3).

        Raises:
            ConfigError: The points are no tensor of floating-point numbers or have another shape.
        """
        if not isinstance(points, Tensor) or not points.is_floating_point():
            found = f"a tensor of {points.dtype}" if isinstance(points, Tensor) else describe(points)
            raise ConfigError(
                f"a field is evaluated at points (N, 3), a torch tensor of floating-point numbers, got {found}; "
                "convert with torch.as_tensor, or use `distance` of a space or reconstruction, which accepts arrays"
            )
        if points.ndim != 2 or points.shape[1] != 3:
            raise ConfigError(f"a field is evaluated at points (N, 3), got {describe(points)}")
        return self.function(points)

    def __repr__(self) -> str:
        low, high = self.domain.to_user(np.array([[-1.0] * 3, [1.0] * 3])).round(4).tolist()
        return f"<Field in a box around {low} and {high}, {self.device}>"

    def in_model_space(self) -> SignedDistance:
        """Return the field as seen from the box [-1, 1]^3: s(x) = scale * function(x in the frame of the field)."""
        if self.domain == IDENTITY:
            return self.function
        return lambda points: self.domain.scale * self.function(_to_user(self.domain, points))


def in_frame_of(field: SignedDistance, similarity: Similarity, device: torch.device | str) -> Field:
    """Transform a signed distance from model space to the frame of a shape.

    Args:
        field: Signed distance in model space.
        similarity: Similarity transform between the frame of the shape and model space.
        device: Device of the points and the distances.

    Returns:
        The field, differentiable if `field` is, with distances in units of the frame of the shape.
    """
    if similarity == IDENTITY:
        return Field(field, IDENTITY, device)
    return Field(lambda points: field(_to_model(similarity, points)) / similarity.scale, similarity, device)


def as_field(shape: "trimesh.Trimesh | SignedDistance | Field") -> Field:
    """Convert a mesh or a callable to a `Field`.

    Args:
        shape: Mesh, in any form that `geometry.targets` lists, whose inside is determined as in preprocessing, callable
            from points (N, 3), a float32 tensor, to distances (N,) as a tensor or array, or `Field`.

    Returns:
        The field. A mesh lies in the box around it; the surface of a callable is searched in [-1, 1]^3.

    Raises:
        MeshError: The mesh has no surface.
        ConfigError: The argument is of another type.
    """
    if isinstance(shape, Field):
        return shape
    if callable(shape):
        return Field(_torch_field(shape))
    try:
        mesh = read_mesh(shape, "a field")
    except MeshError as error:
        if isinstance(shape, trimesh.Trimesh | trimesh.Scene):
            raise
        raise ConfigError(
            "expected a mesh, a field such as `space.field(id)`, or a function from points (N, 3) to distances (N,), "
            f"got {describe(shape)} ({error})"
        ) from error
    model_mesh, similarity = meshes.normalize(meshes.clean(mesh)[0])
    solid = solid_from_config(model_mesh, SamplingConfig())
    return in_frame_of(_torch_field(lambda points: solid(points.double().numpy(force=True))), similarity, "cpu")


def distance_and_gradient(
    field: SignedDistance, points: NDArray[np.floating], device: torch.device | str = "cpu"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evaluate a differentiable field and its gradient in chunks.

    Args:
        field: Function from points (N, 3) to distances (N,).
        points: Points (N, 3).
        device: Device of the field.

    Returns:
        Distances (N,) and gradients (N, 3).
    """

    def evaluate(chunk: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            at = jet(field, chunk.to(device))
        return at.distance.detach().cpu(), at.gradient.detach().cpu()

    distance, gradient = map_chunks(evaluate, torch.from_numpy(np.asarray(points, dtype=np.float32)))
    return distance.double().numpy(), gradient.double().numpy()


def _torch_field(function: Callable[[Tensor], Any]) -> SignedDistance:
    """Convert the distances of a function that may return NumPy arrays to tensors like the points."""

    def distance(points: Tensor) -> Tensor:
        found = function(points)
        expected = f"a function of points (N, 3) to return signed distances (N,), here ({len(points)},)"
        if not isinstance(found, Tensor):
            found = torch.as_tensor(as_array(found, expected=expected))
        if found.dtype == torch.bool or found.is_complex():
            raise ConfigError(f"expected {expected}, got a tensor of {found.dtype}")
        if found.shape != points.shape[:1]:
            raise ConfigError(f"expected {expected}, got shape {tuple(found.shape)}")
        return found.to(points)

    return distance


def _to_model(similarity: Similarity, points: Tensor) -> Tensor:
    """`Similarity.to_model` of a tensor, computed in float64 because large centers cancel."""
    wide = widened(points)
    scaled = (wide - wide.new_tensor(similarity.center)) * similarity.scale
    return _rotate(scaled, similarity.rotation().T, similarity.yaw).to(points)


def _to_user(similarity: Similarity, points: Tensor) -> Tensor:
    """`Similarity.to_user` of a tensor, computed in float64."""
    wide = widened(points)
    rotated = _rotate(wide, similarity.rotation(), similarity.yaw)
    return (rotated / similarity.scale + wide.new_tensor(similarity.center)).to(points)


def _rotate(points: Tensor, rotation: NDArray[np.float64], yaw: float) -> Tensor:
    return points @ torch.from_numpy(np.ascontiguousarray(rotation)).to(points.device) if yaw else points


class FieldSampler:
    """Evaluates a field on lattice vertices in chunks, validates its output and records the range of its values.

    Args:
        name: Name of the field in error messages.
        field: The field to evaluate.
        level: Level that is subtracted from every value, so that the level set becomes the zero set.
        chunk: Points per evaluation.
        device: Device on which the field is evaluated.
    """

    def __init__(self, name: str, field: SignedDistance, level: float, chunk: int, device: torch.device | str) -> None:
        self.name, self.field, self.level, self.chunk, self.device = name, field, level, chunk, device
        self.low, self.high = math.inf, -math.inf

    def __call__(self, index: Ints, resolution: int) -> NDArray[np.float32]:
        """Field values minus the level, (N,), at lattice indices (N, 3).

        Raises:
            ConfigError: The field returned the wrong shape.
            LatentSDFError: The field returned a value that is not finite.
        """
        axis = vertex_positions(torch.arange(resolution + 1), resolution).to(self.device)
        values = np.empty(len(index), dtype=np.float32)
        for start in range(0, len(index), self.chunk):
            points = axis[torch.from_numpy(index[start : start + self.chunk]).to(self.device)]
            with torch.no_grad():
                distance = self.field(points)
            values[start : start + self.chunk] = self._validated(distance, points)
        return values - np.float32(self.level)

    def _validated(self, distance: Tensor, points: Tensor) -> NDArray[np.float32]:
        if distance.shape != points.shape[:1]:
            raise ConfigError(
                f"the {self.name} field must return one distance per point, shape ({len(points)},), "
                f"got shape {tuple(distance.shape)}"
            )
        invalid = ~torch.isfinite(distance)
        if invalid.any():
            first = ", ".join(f"{x:.4f}" for x in points[invalid][0].tolist())
            raise LatentSDFError(
                f"the {self.name} field is not finite at {int(invalid.sum())} of {len(points)} points, "
                f"the first at ({first}); check the code and the checkpoint for values that are not finite"
            )
        self.low, self.high = min(self.low, float(distance.min())), max(self.high, float(distance.max()))
        return distance.detach().to("cpu", torch.float32).numpy()

    def evaluate(self, lattice: SparseLattice, mask: Mask) -> None:
        """Evaluate the field at the masked vertices in place; vertices of the padding layer get +inf."""
        padding = lattice.padding_mask() & mask
        lattice.value[padding] = np.inf
        inside = mask & ~padding
        lattice.value[inside] = self(lattice.vertex_indices(inside), lattice.resolution)
        lattice.exact[inside | padding] = True

    def empty_level_set_error(self) -> EmptyLevelSetError:
        """Create the error for a field that does not cross the level at any evaluated vertex."""
        side = "outside" if self.low >= self.level else "inside" if self.high < self.level else "on either side"
        return EmptyLevelSetError(
            f"no surface: the {self.name} field takes values from {self.low:.4g} to {self.high:.4g} at the evaluated "
            f"points, {side} of level {self.level:g}, and no lattice cell in [-1, 1]^3 has both signs; check that the "
            "shape lies in model space and that negative means inside, train longer, or pass another `level`"
        )
