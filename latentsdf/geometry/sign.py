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
from numba import njit
from numpy.typing import NDArray

from latentsdf.config import SignMethod
from latentsdf.geometry.orient import RAY_START, orient_by_visibility
from latentsdf.geometry.triangles import area_of, normals_and_angles, point_triangle, spread

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
    """Share of probes near the faces that bound the solid on which pseudonormal and winding number agree, [0, 1]."""
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


class PseudonormalRule:
    """The side of the closest face, edge or vertex that its angle-weighted normal points away from."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        self.faces = faces
        self.corners = vertices[faces]
        normal, angle = normals_and_angles(self.corners)
        self.face_normal = normal
        self.vertex_normal = np.zeros_like(vertices)
        np.add.at(self.vertex_normal, faces.ravel(), (angle[:, :, None] * normal[:, None]).reshape(-1, 3))
        ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
        _, edge = np.unique(ends[:, 0] * len(vertices) + ends[:, 1], return_inverse=True)
        total = np.zeros((edge.max() + 1, 3))
        np.add.at(total, edge, np.repeat(normal, 3, axis=0))
        self.edge_normal = total[edge].reshape(-1, 3, 3)

    def __call__(self, points: Floats, face: NDArray[np.integer[Any]]) -> Inside:
        """Inside (N,) for points (N, 3) with closest faces (N,)."""
        inside: Inside = _pseudonormal_inside(
            points, face, self.corners, self.faces, self.face_normal, self.edge_normal, self.vertex_normal
        )
        return inside


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

    def __call__(self, points: Floats, face: NDArray[np.integer[Any]]) -> Inside:  # noqa: ARG002 (SignRule)
        """Inside (N,) for points (N, 3)."""
        return self.number(points) > 0.5


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
    vertices, faces = _weld(mesh)
    upright, area = _turned(vertices, faces), area_of(vertices[faces])
    if method in ("auto", "pseudonormal"):
        welded = trimesh.Trimesh(vertices, faces, process=False)
        if method == "pseudonormal" or (welded.is_watertight and welded.is_winding_consistent):
            rule = PseudonormalRule(vertices, upright)
            confidence = _agreement(rule, WindingRule(vertices, upright), vertices, upright, seed)
            if method == "pseudonormal" or confidence >= _AGREEMENT:
                return Sides(rule, SignReport("pseudonormal", confidence), np.zeros(len(faces), dtype=np.bool_))
    winding, sheet = WindingRule(vertices, upright), np.zeros(len(faces), dtype=np.bool_)
    if method == "winding" or (method == "auto" and _whole(winding, vertices, faces, seed)):
        method = "winding"
    else:
        method, seen = "visibility", orient_by_visibility(vertices, faces, seed)
        if leave_sheets_out:
            sheet = _unless_small(seen.sheet, area)
        used = (seen.turn != 0) & ~sheet
        turned = np.where(seen.turn[:, None] < 0, faces[:, ::-1], faces)[used]
        winding = WindingRule(vertices, turned)
    look = _look(winding, vertices, faces, depth, seed)
    if leave_sheets_out:
        sheet = sheet | _unless_small(look.vanishes > 0.5, area)
    solid = ~sheet & (look.bounds + look.reversed > 0.5)
    outward = np.where((look.reversed > look.bounds)[:, None], faces[:, ::-1], faces)[solid]
    confidence = 1.0
    if area[solid].sum() > 0:
        confidence = _agreement(PseudonormalRule(vertices, outward), winding, vertices, outward, seed)
    return Sides(winding, SignReport(method, confidence, float(area[sheet].sum() / area.sum())), sheet)


def _unless_small(chosen: Inside, area: Floats) -> Inside:
    """The chosen faces, or none where they are too little surface to be more than specks."""
    return chosen & bool(area[chosen].sum() > _SMALLEST_SHEET * area.sum())


@dataclass(frozen=True)
class _Look:
    """Shares of each face (F,) whose back, whose front and of which neither side is inside."""

    bounds: Floats
    reversed: Floats
    vanishes: Floats


def _look(rule: WindingRule, vertices: Floats, faces: Ints, depth: float, seed: int) -> _Look:
    points, owner = spread(vertices[faces], 1, _FEWEST_LOOKS, np.random.default_rng(seed))
    normal = normals_and_angles(vertices[faces])[0][owner]
    step = max(depth, RAY_START * float(np.linalg.norm(np.ptp(vertices, axis=0)))) * normal
    front, back = rule.number(points + step) > 0.5, rule.number(points - step) > 0.5
    count = np.bincount(owner, minlength=len(faces))
    what = (back & ~front, front & ~back, ~front & ~back)
    return _Look(*(np.bincount(owner, weights=found, minlength=len(faces)) / count for found in what))


def _weld(mesh: trimesh.Trimesh) -> tuple[Floats, Ints]:
    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64)
    unique, inverse = np.unique(vertices, axis=0, return_inverse=True)
    return unique, inverse.reshape(-1)[np.ascontiguousarray(mesh.faces, dtype=np.int64)]


def _turned(vertices: Floats, faces: Ints) -> Ints:
    """The faces, all reversed if they enclose a negative volume."""
    corners = vertices[faces] - vertices.mean(0)
    volume = np.einsum("fx,fx->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    return np.ascontiguousarray(faces[:, ::-1]) if volume < 0 else faces


def _whole(winding: WindingRule, vertices: Floats, faces: Ints, seed: int) -> bool:
    """Are the winding numbers whole and not negative near the surface, though no face hides behind a reversed copy?"""
    area = area_of(vertices[faces])
    first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)[1]
    if area[first].sum() < (1 - _LARGEST_COPIED_AREA) * area.sum():
        return False
    number = winding.number(_probes(vertices, faces, seed))
    return float(((np.abs(number - np.round(number)) < _WHOLE) & (number > -0.5)).mean()) >= _AGREEMENT


def _probes(vertices: Floats, faces: Ints, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    corners = vertices[faces]
    area = area_of(corners)
    chosen = corners[rng.choice(len(faces), _PROBES, p=area / area.sum())]
    points = np.einsum("fc,fcx->fx", rng.dirichlet((1, 1, 1), _PROBES), chosen)
    scale = _PROBE_DISTANCE * float(np.linalg.norm(np.ptp(vertices, axis=0)))
    moved: Floats = points + rng.normal(scale=scale, size=points.shape)
    return moved


def _agreement(rule: PseudonormalRule, winding: WindingRule, vertices: Floats, faces: Ints, seed: int) -> float:
    """Share of probes near these faces on which the two agree."""
    probes = _probes(vertices, faces, seed)
    _, face, _ = igl.point_mesh_squared_distance(probes, vertices, np.ascontiguousarray(faces))
    return float((rule(probes, face) == winding(probes, face)).mean())


@njit(cache=True)
def _pseudonormal_inside(
    points: Any, face: Any, corners: Any, faces: Any, face_normal: Any, edge_normal: Any, vertex_normal: Any
) -> Any:
    inside = np.empty(len(points), dtype=np.bool_)
    for q in range(len(points)):
        f = face[q]
        p = points[q]
        _, where, x, y, z = point_triangle(p[0], p[1], p[2], corners, f)
        if where == 6:
            n = face_normal[f]
        elif where >= 3:
            n = edge_normal[f, where - 3]
        else:
            n = vertex_normal[faces[f, where]]
        inside[q] = (p[0] - x) * n[0] + (p[1] - y) * n[1] + (p[2] - z) * n[2] < 0
    return inside
