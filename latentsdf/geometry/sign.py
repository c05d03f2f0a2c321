"""Which side of a surface is inside.

`auto` takes the angle-weighted pseudonormal where the mesh is closed, consistently oriented, and the winding number
agrees with it on probes; otherwise the visibility-oriented generalized winding number: faces are oriented by which of
their sides rays escape from, and a point is inside where the winding number exceeds 1/2. Faces that neither side
escapes from are internal and dropped. Thin-sheet rule: a face that both sides escape from equally keeps its own
orientation, so a single sheet has no inside and keeps its distance, unsigned.
"""

from dataclasses import dataclass

import igl
import numpy as np
import trimesh
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from latentsdf.config import SignMethod
from latentsdf.geometry.lattice import lattice_points, pseudonormal_signs, surface_free_groups

_PROBES = 1000
_AGREEMENT = 0.999
_RAYS = 32
_RAY_BUDGET = 4_000_000
_ESCAPE_MARGIN = 0.1
_GROUP_PROBES = 256
_HOLE_MARGIN = 0.2


@dataclass(frozen=True)
class SignReport:
    """The method used, and the share of near-surface probes on which pseudonormal and winding number agree."""

    method: str
    confidence: float


class SignRule:
    """Decides inside for points near one mesh in model space; see the module docstring.

    `orientation` (F,) is +1 where a face's own normal points outside and -1 where it points inside.
    """

    def __init__(self, mesh: trimesh.Trimesh, method: SignMethod = "auto", seed: int = 0) -> None:
        self._mesh = mesh
        closed = bool(mesh.is_watertight and mesh.is_winding_consistent)
        self.orientation = np.full(len(mesh.faces), -1.0 if closed and mesh.volume < 0 else 1.0)
        self._solid = _oriented(mesh, self.orientation)
        probes = _near_probes(mesh, seed)
        by_pseudonormal = self._by_pseudonormal(probes)
        confidence = float((by_pseudonormal == self._by_winding(probes)).mean())
        if method == "auto":
            method = "pseudonormal" if closed and confidence >= _AGREEMENT else "visibility"
        if method == "visibility":
            self.orientation, hidden = orient_by_visibility(mesh, seed)
            self._solid = _oriented(mesh, self.orientation, keep=~hidden)
            confidence = float((by_pseudonormal == self._by_winding(probes)).mean())
        self.method: SignMethod = method
        self.report = SignReport(method, confidence)

    def inside(
        self, points: Float[NDArray[np.float64], "N 3"], face: NDArray[np.int32]
    ) -> Bool[NDArray[np.bool_], " N"]:
        """True inside; `face` is each point's closest face."""
        if self.method == "pseudonormal":
            return pseudonormal_signs(self._mesh, points, face) != (self.orientation[0] < 0)
        return self._by_winding(points)

    def inside_lattice(
        self, index: NDArray[np.uint32], resolution: int, distance: NDArray[np.float32], face: NDArray[np.int32]
    ) -> Bool[NDArray[np.bool_], " N"]:
        """`inside` for lattice vertices given by sorted linear index, with their unsigned distances.

        Between two neighbours farther apart than the sum of their distances there is no surface, so the winding
        number is asked on a few members of each connected group, and everywhere only in groups where these members
        disagree or come near 1/2, as they do at holes.
        """
        if self.method == "pseudonormal":
            return self.inside(lattice_points(index, resolution).astype(np.float64), face)
        group = surface_free_groups(index, distance, resolution)
        order = np.argsort(group, kind="stable")
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        sizes = np.diff(starts, append=len(order))
        probes = np.concatenate(
            [
                start + np.unique(np.linspace(0, size - 1, _GROUP_PROBES).astype(np.int64))
                for start, size in zip(starts, sizes, strict=True)
                if size > _GROUP_PROBES
            ]
            or [np.empty(0, dtype=np.int64)]
        )
        winding = np.full(len(index), np.nan)
        winding[order[probes]] = self._winding(index[order[probes]], resolution)
        inside = np.zeros(len(index), dtype=bool)
        open_members = []
        for start, size in zip(starts, sizes, strict=True):
            members = order[start : start + size]
            known = winding[members]
            known = known[~np.isnan(known)]
            if len(known) and (known.min() > 0.5 + _HOLE_MARGIN or known.max() < 0.5 - _HOLE_MARGIN):
                inside[members] = known[0] > 0.5
            else:
                open_members.append(members)
        if open_members:
            rest = np.concatenate(open_members)
            inside[rest] = self._winding(index[rest], resolution) > 0.5
        return inside

    def _winding(self, index: NDArray[np.uint32], resolution: int) -> NDArray[np.float64]:
        points = lattice_points(index, resolution).astype(np.float64)
        return np.atleast_1d(igl.fast_winding_number(*self._solid, points)) if len(points) else np.empty(0)

    def _by_pseudonormal(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        _, face, _ = igl.point_mesh_squared_distance(points, *_oriented(self._mesh, np.ones(len(self._mesh.faces))))
        return pseudonormal_signs(self._mesh, points, face.astype(np.int32)) != (self.orientation[0] < 0)

    def _by_winding(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.atleast_1d(igl.fast_winding_number(*self._solid, points)) > 0.5


def orient_by_visibility(
    mesh: trimesh.Trimesh, seed: int = 0
) -> tuple[Float[NDArray[np.float64], " F"], Bool[NDArray[np.bool_], " F"]]:
    """+1 or -1 by the side of each face that more rays escape from, and whether neither side sees the outside."""
    front, back = escape_shares(mesh, seed)
    hidden = (front == 0) & (back == 0)
    # A body whose every face is hidden would vanish; keep it as it is.
    return np.where(back > front + _ESCAPE_MARGIN, -1.0, 1.0), hidden & ~hidden.all()


def escape_shares(
    mesh: trimesh.Trimesh, seed: int = 0
) -> tuple[Float[NDArray[np.float64], " F"], Float[NDArray[np.float64], " F"]]:
    """Share of random rays that leave each face's front, and back, without hitting the mesh again."""
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    rng = np.random.default_rng(seed)
    intersector = RayMeshIntersector(mesh, scale_to_box=False)
    normals = np.asarray(mesh.face_normals)
    rays = max(8, min(_RAYS, _RAY_BUDGET // (2 * len(normals))))
    shares = []
    for side in (1, -1):
        escaped = np.zeros(len(normals))
        for _ in range(rays):
            corner = rng.dirichlet((1, 1, 1), len(normals))
            direction = rng.normal(size=normals.shape)
            direction /= np.linalg.norm(direction, axis=1, keepdims=True)
            outward = side * normals
            direction *= np.sign((direction * outward).sum(1, keepdims=True))
            origin = (mesh.triangles * corner[..., None]).sum(1) + 1e-5 * outward
            escaped += ~intersector.intersects_any(origin, direction)
        shares.append(escaped / rays)
    return shares[0], shares[1]


def _near_probes(mesh: trimesh.Trimesh, seed: int) -> NDArray[np.float64]:
    surface = np.asarray(trimesh.sample.sample_surface(mesh, _PROBES, seed=seed)[0], dtype=np.float64)
    return surface + np.random.default_rng(seed).normal(size=surface.shape) * 0.02


def _oriented(
    mesh: trimesh.Trimesh, orientation: NDArray[np.float64], keep: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices and faces for libigl, with faces of orientation -1 turned over."""
    faces = np.array(mesh.faces, dtype=np.int64)
    faces[orientation < 0] = faces[orientation < 0][:, ::-1]
    faces = faces if keep is None else faces[keep]
    return np.ascontiguousarray(mesh.vertices, dtype=np.float64), np.ascontiguousarray(faces)
