"""Which side of a mesh a point is on: pseudonormals for clean meshes, winding numbers for the rest.

`pseudonormal`  (Baerentzen & Aanaes 2005) needs the closest face only; exact on a closed, consistently oriented mesh.
`winding`       generalized winding number > 1/2 (Barill et al. 2018) with the faces oriented as the file has them.
`visibility`    the same after orienting every face by what rays from outside see of it; survives flipped and doubled
                faces, inner walls and overlapping parts.
`auto`          pseudonormal where the mesh is closed, consistently oriented and agrees with the winding number on
                almost every probe near its surface; else winding where its numbers are whole and not negative there,
                as for closed parts that touch or overlap; otherwise visibility.
A mesh that is inside out as a whole (negative volume) is turned.

A face with outside on both its sides bounds nothing. `sides` names these faces, the sheets, so that `geometry.solid`
can give them a thickness.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import igl
import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.config.sampling import SignMethod
from latentsdf.geometry.mesh_sdf.pseudonormals import PseudonormalRule
from latentsdf.geometry.mesh_sdf.topology import closed_and_consistent, weld
from latentsdf.geometry.mesh_sdf.triangle_bvh import TriangleTree
from latentsdf.geometry.mesh_sdf.triangles import area_of, areas_and_volume, corner_sets, normals_of, spread
from latentsdf.geometry.mesh_sdf.visibility import RAY_START, orient_by_visibility

_PROBES = 2000
_PROBE_DISTANCE = 0.005  # standard deviation, of the bounding-box diagonal
_AGREEMENT = 0.999
_WHOLE = 0.1
# Barill et al.'s accuracy: farther than this many radii a cluster of faces is a point. Within 0.04 of igl's own choice
# of 2 at 40,000 band vertices of each of three meshes, and at least 1.9 times faster there.
_ACCURACY = 1.4
_LARGEST_COPIED_AREA = 0.01
_FEWEST_LOOKS = 4096
_SMALLEST_SHEET = 1e-3  # of the area

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Inside = NDArray[np.bool_]


@dataclass(frozen=True)
class SignReport:
    """How inside was decided."""

    method: str
    confidence: float
    """Share of probes near the surface, in [0, 1]: `winding`, where its number is whole and not negative; else where
    pseudonormals and winding numbers agree, for `visibility` near the faces that bound the solid.
    """
    sheet: float = 0.0
    """Share of the area that has no inside on either side and was given a thickness, in [0, 1]."""


@dataclass(frozen=True)
class Sides:
    """The rule for a mesh, and which of its faces (F,) are sheets that it gives no inside."""

    rule: "SignRule"
    report: SignReport
    sheet: Inside


class SignRule(Protocol):
    """Decides inside for points (N, 3) whose closest faces (N,) are known."""

    def __call__(self, points: Floats, face: NDArray[np.integer[Any]]) -> Inside: ...


class WindingRule:
    """Generalized winding number above 1/2; nowhere without faces."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        self._tree = igl.FastWindingNumberBVH() if len(faces) else None
        if self._tree is not None:
            self._tree.init(vertices, np.ascontiguousarray(faces))

    def number(self, points: Floats) -> Floats:
        """Winding number (N,) of points (N, 3)."""
        if self._tree is None:
            return np.zeros(len(points))
        points = np.ascontiguousarray(points, dtype=np.float64)
        return np.asarray(self._tree.winding_number(points, _ACCURACY)).reshape(-1)

    def inside(self, points: Floats) -> Inside:
        """Inside (N,) for points (N, 3)."""
        return self.number(points) > 0.5

    def __call__(self, points: Floats, face: NDArray[np.integer[Any]]) -> Inside:  # noqa: ARG002 (SignRule)
        """Inside (N,) for points (N, 3)."""
        return self.inside(points)


def sign_rule(mesh: trimesh.Trimesh, method: SignMethod = "auto", seed: int = 0) -> tuple[SignRule, SignReport]:
    """Choose and build the rule for a mesh; closest faces refer to `mesh.faces`. Sheets stay in the winding sum."""
    found = _decide(mesh, method, seed, 0.0, leave_sheets_out=False)
    return found.rule, found.report


def sides(mesh: trimesh.Trimesh, depth: float, method: SignMethod = "auto", seed: int = 0) -> Sides:
    """The rule for the solid part of a mesh, and its sheets.

    Sheets are patches seen equally from both sides, which the winding sum leaves out, and every other face with outside
    at `depth` on both its sides: what encloses nothing, or walls thinner than that. Pseudonormals know no sheets.
    """
    return _decide(mesh, method, seed, depth, leave_sheets_out=True)


