"""Signed distance of the solid that a mesh bounds, in which sheets are given a thickness.

A sheet is surface that bounds no volume, such as single-layer cloth or a single-sided chair back (see `sign`). The
solid is the union of the body, bounded by the other faces, and the sheets, thickened by t / 2 on both sides with
rounded edges and corners:

    s(x) = min(s_body(x), d_sheets(x) - t / 2)

with the signed distance s_body, negative inside, and the unsigned distance d_sheets. s is exact outside. Inside it is a
lower bound of the depth, |s| <= distance to the boundary, and not exact where parts overlap or a sheet is folded. The
winding number is 1 between the two faces of a thin wall, too, but these faces are sheets and the body can be far away;
inside, |s_body| is therefore the distance to the body or to the sheets, whichever is less. The boundary of a thickened
sheet is t / 2 away from the mesh. Lengths are in model space.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.config.sampling import SignMethod
from latentsdf.geometry.lattice import band_width, from_lattice_units, linear_index, to_lattice_units
from latentsdf.geometry.mesh_sdf.full_lattice import NO_POINTS, full_lattice_and_points, full_lattice_distance
from latentsdf.geometry.mesh_sdf.lattice_sign import lattice_inside
from latentsdf.geometry.mesh_sdf.mesh_distance import bvh_query
from latentsdf.geometry.mesh_sdf.narrow_band import LatticeMesh, NarrowBand, narrow_band, narrow_band_in_slabs
from latentsdf.geometry.mesh_sdf.sign import SignReport, SignRule, sign_rule, solid_sign
from latentsdf.geometry.mesh_sdf.triangles import distance_to_faces

_ROUNDING = 1e-6  # bound on the error of float32 lattice distances
_SLABS_PER_THREAD = 3  # balances the load
_MAX_SHEET_WALL = 1 / 8  # of the sheet thickness: thinner walls are treated as sheets

Floats = NDArray[np.float64]
Float32 = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class SignedLattice:
    """Signed distances at some or all vertices of a lattice."""

    resolution: int
    """Cells per axis."""
    index: NDArray[np.uint32]
    """(B,) sorted linear indices."""
    distance: Float32
    """(B,) signed distances in model space, negative inside."""


def signed_narrow_band(
    mesh: trimesh.Trimesh, resolution: int, voxels: float, sign: SignMethod = "auto", threads: int = 1
) -> SignedLattice:
    """Signed distance of a mesh in a narrow band; sheets are not thickened.

    The sign rule is built concurrently with the distances if there are several threads.

    Args:
        mesh: Mesh in model space.
        resolution: Cells per axis.
        voxels: Half width of the band in cells.
        sign: Method that determines the sign; see `sign`.
        threads: Number of threads.

    Returns:
        All vertices within the band; the number of threads does not affect them.

    Raises:
        ConfigError: The resolution is outside 1..1624, or the band width is not positive.
    """
    with ThreadPoolExecutor(threads) as pool:
        lattice_mesh = LatticeMesh.from_mesh(mesh, resolution, pool.map)
        pending_rule = pool.submit(sign_rule, mesh, sign)
        band = narrow_band_in_slabs(lattice_mesh, resolution, voxels, pool.map, _SLABS_PER_THREAD * threads)
        rule, _ = pending_rule.result()
    inside = lattice_inside(rule, band.index, resolution, band.distance, band.face)
    return SignedLattice(resolution, band.index, np.where(inside, -band.distance, band.distance))


_EMPTY_BAND = NarrowBand(np.zeros(0, np.uint32), np.zeros(0, np.float32), np.zeros(0, np.int32))


@dataclass(frozen=True)
class _SignLookup:
    """Signs of the body at lattice vertices, from which the signs of nearby points follow.

    A point x whose nearest vertex v satisfies |x - v| < |s(v)| has the sign of v, since no surface passes between them.
    """

    resolution: int
    """Cells per axis."""
    index: NDArray[np.uint32]
    """(B,) sorted linear indices of the vertices."""
    distance: Float32
    """(B,) signed distances of the body, or lower bounds of their absolute values."""
    margin: float
    """Bound on the amount by which an absolute value can be too large."""

    def query(self, points: Floats) -> tuple[Bools, Bools]:
        """Whether the sign at each point (N, 3) follows from its nearest vertex, and whether that vertex is inside."""
        if not len(self.index):
            return np.zeros(len(points), dtype=np.bool_), np.zeros(len(points), dtype=np.bool_)
        vertex = np.clip(np.rint(to_lattice_units(points, self.resolution)).astype(np.int64), 0, self.resolution)
        linear = linear_index(vertex, self.resolution).astype(np.uint32)
        row = linear.astype(np.int64)
        if len(self.index) < (self.resolution + 1) ** 3:
            row = np.minimum(np.searchsorted(self.index, linear), len(self.index) - 1)
        value = self.distance[row]
        offset = np.linalg.norm(points - from_lattice_units(vertex, self.resolution), axis=1)
        return (self.index[row] == linear) & (np.abs(value) > offset * (1 + 1e-5) + self.margin), value < 0


class Solid:
    """Signed distance function of a mesh with thickened sheets: `Solid(mesh, thickness)(points)`.

    `full_lattice` and `narrow_band` cache the signs of the body, which accelerates later point queries without changing
    their results.

    Attributes:
        radius: Half the thickness of the sheets.
        rule: Sign rule of the body.
        report: Method and reliability of the sign rule.
        is_sheet: (F,) True for the faces of the mesh that are sheets.
        body: Mesh of the other faces.
        sheets: Mesh of the sheets.
    """

    def __init__(self, mesh: trimesh.Trimesh, thickness: float = 0.0, sign: SignMethod = "auto") -> None:
        """Find the sheets and build the sign rule of the body.

        Args:
            mesh: Mesh in model space.
            thickness: Thickness of the sheets; with 0, sheets are not distinguished from other faces.
            sign: Method that determines the sign; see `sign`.
        """
        self.radius = thickness / 2
        self.rule: SignRule
        self.report: SignReport
        self.is_sheet = np.zeros(len(mesh.faces), dtype=np.bool_)
        if thickness > 0:
            found = solid_sign(mesh, _MAX_SHEET_WALL * thickness, sign)
            self.rule, self.report, self.is_sheet = found.rule, found.report, found.is_sheet
        else:
            self.rule, self.report = sign_rule(mesh, sign)
        self.body = _submesh(mesh, ~self.is_sheet) if self.is_sheet.any() else mesh
        self.sheets = _submesh(mesh, self.is_sheet)
        self._body_query = bvh_query(self.body) if len(self.body.faces) else None
        self._sheet_query = bvh_query(self.sheets) if len(self.sheets.faces) else None
        self._lookups: list[_SignLookup] = []

    def __call__(self, points: Floats, face: NDArray[np.integer[Any]] | None = None) -> Floats:
        """Signed distance of points, negative inside.

        Args:
            points: Points (N, 3).
            face: Closest faces (N,) of the body, if they are known; -1 for points where they are not.

        Returns:
            Distances (N,), float64.
        """
        distance = np.full(len(points), np.inf)
        if self._body_query is not None:
            distance, face = self._closest_faces(points, face)
            inside = self.inside_body(points, face)
        else:
            inside = np.zeros(len(points), dtype=np.bool_)
        if self._sheet_query is None:
            return np.where(inside, -distance, distance)
        return _union_distance(distance, inside, self._sheet_query(points)[0], self.radius)

    def _closest_faces(
        self, points: Floats, known: NDArray[np.integer[Any]] | None
    ) -> tuple[Floats, NDArray[np.integer[Any]]]:
        """Unsigned distance (N,) of points (N, 3) to the body, and their closest faces (N,)."""
        assert self._body_query is not None
        if known is None:
            return self._body_query(points)[:2]
        face, unsigned = known.astype(np.int64), distance_to_faces(points, known, np.asarray(self.body.triangles))
        missing = face < 0
        unsigned[missing], face[missing], _ = self._body_query(points[missing])
        return unsigned, face

    def full_lattice(self, resolution: int) -> SignedLattice:
        """Signed distance at all vertices of a lattice, with the accuracy of `full_lattice_distance`.

        Args:
            resolution: Cells per axis.

        Raises:
            ConfigError: The resolution is outside 1..1624.
        """
        return self.full_lattice_and_points(resolution, NO_POINTS)[0]

    def full_lattice_and_points(
        self, resolution: int, points: Floats
    ) -> tuple[SignedLattice, NDArray[np.integer[Any]]]:
        """Signed distance at all vertices of a lattice, and closest faces of points, for `__call__`.

        Args:
            resolution: Cells per axis.
            points: Points (N, 3).

        Returns:
            The lattice, and the closest faces (N,) of the body; -1 for points outside the box.

        Raises:
            ConfigError: The resolution is outside 1..1624.
        """
        closest = np.full(len(points), -1, dtype=np.int32)
        index = np.arange((resolution + 1) ** 3, dtype=np.uint32)
        unsigned, inside = np.full(len(index), np.inf, dtype=np.float32), np.zeros(len(index), dtype=np.bool_)
        if self._body_query is not None:
            lattice, face, closest = full_lattice_and_points(self.body, resolution, points)
            unsigned = lattice.reshape(-1)
            inside = lattice_inside(self.rule, index, resolution, unsigned, face.reshape(-1))
        total = np.where(inside, -unsigned, unsigned)
        if self._body_query is not None:
            self._lookups.append(_SignLookup(resolution, index, total, _ROUNDING))
        if self._sheet_query is not None:
            to_sheets = full_lattice_distance(self.sheets, resolution)[0].reshape(-1)
            total = _union_distance(unsigned, inside, to_sheets, self.radius)
        return SignedLattice(resolution, index, total), closest

    def narrow_band(self, resolution: int, voxels: float) -> SignedLattice:
        """Signed distance at all lattice vertices near the boundary of the solid.

        Args:
            resolution: Cells per axis.
            voxels: Half width of the band in cells.

        Raises:
            ConfigError: The resolution is outside 1..1624, or the band width is not positive.
        """
        width = band_width(resolution, voxels)
        body = narrow_band(self.body, resolution, voxels) if self._body_query is not None else _EMPTY_BAND
        sheets = _EMPTY_BAND
        if self._sheet_query is not None:
            sheets = narrow_band(self.sheets, resolution, voxels + self.radius * resolution / 2)
        index = _union(body.index, sheets.index)
        near_body, near_sheets = np.searchsorted(index, body.index), np.searchsorted(index, sheets.index)
        unsigned, face = np.full(len(index), width, dtype=np.float32), np.zeros(len(index), dtype=np.int32)
        unsigned[near_body], face[near_body] = body.distance, body.face
        inside = lattice_inside(self.rule, index, resolution, unsigned, face)
        self._lookups.append(_SignLookup(resolution, index, np.where(inside, -unsigned, unsigned), _ROUNDING))
        total = np.where(inside, -unsigned, unsigned)
        if len(sheets.index):
            to_body, to_sheets = np.full((2, len(index)), np.inf, dtype=np.float32)
            to_body[near_body], to_sheets[near_sheets] = body.distance, sheets.distance
            total = _union_distance(to_body, inside, to_sheets, self.radius)
            within = np.abs(total) <= np.float32(width)
            index, total = index[within], total[within]
        return SignedLattice(resolution, index, total)

    def inside_body(self, points: Floats, face: NDArray[np.integer[Any]] | None = None) -> Bools:
        """Inside test of the body.

        Uses the signs of the lattices computed so far where they determine the sign, and the sign rule elsewhere.

        Args:
            points: Points (N, 3).
            face: Closest faces (N,) of the body, if they are known.

        Returns:
            True (N,) for points inside.
        """
        inside = np.empty(len(points), dtype=np.bool_)
        remaining = np.arange(len(points))
        for lookup in self._lookups:
            determined, sign = lookup.query(points[remaining])
            inside[remaining[determined]] = sign[determined]
            remaining = remaining[~determined]
        if face is None:
            assert self._body_query is not None
            inside[remaining] = self.rule(points[remaining], self._body_query(points[remaining])[1])
        else:
            inside[remaining] = self.rule(points[remaining], face[remaining])
        return inside


def _union_distance(to_body: NDArray[Any], inside: Bools, to_sheets: NDArray[Any], radius: float) -> NDArray[Any]:
    """Signed distance (N,) of the union of the body and the thickened sheets, see the module docstring.

    Args:
        to_body: Unsigned distances (N,) to the body, float32 or float64.
        inside: Whether the points are inside the body or a thin wall, (N,).
        to_sheets: Unsigned distances (N,) to the sheets, of the same type.
        radius: Half the thickness of the sheets.
    """
    body = np.where(inside, -np.minimum(to_body, to_sheets), to_body)
    union: NDArray[Any] = np.minimum(body, to_sheets - to_sheets.dtype.type(radius))
    return union


def _union(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Sorted union of two sorted sets. `np.union1d` hashes the values, which took half of the preprocessing time."""
    both = np.sort(np.concatenate([one, other]), kind="stable")
    return both[np.append(True, both[1:] != both[:-1])[: len(both)]]


def _submesh(mesh: trimesh.Trimesh, chosen: Bools) -> trimesh.Trimesh:
    """Mesh of the chosen faces and of the vertices that they use, in the original order."""
    used, faces = np.unique(np.asarray(mesh.faces)[chosen], return_inverse=True)
    return trimesh.Trimesh(np.asarray(mesh.vertices)[used], faces.reshape(-1, 3), process=False)
