"""Which side of a mesh a point is on: pseudonormals for clean meshes, winding numbers for the rest.

`pseudonormal`  (Baerentzen & Aanaes 2005) needs the closest face only; exact on a closed, consistently oriented mesh.
`winding`       generalized winding number > 1/2 (Barill et al. 2018) with the faces oriented as the file has them.
`visibility`    the same after orienting every face by what rays from outside see of it; survives flipped and doubled
                faces, inner walls and overlapping parts.
`auto`          pseudonormal where the mesh is closed, consistently oriented and agrees with the winding number on
                almost every probe near its surface; otherwise visibility.
A mesh that is inside out as a whole (negative volume) is turned.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import igl
import numpy as np
import trimesh
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from latentsdf.config import SignMethod
from latentsdf.geometry.triangle import point_triangle

_PROBES = 2000
_PROBE_DISTANCE = 0.005  # standard deviation, of the bounding-box diagonal
_AGREEMENT = 0.999
_RAYS = 32
_LARGEST_RAY_COUNT = 4_000_000
_RAY_START = 1e-4  # of the bounding-box diagonal: float32 rays must leave their own face
_MEMBERS = 256
_BLOCK = 4
_BLOCK_MEMBERS = 8
_UNSURE = 0.15  # winding numbers this close to 1/2 come from holes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Inside = NDArray[np.bool_]


@dataclass(frozen=True)
class SignReport:
    """How inside was decided: the method, and the share of near-surface probes on which
    pseudonormal and winding number agree (after orientation), in [0, 1]."""

    method: str
    confidence: float


class SignRule(Protocol):
    """Decides inside for points (N, 3) whose closest faces (N,) are known."""

    def __call__(self, points: Floats, face: NDArray[np.integer[Any]]) -> Inside: ...


class PseudonormalRule:
    """The side of the closest face, edge or vertex that its angle-weighted normal points away from."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        self.faces = faces
        self.corners = vertices[faces]
        normal, angle = _normals_and_angles(self.corners)
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
    """Generalized winding number above 1/2."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        self._tree = igl.FastWindingNumberBVH()
        self._tree.init(vertices, faces)

    def number(self, points: Floats) -> Floats:
        """Winding number (N,) of points (N, 3)."""
        return np.asarray(self._tree.winding_number(np.ascontiguousarray(points, dtype=np.float64))).reshape(-1)

    def __call__(self, points: Floats, face: NDArray[np.integer[Any]]) -> Inside:  # noqa: ARG002 (SignRule)
        """Inside (N,) for points (N, 3)."""
        return self.number(points) > 0.5


def sign_rule(mesh: trimesh.Trimesh, method: SignMethod = "auto", seed: int = 0) -> tuple[SignRule, SignReport]:
    """Choose and build the rule for a mesh; closest faces refer to `mesh.faces`."""
    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64)
    vertices, faces = _weld(vertices, np.ascontiguousarray(mesh.faces, dtype=np.int64))
    upright = _turned(vertices, faces)
    probes = _probes(vertices, faces, seed)
    pseudonormal = PseudonormalRule(vertices, upright)
    if method in ("auto", "pseudonormal"):
        welded = trimesh.Trimesh(vertices, faces, process=False)
        if method == "pseudonormal" or (welded.is_watertight and welded.is_winding_consistent):
            confidence = _agreement(pseudonormal, WindingRule(vertices, upright), vertices, upright, probes)
            if method == "pseudonormal" or confidence >= _AGREEMENT:
                return pseudonormal, SignReport("pseudonormal", confidence)
    if method == "winding":
        winding = WindingRule(vertices, upright)
        return winding, SignReport("winding", _agreement(pseudonormal, winding, vertices, upright, probes))
    seen = orient_by_visibility(vertices, faces, seed)
    winding = WindingRule(vertices, seen)
    confidence = _agreement(PseudonormalRule(vertices, seen), winding, vertices, seen, probes)
    return winding, SignReport("visibility", confidence)


def lattice_inside(
    rule: SignRule,
    index: NDArray[np.integer[Any]],
    resolution: int,
    distance: NDArray[np.floating[Any]],
    face: NDArray[np.integer[Any]],
) -> Inside:
    """Inside (B,) for lattice vertices of sorted linear index (B,) with unsigned distance and closest face (B,).

    Winding numbers are slow, so neighbours that no surface can part (d_a + d_b > the step between them) share a
    component and a few members decide for all. Where they disagree or come near 1/2 there is a hole: the
    component is cut into blocks, whose pieces vote again, and every member is asked in pieces that still disagree.
    """
    if not isinstance(rule, WindingRule):
        return rule(_lattice_positions(index, resolution), face)
    linear, unsigned = index.astype(np.int64), distance.astype(np.float64)
    inside, doubtful = _vote(rule, index, resolution, _components(linear, unsigned, resolution, 0), _MEMBERS)
    if len(doubtful):
        doubtful.sort()
        piece = _components(linear[doubtful], unsigned[doubtful], resolution, _BLOCK)
        inside[doubtful], still = _vote(rule, index[doubtful], resolution, piece, _BLOCK_MEMBERS)
        inside[doubtful[still]] = rule(_lattice_positions(index[doubtful[still]], resolution), face[doubtful[still]])
    return inside


def _vote(
    rule: WindingRule, index: NDArray[np.integer[Any]], resolution: int, label: Ints, members: int
) -> tuple[Inside, Ints]:
    """Inside (B,) as up to `members` spread over each label say, and the positions of labels they are not sure of."""
    order = np.argsort(label, kind="stable")
    start = np.flatnonzero(np.diff(label[order], prepend=-1))
    size = np.diff(start, append=len(order))
    taken = np.minimum(size, members)
    owner = np.repeat(np.arange(len(size)), taken)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(taken) - taken, taken)
    member = order[start[owner] + rank * size[owner] // taken[owner]]
    number = rule.number(_lattice_positions(index[member], resolution))
    votes = np.bincount(owner, weights=number > 0.5, minlength=len(size))
    unsure = np.bincount(owner, weights=np.abs(number - 0.5) < _UNSURE, minlength=len(size))
    inside = np.empty(len(index), dtype=np.bool_)
    inside[order] = np.repeat(votes * 2 > taken, size)
    inside[member] = number > 0.5
    doubtful = ((votes % taken != 0) | (unsure > 0)) & (size > taken)
    return inside, order[np.repeat(doubtful, size)]


def orient_by_visibility(vertices: Floats, faces: Ints, seed: int = 0) -> Ints:
    """Faces turned so that the side from which more rays escape is outside; some are dropped, so not aligned.

    Doubled faces count once. A face no ray escapes from takes the orientation its neighbours across two-sided edges
    agree on; a patch of such faces only is an inner wall and is dropped. Thin sheets, seen about equally from both
    sides, keep the side that wins, however narrowly, and stay in the winding sum: dropping them was worse on shells.
    """
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(first)]
    corners = vertices[faces]
    doubled_area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    faces, corners = faces[doubled_area > 0], corners[doubled_area > 0]
    front, back = _escapes(vertices, corners, seed)
    vote = front - back
    patch, parity = _patches(faces)
    relative = vote * (1 - 2 * parity)
    total = np.bincount(patch, weights=relative * doubled_area[doubled_area > 0])
    seen = np.bincount(patch, weights=front + back) > 0
    inherited = np.where(parity == 1, -total[patch], total[patch])
    turn = np.where(vote != 0, vote, inherited) < 0
    return np.where(turn[:, None], faces[:, ::-1], faces)[seen[patch]]


def _escapes(vertices: Floats, corners: Floats, seed: int) -> tuple[Floats, Floats]:
    """Share of rays that leave the front and the back of each face without hitting the mesh."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    low, diagonal = vertices.min(0), np.linalg.norm(np.ptp(vertices, axis=0))
    scene = EmbreeScene()
    TriangleMesh(scene, ((corners - low) / diagonal).astype(np.float32))
    normal, _ = _normals_and_angles(corners)
    rng = np.random.default_rng(seed)
    points_per_face = int(np.clip(_LARGEST_RAY_COUNT // (2 * _RAYS * len(corners)), 1, 3))
    escaped = np.zeros((2, len(corners)))
    step = max(1, _LARGEST_RAY_COUNT // (8 * _RAYS))
    for _ in range(points_per_face):
        weight = rng.dirichlet((2, 2, 2), len(corners))
        origin = (np.einsum("fc,fcx->fx", weight, corners) - low) / diagonal
        for side in range(2):
            facing = normal if side == 0 else -normal
            for at in range(0, len(corners), step):
                part = facing[at : at + step]
                ray = rng.normal(size=(len(part), _RAYS, 3))
                ray /= np.linalg.norm(ray, axis=2, keepdims=True)
                ray *= np.where(np.einsum("frx,fx->fr", ray, part) < 0, -1, 1)[:, :, None]
                ray += 0.05 * part[:, None]  # grazing rays hit the neighbours
                begin = np.repeat(origin[at : at + step] + _RAY_START * part, _RAYS, axis=0)
                hit = scene.run(begin.astype(np.float32), ray.reshape(-1, 3).astype(np.float32), query="OCCLUDED")
                escaped[side, at : at + step] += (hit == -1).reshape(-1, _RAYS).mean(1)
    return escaped[0], escaped[1]


def _patches(faces: Ints) -> tuple[NDArray[np.integer[Any]], Ints]:
    """Label of the patch joined across edges of exactly two faces, and each face's parity within it.

    The doubled graph has a node per face and orientation; faces that agree link like to like. A patch that cannot be
    oriented (a Moebius strip) joins its two copies and gets parity 0 throughout.
    """
    start, end = faces, np.roll(faces, -1, axis=1)
    key = (np.minimum(start, end) * (faces.max() + 1) + np.maximum(start, end)).ravel()
    along = (start < end).ravel()
    order = np.argsort(key, kind="stable")
    _, first, count = np.unique(key[order], return_index=True, return_counts=True)
    one, two = order[first[count == 2]], order[first[count == 2] + 1]
    crossed = (along[one] == along[two]).astype(np.int64)
    a, b, size = one // 3, two // 3, len(faces)
    rows = np.concatenate([a, a + size])
    columns = np.concatenate([b + size * crossed, b + size * (1 - crossed)])
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(2 * size, 2 * size))
    label = connected_components(graph, directed=False)[1]
    upper, lower = label[:size], label[size:]
    patch = np.unique(np.minimum(upper, lower), return_inverse=True)[1]
    return patch, (upper > lower).astype(np.int64)


def _weld(vertices: Floats, faces: Ints) -> tuple[Floats, Ints]:
    unique, inverse = np.unique(vertices, axis=0, return_inverse=True)
    return unique, inverse.reshape(-1)[faces]


def _turned(vertices: Floats, faces: Ints) -> Ints:
    """The faces, all reversed if they enclose a negative volume."""
    corners = vertices[faces] - vertices.mean(0)
    volume = np.einsum("fx,fx->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    return np.ascontiguousarray(faces[:, ::-1]) if volume < 0 else faces


def _probes(vertices: Floats, faces: Ints, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(faces), _PROBES, p=area / area.sum())]
    points = np.einsum("fc,fcx->fx", rng.dirichlet((1, 1, 1), _PROBES), chosen)
    scale = _PROBE_DISTANCE * float(np.linalg.norm(np.ptp(vertices, axis=0)))
    moved: Floats = points + rng.normal(scale=scale, size=points.shape)
    return moved


def _agreement(
    pseudonormal: PseudonormalRule, winding: WindingRule, vertices: Floats, faces: Ints, probes: Floats
) -> float:
    _, face, _ = igl.point_mesh_squared_distance(probes, vertices, np.ascontiguousarray(faces))
    return float((pseudonormal(probes, face) == winding(probes, face)).mean())


def _normals_and_angles(corners: Floats) -> tuple[Floats, Floats]:
    """Unit normals (F, 3), zero for faces without area, and the angles at the corners (F, 3)."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    ahead, behind = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    sine = np.linalg.norm(np.cross(ahead, behind), axis=2)
    return normal, np.arctan2(sine, (ahead * behind).sum(2))


def _lattice_positions(index: NDArray[np.integer[Any]], resolution: int) -> Floats:
    i, j, k = np.unravel_index(index, (resolution + 1,) * 3)
    return np.stack([i, j, k], axis=1).astype(np.float64) * (2 / resolution) - 1


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


@njit(cache=True)
def _components(index: Any, distance: Any, resolution: int, block: int) -> Any:
    """Root of each vertex under `no surface between neighbours`, cut every `block` cells unless that is 0.

    The index is sorted, so the pointer to the next neighbour only advances.
    """
    parent = np.arange(len(index))
    size = resolution + 1
    step = 2.0 / resolution
    for axis in range(3):
        stride = size ** (2 - axis)
        other = 0
        for a in range(len(index)):
            along = index[a] // stride % size
            if along == resolution or (block > 0 and (along + 1) % block == 0):
                continue
            while other < len(index) and index[other] < index[a] + stride:
                other += 1
            if other == len(index):
                break
            if index[other] == index[a] + stride and distance[a] + distance[other] > step * (1 + 1e-5):
                x, y = a, other
                while parent[x] != x:
                    parent[x] = parent[parent[x]]
                    x = parent[x]
                while parent[y] != y:
                    parent[y] = parent[parent[y]]
                    y = parent[y]
                parent[max(x, y)] = min(x, y)
    for a in range(len(index)):
        parent[a] = parent[parent[a]]
    return parent