def _decide(mesh: trimesh.Trimesh, method: SignMethod, seed: int, depth: float, leave_sheets_out: bool) -> Sides:
    vertices, faces = weld(mesh)
    area, volume = areas_and_volume(vertices, faces, vertices.mean(0))
    upright = np.ascontiguousarray(faces[:, ::-1]) if volume < 0 else faces
    clean = method == "auto" and closed_and_consistent(faces, len(vertices))
    winding, sheet = WindingRule(vertices, upright), np.zeros(len(faces), dtype=np.bool_)
    if method == "pseudonormal" or clean:
        rule = PseudonormalRule(vertices, upright)
        probes = _probes(vertices, upright, area, seed)
        confidence = float((rule(probes, _closest(vertices, upright, probes)) == winding.inside(probes)).mean())
        if method == "pseudonormal" or confidence >= _AGREEMENT:
            return Sides(rule, SignReport("pseudonormal", confidence), sheet)
    whole = 0.0 if method == "visibility" else _whole(winding, vertices, faces, area, seed)
    if method == "winding" or (method == "auto" and whole >= _AGREEMENT and not _copied(faces, area, len(vertices))):
        method, confidence = "winding", whole
    else:
        method, seen = "visibility", orient_by_visibility(vertices, faces, seed)
        if leave_sheets_out:
            sheet = _unless_small(seen.sheet, area)
        used = (seen.turn != 0) & ~sheet
        turned = np.where(seen.turn[:, None] < 0, faces[:, ::-1], faces)[used]
        winding = WindingRule(vertices, turned)
        confidence = _confidence(winding, vertices, faces[~sheet], depth, seed)
    if leave_sheets_out:
        sheet = sheet | _unless_small(_vanishing(winding, vertices, faces, depth, seed), area)
    return Sides(winding, SignReport(method, confidence, float(area[sheet].sum() / area.sum())), sheet)


def _unless_small(chosen: Inside, area: Floats) -> Inside:
    """The chosen faces, or none where they are too little surface to be more than specks."""
    return chosen & bool(area[chosen].sum() > _SMALLEST_SHEET * area.sum())


def _confidence(winding: WindingRule, vertices: Floats, faces: Ints, depth: float, seed: int) -> float:
    """Share of probes near the faces that bound the solid on which pseudonormals and winding numbers agree."""
    area = area_of(vertices[faces])
    if not area.sum() > 0:
        return 1.0
    probes = _probes(vertices, faces, area, seed)
    closest = _closest(vertices, faces, probes)
    met = np.zeros(len(vertices), dtype=np.bool_)
    met[faces[closest]] = True
    near = np.flatnonzero(met[faces].any(axis=1))
    front, back = _sides_inside(winding, vertices, faces[near], depth, seed)
    bounds = (back != front) & (area[near] > 0)
    outward = np.where(front[:, None], faces[near, ::-1], faces[near])[bounds]
    place = np.full(len(faces), -1)
    place[near[bounds]] = np.arange(len(outward))
    asked = place[closest] >= 0
    if not asked.any():
        return 1.0
    probes, closest = probes[asked], place[closest[asked]]
    return float((PseudonormalRule(vertices, outward)(probes, closest) == winding.inside(probes)).mean())


def _closest(vertices: Floats, faces: Ints, points: Floats) -> Ints:
    return TriangleTree(vertices[faces]).closest(points)[1]


def _vanishing(winding: WindingRule, vertices: Floats, faces: Ints, depth: float, seed: int) -> Inside:
    """Faces (F,) most of which has outside on both its sides."""
    points, step, owner = _looks(vertices, faces, depth, seed)
    outside = ~winding.inside(points - step)
    outside[outside] = ~winding.inside((points + step)[outside])
    vanishes: Inside = np.bincount(owner, weights=outside) > 0.5 * np.bincount(owner)
    return vanishes


def _sides_inside(
    winding: WindingRule, vertices: Floats, faces: Ints, depth: float, seed: int
) -> tuple[Inside, Inside]:
    """Is most of what lies in front, and most of what lies behind each face (F,), inside?"""
    points, step, owner = _looks(vertices, faces, depth, seed)
    front, back = (np.bincount(owner, weights=winding.inside(p)) for p in (points + step, points - step))
    count = np.bincount(owner)
    return front > 0.5 * count, back > 0.5 * count


def _looks(vertices: Floats, faces: Ints, depth: float, seed: int) -> tuple[Floats, Floats, Ints]:
    """Points (P, 3) on the faces, steps (P, 3) off them to where to look, and their faces (P,); none is left out."""
    points, owner = spread(vertices[faces], 1, _FEWEST_LOOKS, np.random.default_rng(seed))
    length = max(depth, RAY_START * float(np.linalg.norm(np.ptp(vertices, axis=0))))
    return points, length * normals_of(vertices[faces])[owner], owner


def _whole(winding: WindingRule, vertices: Floats, faces: Ints, area: Floats, seed: int) -> float:
    """Share of probes near the surface at which the winding number is whole and not negative."""
    number = winding.number(_probes(vertices, faces, area, seed))
    return float(((np.abs(number - np.round(number)) < _WHOLE) & (number > -0.5)).mean())


def _copied(faces: Ints, area: Floats, vertex_count: int) -> bool:
    """Does much of the surface lie behind a copy of itself, which winding numbers would cancel or count twice?"""
    corners = corner_sets(faces, vertex_count)
    ordered = np.sort(corners)
    if (ordered[1:] != ordered[:-1]).all():
        return False
    first = np.unique(corners, return_index=True)[1]
    return bool(area[first].sum() < (1 - _LARGEST_COPIED_AREA) * area.sum())


def _probes(vertices: Floats, faces: Ints, area: Floats, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    chosen = vertices[faces[rng.choice(len(faces), _PROBES, p=area / area.sum())]]
    points = np.einsum("fc,fcx->fx", rng.dirichlet((1, 1, 1), _PROBES), chosen)
    scale = _PROBE_DISTANCE * float(np.linalg.norm(np.ptp(vertices, axis=0)))
    moved: Floats = points + rng.normal(scale=scale, size=points.shape)
    return moved
