"""Meshes and cross-sections of the shapes of a space, coarse while something is dragged and fine at rest."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.explorer.cross_section import COARSE_PIXELS, FINE_PIXELS, Pixels, Plane, draw_plane
from latentsdf.explorer.decoding import COARSE_RESOLUTION, FINE_RESOLUTION, Check
from latentsdf.extraction.extract import Mode, extract, mean_band_half_width
from latentsdf.extraction.field import SignedDistance
from latentsdf.extraction.fusion_band import find_band
from latentsdf.latent.code import Code
from latentsdf.models.folded_code import fold_code
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.space import ShapeSpace
from latentsdf.utils.errors import EmptyLevelSetError

PREVIEW_SECONDS = 0.09
"""Longest time in which a preview may be decoded; the rest of 0.15 s is for the way to the browser and drawing."""
_SMALLEST_PIECE = 5e-3  # as in `ShapeSpace.extract`
# A third fewer evaluations at a resolution of 64 than with a search from 16 cells and the usual constant of 1.5. Of 24
# pieces of furniture all had the same faces; what a preview may miss, the fine mesh shows.
_PREVIEW_SEARCH: dict[str, Any] = {"coarsest": 8, "lipschitz": 1.0}
_CHUNK = 8_192  # the values of a layer stay in the cache of a core


@dataclass(frozen=True, eq=False)
class SpaceView:
    """What a visitor wants to see of a space."""

    code: Code
    mode: Mode = "fused"
    plane: Plane | None = None


@dataclass(frozen=True)
class Picture:
    """What the page draws: a mesh in model space, and the image of a plane."""

    vertices: NDArray[np.float32]
    faces: NDArray[np.uint32]
    resolution: int
    """Cells per axis of the lattice of the mesh."""
    mode: Mode = "general"
    image: Pixels | None = None


def preview_mode(space: ShapeSpace, seconds: float = PREVIEW_SECONDS, tries: int = 3) -> Mode:
    """Choose the branch of previews: `fused` where it is decoded fast enough, otherwise `general`.

    The first try also compiles the kernels and is not counted.
    """
    decoder = SpaceDecoder(space, preview="fused")
    shortest = float("inf")
    for number in range(tries + 1):
        view = SpaceView(space[space.ids[number * len(space) // (tries + 1)]])
        started = time.monotonic()
        try:
            decoder(view, False, lambda: None)
        except EmptyLevelSetError:
            continue
        if number:
            shortest = min(shortest, time.monotonic() - started)
    return "fused" if shortest <= seconds else "general"


class SpaceDecoder:
    """Decodes the views of one visitor. The last mesh is kept, so that moving a plane does not decode it again.

    Args:
        space: The space.
        preview: Branch of previews of the mode `fused` (`preview_mode`).
        resolution: Cells per axis of fine meshes.
    """

    def __init__(self, space: ShapeSpace, *, preview: Mode = "general", resolution: int = FINE_RESOLUTION) -> None:
        self._space, self._preview, self._resolution = space, preview, resolution
        self._last: tuple[Code, Mode, Picture] | None = None

    def __call__(self, view: SpaceView, fine: bool, check: Check) -> Picture:
        """Decode a view.

        Args:
            view: The view.
            fine: Whether to decode the fine result.
            check: Called before each evaluation of a field.

        Returns:
            The picture. A preview has the fine mesh if that was decoded before.

        Raises:
            EmptyLevelSetError: The shape has no surface.
        """
        last = self._last
        resolution = self._resolution if fine else min(COARSE_RESOLUTION, self._resolution)
        if last is not None and last[0] is view.code and last[1] == view.mode and last[2].resolution >= resolution:
            picture = last[2]
        else:
            mode = self._preview if view.mode in ("fused", "smooth") and not fine else view.mode
            picture = self.mesh(view.code, mode, resolution, check)
            self._last = view.code, view.mode, picture
        if view.plane is None:
            return picture
        faces = cut_open(picture, view.plane) if view.plane.cuts else picture.faces
        image = self._draw(view, view.plane, fine, check)
        return Picture(picture.vertices, faces, picture.resolution, picture.mode, image)

    def mesh(self, code: Code, mode: Mode, resolution: int, check: Check) -> Picture:
        """Extract a mesh in model space."""
        general, overfit = self._branches(code, check)
        mesh = extract(
            general,
            None if mode == "general" else overfit,
            resolution=resolution,
            mode=mode,
            band_voxels=self._space.config.model.band_voxels,
            smallest_piece=_SMALLEST_PIECE,
            device=self._space.device,
            chunk=_CHUNK,
            **(_PREVIEW_SEARCH if resolution <= COARSE_RESOLUTION else {}),
        )
        return Picture(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32), resolution, mode)

    def _draw(self, view: SpaceView, plane: Plane, fine: bool, check: Check) -> Pixels:
        general, overfit = self._branches(view.code, check)
        half_width = mean_band_half_width(self._space.config.model.band_voxels)

        def fused(points: Tensor) -> Tensor:
            smooth = general(points)
            near = smooth.abs() < half_width
            return smooth.index_put((near,), overfit(points[near])) if near.any() else smooth

        device = self._space.device
        by_mode: dict[str, SignedDistance] = {"general": general, "overfit": overfit}
        distance = by_chunks(by_mode.get(view.mode, fused))
        band = None
        if fine and plane.shows_band:
            band = find_band(general, band_voxels=self._space.config.model.band_voxels, device=device)
        return draw_plane(plane, distance, FINE_PIXELS if fine else COARSE_PIXELS, band, device)

    def _branches(self, code: Code, check: Check) -> tuple[SignedDistance, SignedDistance]:
        """Return both branches of a shape in model space."""
        model = self._space.model
        if code.delta is None and type(model) is LatentSDF:
            with torch.no_grad():
                model = fold_code(model, self._space.decoded_code(code))
            bare = self._space.code(code)[None]
            general, overfit = (
                lambda points: model.branch("general", points[None], bare)[0],
                lambda points: model.branch("overfit", points[None], bare)[0],
            )
        else:
            general = self._space.field(code, "general", frame="model").function
            overfit = self._space.field(code, "overfit", frame="model").function
        return checked(general, check), checked(overfit, check)


def cut_open(picture: Picture, plane: Plane) -> NDArray[np.uint32]:
    """Return the faces that do not lie completely above a plane."""
    above = picture.vertices[:, "xyz".index(plane.axis)] > plane.offset
    return picture.faces[~above[picture.faces].all(axis=1)]


def checked(field: SignedDistance, check: Check) -> SignedDistance:
    """Return a field that calls a check before each evaluation."""

    def distance(points: Tensor) -> Tensor:
        check()
        return field(points)

    return distance


def by_chunks(field: Callable[[Tensor], Tensor]) -> SignedDistance:
    """Return a field that evaluates another one in chunks, between which its check is called."""

    def distance(points: Tensor) -> Tensor:
        return torch.cat([field(chunk) for chunk in points.split(_CHUNK)])

    return distance
