"""The solid that a mesh stands for: what its closed parts enclose, and a slab around each of its sheets.

A sheet is surface without an inside: cloth of one layer, the single-sided back of a chair. Its slab is everything
within half a thickness of it, so edges and corners are round. The signed distance of the solid is the smaller of
the two parts'. It is exact outside; inside, where parts overlap or a sheet folds, it can be too shallow, never too
deep. Against the mesh itself a slab's boundary is half a thickness off. Negative inside; lengths in model space.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.config.sampling import SignMethod
from latentsdf.geometry.lattice import band_width, from_lattice_units, linear_index, to_lattice_units
from latentsdf.geometry.mesh_sdf.full_lattice import sparse_lattice
from latentsdf.geometry.mesh_sdf.lattice_sign import lattice_inside
from latentsdf.geometry.mesh_sdf.mesh_distance import tree_query
from latentsdf.geometry.mesh_sdf.narrow_band import LatticeBand, Surface, band_in_slabs, narrow_band
from latentsdf.geometry.mesh_sdf.sign import SignReport, SignRule, sides, sign_rule

_ROUNDING = 1e-6
_SLABS = 3  # a thread, so that none waits long for another
_THIN = 1 / 8  # of the thickness: walls below it are sheets

Floats = NDArray[np.float64]
Float32 = NDArray[np.float32]
Inside = NDArray[np.bool_]


@dataclass(frozen=True)
class SignedLattice:
    """Signed distances at sorted linear indices of a lattice, (B,) each."""

    resolution: int
    index: NDArray[np.uint32]
    distance: Float32


def signed_band(
    mesh: trimesh.Trimesh, resolution: int, voxels: float, sign: SignMethod = "auto", threads: int = 1
) -> SignedLattice:
    """All vertices within so many cells of the surface, with its sign; sheets are surface as any other.

    The rule of the sign is found beside the distances. Raises ConfigError as `narrow_band` does.
    """
    with ThreadPoolExecutor(threads) as pool:
        surface = Surface.on_lattice(mesh, resolution, pool.map)
        deciding = pool.submit(sign_rule, mesh, sign)
        band = band_in_slabs(surface, resolution, voxels, pool.map, _SLABS * threads)
        rule, _ = deciding.result()
    inside = lattice_inside(rule, band.index, resolution, band.distance, band.face)
    return SignedLattice(resolution, band.index, np.where(inside, -band.distance, band.distance))


_NOWHERE = LatticeBand(np.zeros(0, np.uint32), np.zeros(0, np.float32), np.zeros(0, np.int32))


@dataclass(frozen=True)
class _Known:
    """Sorted lattice vertices at which the sign of the body is known, and at least how far it is."""

    resolution: int
    index: NDArray[np.uint32]
    distance: Float32
    margin: float
    """How much too large a distance can be."""

    def settle(self, points: Floats) -> tuple[Inside, Inside]:
        """Which of the points (N, 3) lie nearer to their closest vertex than it to the surface, and are they inside?"""
        if not len(self.index):
            return np.zeros(len(points), dtype=np.bool_), np.zeros(len(points), dtype=np.bool_)
        cell = np.clip(np.rint(to_lattice_units(points, self.resolution)).astype(np.int64), 0, self.resolution)
        linear = linear_index(cell, self.resolution).astype(np.uint32)
        at = linear.astype(np.int64)
        if len(self.index) < (self.resolution + 1) ** 3:
            at = np.minimum(np.searchsorted(self.index, linear), len(self.index) - 1)
        value = self.distance[at]
        apart = np.linalg.norm(points - from_lattice_units(cell, self.resolution), axis=1)
        return (self.index[at] == linear) & (np.abs(value) > apart * (1 + 1e-5) + self.margin), value < 0


class Solid:
    """Signed distance of a mesh in which sheets have a thickness: `Solid(mesh, thickness)(points (N, 3)) -> (N,)`.

    `sign` is a rule of `geometry.sign`; with thickness 0 sheets count as any other surface. Lattices asked for make
    later answers about points cheaper, and do not change them.
    """

    def __init__(self, mesh: trimesh.Trimesh, thickness: float = 0.0, sign: SignMethod = "auto") -> None:
        self.radius = thickness / 2
        self.rule: SignRule
        self.report: SignReport
        self.sheet = np.zeros(len(mesh.faces), dtype=np.bool_)
        if thickness > 0:
            found = sides(mesh, _THIN * thickness, sign)
            self.rule, self.report, self.sheet = found.rule, found.report, found.sheet
        else:
            self.rule, self.report = sign_rule(mesh, sign)
        self.body = _part(mesh, ~self.sheet) if self.sheet.any() else mesh
        self.slab = _part(mesh, self.sheet)
        self._body_query = tree_query(self.body) if len(self.body.faces) else None
        self._slab_query = tree_query(self.slab) if len(self.slab.faces) else None
        self._known: list[_Known] = []

    def __call__(self, points: Floats) -> Floats:
        """Signed distance (N,) of points (N, 3)."""
        distance = np.full(len(points), np.inf)
        if self._body_query is not None:
            unsigned, face, _ = self._body_query(points)
            distance = np.where(self.inside_body(points, face), -unsigned, unsigned)
        if self._slab_query is not None:
            distance = np.minimum(distance, self._slab_query(points)[0] - self.radius)
        return distance

    def sparse(self, resolution: int) -> SignedLattice:
        """The whole lattice; as exact as `geometry.sparse.sparse_lattice`."""
        everything = np.arange((resolution + 1) ** 3, dtype=np.uint32)
        total = np.full(len(everything), np.inf, dtype=np.float32)
        if self._body_query is not None:
            lattice, face = sparse_lattice(self.body, resolution)
            unsigned = lattice.reshape(-1)
            inside = lattice_inside(self.rule, everything, resolution, unsigned, face.reshape(-1))
            total = np.where(inside, -unsigned, unsigned)
            self._known.append(_Known(resolution, everything, total, _ROUNDING))
        if self._slab_query is not None:
            to_sheet = sparse_lattice(self.slab, resolution)[0].reshape(-1)
            total = np.minimum(total, to_sheet - np.float32(self.radius))
        return SignedLattice(resolution, everything, total)

    def band(self, resolution: int, voxels: float) -> SignedLattice:
        """All vertices within so many cells of the solid's boundary."""
        width = band_width(resolution, voxels)
        body = narrow_band(self.body, resolution, voxels) if self._body_query is not None else _NOWHERE
        slab = _NOWHERE
        if self._slab_query is not None:
            slab = narrow_band(self.slab, resolution, voxels + self.radius * resolution / 2)
        index = _union(body.index, slab.index)
        near_body, near_slab = np.searchsorted(index, body.index), np.searchsorted(index, slab.index)
        unsigned, face = np.full(len(index), width, dtype=np.float32), np.zeros(len(index), dtype=np.int32)
        unsigned[near_body], face[near_body] = body.distance, body.face
        inside = lattice_inside(self.rule, index, resolution, unsigned, face)
        self._known.append(_Known(resolution, index, np.where(inside, -unsigned, unsigned), _ROUNDING))
        total = np.full(len(index), np.inf, dtype=np.float32)
        total[near_body] = body.distance
        total[inside] *= -1
        total[near_slab] = np.minimum(total[near_slab], slab.distance - np.float32(self.radius))
        if len(slab.index):
            within = np.abs(total) <= np.float32(width)
            index, total = index[within], total[within]
        return SignedLattice(resolution, index, total)

    def inside_body(self, points: Floats, face: NDArray[np.integer[Any]]) -> Inside:
        """Inside (N,): from the lattices where they settle it, else from the rule, which may be slow."""
        inside = np.empty(len(points), dtype=np.bool_)
        left = np.arange(len(points))
        for known in self._known:
            settled, answer = known.settle(points[left])
            inside[left[settled]] = answer[settled]
            left = left[~settled]
        inside[left] = self.rule(points[left], face[left])
        return inside


def _union(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """All members of two sorted sets, sorted; `np.union1d` hashes them, which took half of a shape's time."""
    both = np.sort(np.concatenate([one, other]), kind="stable")
    return both[np.append(True, both[1:] != both[:-1])[: len(both)]]


def _part(mesh: trimesh.Trimesh, chosen: Inside) -> trimesh.Trimesh:
    """Some of the faces, with the vertices they need, in order."""
    used, faces = np.unique(np.asarray(mesh.faces)[chosen], return_inverse=True)
    return trimesh.Trimesh(np.asarray(mesh.vertices)[used], faces.reshape(-1, 3), process=False)
