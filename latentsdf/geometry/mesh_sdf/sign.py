"""Sign of the distance to a mesh: choice of an inside test that suits the quality of the mesh.

The methods are

`pseudonormal`  angle-weighted pseudonormals (`pseudonormals`). They need only the closest face and are exact on a
                closed, consistently oriented mesh.
`winding`       generalized winding number w > 1/2 (`winding_number`), faces oriented as in the file.
`visibility`    generalized winding number w > 1/2 after each face has been oriented by the rays that escape from its
                two sides (`visibility`). Robust to flipped and duplicated faces, inner walls and overlapping parts.
`auto`          `pseudonormal` if the mesh is closed, consistently oriented and agrees with the winding number at 99.9 %
                of the probe points near its surface; else `winding` if 99.9 % of the winding numbers there are
                nonnegative integers, as for closed parts that touch or overlap, and at most 1 % of the area is
                duplicated or belongs to walls of two coincident, opposite layers around a volume; else `visibility`.

For `pseudonormal` and `winding`, a mesh with negative signed volume is inside out and is reversed first.

Sheets are faces with outside on both sides (single-layer cloth, a single-sided chair back). They bound no volume;
`solid` gives them a thickness. Wide open shells (a bowl without thickness, a box without lid) are sheets, too: if they
were filled as if they had a lid, the sign would change across the lid, where the distance is large, but a distance
satisfies |d(x) - d(y)| <= |x - y|. Smaller violations, across smaller holes, lower the confidence. So does a small
shell that is filled: its violation is small in relation to the mesh, but not in relation to the shell.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from latentsdf.config.sampling import SignMethod
from latentsdf.geometry.mesh_sdf.pseudonormals import PseudonormalRule
from latentsdf.geometry.mesh_sdf.topology import is_closed_and_consistent, weld
from latentsdf.geometry.mesh_sdf.triangle_bvh import TriangleBVH
from latentsdf.geometry.mesh_sdf.triangles import (
    areas_and_signed_volume,
    corner_set_ids,
    sample_triangles,
    triangle_areas,
    triangle_normals,
)
from latentsdf.geometry.mesh_sdf.visibility import RAY_OFFSET, orient_by_visibility
from latentsdf.geometry.mesh_sdf.winding_number import WindingNumberRule

_PROBES = 2000
_PROBE_DISTANCE = 0.005  # standard deviation, relative to the bounding-box diagonal
_MIN_AGREEMENT = 0.999  # share of probes
_INTEGER_TOLERANCE = 0.1  # of a winding number
_MAX_DUPLICATED_AREA = 0.01  # share of the area
_MIN_SIDE_SAMPLES = 4096
_MIN_SHEET_AREA = 1e-3  # share of the area
_MAX_EMPTY_AREA = 0.01  # share of the area with outside on both sides
_MIN_CLOSED = 0.9  # share of probes at which the winding number of walls of two layers is an integer
_OPEN = 0.5  # violation of the Lipschitz bound, in half diagonals, above which a shell is open, not merely damaged
_NEAR_EDGES = 0.01  # least distance of probes from free edges, in half diagonals
_MAX_OPENINGS = 4  # rounds in which open shells are found
_SHEET_DEPTHS = 4  # half the thickness that sheets get, in units of the depth at which sides are tested
_FILLED = 0.5  # violation, in half diagonals of a connected part, above which the part is a filled shell
_FILLED_CONFIDENCE = 0.95  # of a mesh with a filled shell, at most
_MAX_SHELLS = 200  # parts with free edges that are probed, the largest ones
_SHELL_PROBES = 4000  # of all of them together
_MIN_SHELL_PROBES = 32  # of each

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


DOUBTFUL_CONFIDENCE = 0.99
"""Signs with a lower confidence are listed as doubtful."""


@dataclass(frozen=True)
class SignReport:
    """Method that determined the sign, and its reliability."""

    method: str
    """`pseudonormal`, `winding` or `visibility`; another name for samples that were not computed from a mesh."""
    confidence: float
    """Share in [0, 1] of probe points near the surface that are consistent with the method. `pseudonormal` and
    `visibility`: pseudonormals and winding number agree (for `visibility` near the faces that bound the solid).
    `winding`: the winding number is a nonnegative integer. At most 1 - v for violations v of the Lipschitz bound of
    distances, in halves of the bounding-box diagonal; for samples, also those between adjacent vertices of the
    sparse lattice. At most 0.95 if a connected part is wide open but filled as if it had a lid, however small it is.
    """
    sheet: float = 0.0
    """Share in [0, 1] of the area that consists of sheets, which were given a thickness."""


@runtime_checkable
class SignRule(Protocol):
    """Inside test for points (N, 3) with known closest faces (N,)."""

    def __call__(self, points: Floats, face: NDArray[np.integer[Any]]) -> Bools:
        """Return True (N,) for points inside."""


@dataclass(frozen=True)
class SolidSign:
    """Sign rule of the solid part of a mesh, and the faces that are sheets."""

    rule: SignRule
    report: SignReport
    is_sheet: Bools
    """(F,) True for faces that bound no volume."""


def sign_rule(mesh: trimesh.Trimesh, method: SignMethod = "auto", seed: int = 0) -> tuple[SignRule, SignReport]:
    """Build the sign rule of a mesh. Sheets contribute to the winding number.

    Args:
        mesh: The mesh; the closest faces that the rule receives are indices into `mesh.faces`.
        method: See the module docstring.
        seed: Seed of the probe points and visibility rays.

    Returns:
        The rule and a report on its reliability.
    """
    decision = _decide(mesh, method, seed, 0.0, exclude_sheets=False)
    return decision.rule, decision.report


def solid_sign(mesh: trimesh.Trimesh, depth: float, method: SignMethod = "auto", seed: int = 0) -> SolidSign:
    """Find the sheets of a mesh and build the sign rule of its solid part.

    A face is a sheet if it belongs to a patch that is about equally visible from both sides (method `visibility`) or to
    a wide open shell, which are both excluded from the winding number, or if the points at distance `depth` on both its
    sides are outside, because it encloses nothing or bounds a wall thinner than `depth`. Method `pseudonormal` finds no
    sheets.

    Args:
        mesh: The mesh; the closest faces that the rule receives are indices into `mesh.faces`.
        depth: Distance from a face at which its sides are tested, in units of the mesh.
        method: See the module docstring.
        seed: Seed of the probe points and visibility rays.

    Returns:
        The rule, a report on its reliability, and the sheets.
    """
    return _decide(mesh, method, seed, depth, exclude_sheets=True)


def _decide(mesh: trimesh.Trimesh, method: SignMethod, seed: int, depth: float, exclude_sheets: bool) -> SolidSign:
    vertices, faces = weld(mesh)
    area, volume = areas_and_signed_volume(vertices, faces, vertices.mean(0))
    outward = np.ascontiguousarray(faces[:, ::-1]) if volume < 0 else faces
    clean = method == "auto" and is_closed_and_consistent(faces, len(vertices))
    winding, is_sheet = WindingNumberRule(vertices, outward), np.zeros(len(faces), dtype=np.bool_)
    if method == "pseudonormal" or clean:
        rule = PseudonormalRule(vertices, outward)
        probes = _probe_points(vertices, outward, area, seed)
        closest = _closest_faces(vertices, outward, probes)
        confidence = float((rule(probes, closest) == winding.inside(probes)).mean())
        if method == "pseudonormal" or confidence >= _MIN_AGREEMENT:
            return SolidSign(rule, SignReport("pseudonormal", confidence), is_sheet)
    integer = 0.0 if method == "visibility" else _integer_share(winding, vertices, faces, area, seed)
    if method == "winding" or (
        method == "auto"
        and integer >= _MIN_AGREEMENT
        and not _has_duplicates(faces, area, len(vertices))
        and not _is_hollow(winding, vertices, faces, area, seed)
    ):
        method, confidence = "winding", integer
        oriented, used = outward, np.ones(len(faces), dtype=np.bool_)
    else:
        method, orientation = "visibility", orient_by_visibility(vertices, faces, seed)
        if exclude_sheets:
            is_sheet = _unless_small(orientation.is_sheet, area)
        used = (orientation.sign != 0) & ~is_sheet
        oriented = np.where(orientation.sign[:, None] < 0, faces[:, ::-1], faces)
        winding = WindingNumberRule(vertices, oriented[used])
        confidence = _visibility_confidence(winding, vertices, faces[~is_sheet], depth, seed)
    violation, open_shell = _open_shells(winding, vertices, faces, ~is_sheet, seed)
    for _ in range(_MAX_OPENINGS):
        if not exclude_sheets or violation <= _OPEN or not open_shell.any():
            break
        is_sheet |= open_shell
        winding = WindingNumberRule(vertices, oriented[used & ~is_sheet])
        violation, open_shell = _open_shells(winding, vertices, faces, ~is_sheet, seed)
    confidence = min(confidence, max(0.0, 1 - violation))
    if confidence > _FILLED_CONFIDENCE and _has_filled_shell(winding, vertices, faces[~is_sheet], depth, seed):
        confidence = _FILLED_CONFIDENCE
    if exclude_sheets:
        is_sheet = is_sheet | _unless_small(_outside_on_both_sides(winding, vertices, faces, depth, seed), area)
    return SolidSign(winding, SignReport(method, confidence, float(area[is_sheet].sum() / area.sum())), is_sheet)


def _unless_small(chosen: Bools, area: Floats) -> Bools:
    """The chosen faces, or none if their total area is negligible."""
    return chosen & bool(area[chosen].sum() > _MIN_SHEET_AREA * area.sum())


def _is_hollow(winding: WindingNumberRule, vertices: Floats, faces: Ints, area: Floats, seed: int) -> bool:
    """Whether walls of two opposite layers enclose a volume in which the winding number is 0."""
    empty = _outside_on_both_sides(winding, vertices, faces, 0.0, seed)
    if area[empty].sum() <= _MAX_EMPTY_AREA * area.sum():
        return False
    orientation = orient_by_visibility(vertices, faces, seed)
    used = (orientation.sign != 0) & ~orientation.is_sheet
    oriented = np.where(orientation.sign[:, None] < 0, faces[:, ::-1], faces)[used]
    visible = WindingNumberRule(vertices, oriented)
    if _integer_share(visible, vertices, faces[empty], area[empty], seed) < _MIN_CLOSED:
        return False  # layers that lie about open
    closed_off = empty & ~_outside_on_both_sides(visible, vertices, faces, 0.0, seed)
    return bool(area[closed_off].sum() > _MAX_EMPTY_AREA * area.sum())


def _open_shells(
    winding: WindingNumberRule, vertices: Floats, faces: Ints, is_body: Bools, seed: int
) -> tuple[float, Bools]:
    """Largest violation of the Lipschitz bound found, in half diagonals, and the faces (F,) of the shells behind it.

    A step that is shorter than the distance to the surface does not cross it, so the sign must stay. Where it changes
    by more than `_OPEN`, the connected parts of the closest faces that have free edges are open shells.
    """
    none = np.zeros(len(faces), dtype=np.bool_)
    body = np.flatnonzero(is_body & (triangle_areas(vertices[faces]) > 0))
    if not len(body):
        return 0.0, none
    rng = np.random.default_rng(seed)
    low, extent = vertices[faces[body]].min((0, 1)), np.ptp(vertices[faces[body]], axis=(0, 1))
    half_diagonal = 0.5 * float(np.linalg.norm(np.ptp(vertices, axis=0)))
    shell, edges = _parts_with_free_edges(faces[body])
    start = low + rng.uniform(size=(_PROBES, 3)) * extent
    if len(edges):
        near = vertices[edges[rng.choice(len(edges), _PROBES)]].mean(axis=1)
        reach = half_diagonal * np.exp(rng.uniform(np.log(_NEAR_EDGES), 0, (_PROBES, 1)))
        start = np.concatenate((start, near + reach * rng.normal(size=near.shape)))
    violation, first, second = _violations(winding, TriangleBVH(vertices[faces[body]]), start, rng)
    if not len(violation):
        return 0.0, none
    violation /= half_diagonal
    wide = violation > _OPEN
    closest = body[np.concatenate((first[wide], second[wide]))]
    label = np.full(len(faces), -1)
    label[body] = shell
    return float(violation.max()), np.isin(label, np.unique(label[closest])) & (label >= 0)


def _violations(
    winding: WindingNumberRule, tree: TriangleBVH, start: Floats, rng: np.random.Generator
) -> tuple[Floats, Ints, Ints]:
    """Violations (V,) of the Lipschitz bound in steps from some points, and the closest faces (V,) at their ends."""
    distance, first = tree.closest(start)[:2]
    step = rng.normal(size=start.shape)
    step *= (rng.uniform(0.05, 0.95, len(start)) * distance / np.linalg.norm(step, axis=1))[:, None]
    flipped = np.flatnonzero(winding.inside(start) != winding.inside(start + step))
    if not len(flipped):
        return np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
    other, second = tree.closest(start[flipped] + step[flipped])[:2]
    return distance[flipped] + other - np.linalg.norm(step[flipped], axis=1), first[flipped], second


def _has_filled_shell(winding: WindingNumberRule, vertices: Floats, faces: Ints, depth: float, seed: int) -> bool:
    """Whether a connected part with free edges is filled although it is wide open.

    Every part is probed next to its free edges, at distances up to its size, because points that are drawn from the
    whole mesh miss small parts. Violations up to half the thickness of sheets do not count: as a sheet, a shell that
    is so narrow would be filled, too.
    """
    faces = faces[triangle_areas(vertices[faces]) > 0]
    if not len(faces):
        return False
    part, edges = _parts_with_free_edges(faces)
    shells, which = np.unique(part[part >= 0], return_inverse=True)
    if not len(shells):
        return False
    corners = vertices[faces[part >= 0]]
    low, high = np.full((len(shells), 3), np.inf), np.full((len(shells), 3), -np.inf)
    np.minimum.at(low, which, corners.min(axis=1))
    np.maximum.at(high, which, corners.max(axis=1))
    size = 0.5 * np.linalg.norm(high - low, axis=1)
    negligible = _SHEET_DEPTHS * depth
    # Within a shell, no violation exceeds its diagonal.
    probed = [n for n in np.argsort(-size)[:_MAX_SHELLS] if 2 * size[n] > negligible]
    if not probed:
        return False
    number = np.full(len(vertices), -1)
    number[faces[part >= 0]] = which[:, None]
    order = np.argsort(number[edges[:, 0]], kind="stable")
    ends = np.searchsorted(number[edges[order, 0]], np.arange(len(shells) + 1))
    rng = np.random.default_rng(seed)
    count = max(_MIN_SHELL_PROBES, _SHELL_PROBES // len(probed))
    start = []
    for n in probed:
        own = edges[order[rng.integers(ends[n], ends[n + 1], count)]]
        reach = size[n] * np.exp(rng.uniform(np.log(_NEAR_EDGES), 0, (count, 1)))
        start.append(vertices[own].mean(axis=1) + reach * rng.normal(size=(count, 3)))
    violation, first, second = _violations(winding, TriangleBVH(vertices[faces]), np.concatenate(start), rng)
    scale = np.full(part.max() + 2, np.inf)  # the last one is that of parts without free edges, number -1
    scale[shells] = size
    smaller = np.minimum(scale[part[first]], scale[part[second]])
    return bool(((violation > _FILLED * smaller) & (violation > negligible)).any())


def _parts_with_free_edges(faces: Ints) -> tuple[Ints, Ints]:
    """Label (F,) of the connected part of each face, -1 for parts without free edges; and the free edges (E, 2).

    A free edge belongs to a single face.
    """
    used, corners = np.unique(faces, return_inverse=True)
    corners = corners.reshape(-1, 3)
    rows, columns = corners[:, [0, 1]].reshape(-1), corners[:, [1, 2]].reshape(-1)
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(used), len(used)))
    part = connected_components(graph, directed=False)[1][corners[:, 0]]
    edges = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    distinct, inverse, count = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    free = np.zeros(part.max() + 1, dtype=np.bool_)
    free[np.repeat(part, 3)[count[inverse.reshape(-1)] == 1]] = True
    labels: Ints = np.where(free[part], part, -1).astype(np.int64)
    return labels, used[distinct[count == 1]]


def _visibility_confidence(winding: WindingNumberRule, vertices: Floats, faces: Ints, depth: float, seed: int) -> float:
    """Share of probes near the faces that bound the solid at which pseudonormals and winding number agree.

    The faces are oriented by the winding number on their two sides; only faces that share a vertex
    with the closest face of a probe are tested.
    """
    area = triangle_areas(vertices[faces])
    if not area.sum() > 0:
        return 1.0
    probes = _probe_points(vertices, faces, area, seed)
    closest = _closest_faces(vertices, faces, probes)
    touched = np.zeros(len(vertices), dtype=np.bool_)
    touched[faces[closest]] = True
    near = np.flatnonzero(touched[faces].any(axis=1))
    front, back = _inside_at_sides(winding, vertices, faces[near], depth, seed)
    bounds = (back != front) & (area[near] > 0)
    outward = np.where(front[:, None], faces[near, ::-1], faces[near])[bounds]
    position = np.full(len(faces), -1)
    position[near[bounds]] = np.arange(len(outward))
    used = position[closest] >= 0
    if not used.any():
        return 1.0
    probes, closest = probes[used], position[closest[used]]
    return float((PseudonormalRule(vertices, outward)(probes, closest) == winding.inside(probes)).mean())


def _closest_faces(vertices: Floats, faces: Ints, points: Floats) -> Ints:
    return TriangleBVH(vertices[faces]).closest(points)[1]


def _outside_on_both_sides(winding: WindingNumberRule, vertices: Floats, faces: Ints, depth: float, seed: int) -> Bools:
    """True (F,) for faces with outside on both sides at the majority of their sample points."""
    points, step, owner = _side_samples(vertices, faces, depth, seed)
    outside = ~winding.inside(points - step)
    outside[outside] = ~winding.inside((points + step)[outside])
    majority: Bools = np.bincount(owner, weights=outside) > 0.5 * np.bincount(owner)
    return majority


def _inside_at_sides(
    winding: WindingNumberRule, vertices: Floats, faces: Ints, depth: float, seed: int
) -> tuple[Bools, Bools]:
    """Whether the majority of the sample points is inside, in front of each face (F,) and behind it."""
    points, step, owner = _side_samples(vertices, faces, depth, seed)
    front, back = (np.bincount(owner, weights=winding.inside(p)) for p in (points + step, points - step))
    count = np.bincount(owner)
    return front > 0.5 * count, back > 0.5 * count


def _side_samples(vertices: Floats, faces: Ints, depth: float, seed: int) -> tuple[Floats, Floats, Ints]:
    """Points (P, 3) on the faces, offsets (P, 3) along the normals, and the face (P,) of each; at least one per face.

    The offsets have length `depth`, but at least `RAY_OFFSET` bounding-box diagonals.
    """
    points, owner = sample_triangles(vertices[faces], 1, _MIN_SIDE_SAMPLES, np.random.default_rng(seed))
    length = max(depth, RAY_OFFSET * float(np.linalg.norm(np.ptp(vertices, axis=0))))
    return points, length * triangle_normals(vertices[faces])[owner], owner


def _integer_share(winding: WindingNumberRule, vertices: Floats, faces: Ints, area: Floats, seed: int) -> float:
    """Share of probes near the surface at which the winding number is a nonnegative integer, up to a tolerance."""
    number = winding.winding_number(_probe_points(vertices, faces, area, seed))
    return float(((np.abs(number - np.round(number)) < _INTEGER_TOLERANCE) & (number > -0.5)).mean())


def _has_duplicates(faces: Ints, area: Floats, vertex_count: int) -> bool:
    """Whether duplicates of other faces, which winding numbers count twice or cancel, make up much of the area."""
    ids = corner_set_ids(faces, vertex_count)
    ordered = np.sort(ids)
    if (ordered[1:] != ordered[:-1]).all():
        return False
    first = np.unique(ids, return_index=True)[1]
    return bool(area[first].sum() < (1 - _MAX_DUPLICATED_AREA) * area.sum())


def _probe_points(vertices: Floats, faces: Ints, area: Floats, seed: int) -> Floats:
    """Points (P, 3) uniform on the surface, displaced by isotropic Gaussian noise."""
    rng = np.random.default_rng(seed)
    corners = vertices[faces[rng.choice(len(faces), _PROBES, p=area / area.sum())]]
    points = np.einsum("fc,fcx->fx", rng.dirichlet((1, 1, 1), _PROBES), corners)
    scale = _PROBE_DISTANCE * float(np.linalg.norm(np.ptp(vertices, axis=0)))
    displaced: Floats = points + rng.normal(scale=scale, size=points.shape)
    return displaced
