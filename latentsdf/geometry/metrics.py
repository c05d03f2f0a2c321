"""How far a reconstruction is from its reference, each figure with its definition (METHODS 0.2 and 0.3b).

With a(p) the distance of a reconstruction sample to the nearest reference sample and b(q) the reverse:
CD-sq-sum = mean a^2 + mean b^2; CD-L1-half = (mean a + mean b) / 2; Hausdorff = max of both maxima;
F-score(tau) = 2 P R / (P + R) with P the share of a < tau and R of b < tau; normal consistency = mean of
|n_p . n_nearest| over both directions. Samples are area-weighted. The sampling floor is the same Chamfer distance
between two sample sets of the reference itself, in expectation 2 A / (pi n) for CD-sq-sum.
"""

from dataclasses import asdict, dataclass

import igl
import numpy as np
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Comparison:
    """Figures of one reconstruction, in the units of the meshes given; point-to-triangle distances have no floor."""

    cd_sq_sum: float
    floor_cd_sq_sum: float
    cd_l1_half: float
    floor_cd_l1_half: float
    hausdorff: float
    f_score_001: float
    f_score_002: float
    normal_consistency: float
    to_reference_mean: float
    """Mean distance of reconstruction samples to the reference triangles."""
    to_reconstruction_mean: float
    """Mean distance of reference samples to the reconstruction's triangles."""
    triangle_max: float
    """Largest of those distances, either way."""

    @property
    def over_floor(self) -> float:
        """CD-sq-sum over its sampling floor; 1 is as good as the samples can tell."""
        return self.cd_sq_sum / self.floor_cd_sq_sum

    def as_dict(self) -> dict[str, float]:
        """Name -> value."""
        return asdict(self)


@dataclass(frozen=True)
class SurfaceSamples:
    """Area-weighted `points` (N, 3) on a surface with unit face `normals` (N, 3)."""

    points: Float[NDArray[np.float64], "N 3"]
    normals: Float[NDArray[np.float64], "N 3"]


def sample_surface(mesh: trimesh.Trimesh, count: int, seed: int) -> SurfaceSamples:
    """Area-weighted samples, reproducible from the seed."""
    points, face = trimesh.sample.sample_surface(mesh, count, seed=seed)
    return SurfaceSamples(np.asarray(points, dtype=np.float64), np.asarray(mesh.face_normals)[face])


def compare(reconstruction: trimesh.Trimesh, reference: trimesh.Trimesh, n: int = 100_000, seed: int = 0) -> Comparison:
    """All figures from n samples a side; both meshes in the same frame."""
    ours = sample_surface(reconstruction, n, seed)
    theirs = sample_surface(reference, n, seed + 1)
    again = sample_surface(reference, n, seed + 2)
    their_tree = cKDTree(theirs.points)
    a, nearest_theirs = their_tree.query(ours.points, workers=-1)
    b, nearest_ours = cKDTree(ours.points).query(theirs.points, workers=-1)
    floor_a = their_tree.query(again.points, workers=-1)[0]
    floor_b = cKDTree(again.points).query(theirs.points, workers=-1)[0]
    forward = _to_triangles(ours.points, reference)
    backward = _to_triangles(theirs.points, reconstruction)
    return Comparison(
        cd_sq_sum=cd_sq_sum(a, b),
        floor_cd_sq_sum=cd_sq_sum(floor_a, floor_b),
        cd_l1_half=cd_l1_half(a, b),
        floor_cd_l1_half=cd_l1_half(floor_a, floor_b),
        hausdorff=float(max(a.max(), b.max())),
        f_score_001=f_score(a, b, 0.01),
        f_score_002=f_score(a, b, 0.02),
        normal_consistency=_normal_consistency(ours, theirs, nearest_theirs, nearest_ours),
        to_reference_mean=float(forward.mean()),
        to_reconstruction_mean=float(backward.mean()),
        triangle_max=float(max(forward.max(), backward.max())),
    )


def cd_sq_sum(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Mean squared distances, both ways, added (DeepSDF, Compact-SDF)."""
    return float(np.square(a).mean() + np.square(b).mean())


def cd_l1_half(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Mean distances, both ways, averaged (Occupancy Networks, HotSpot)."""
    return float((a.mean() + b.mean()) / 2)


def f_score(a: NDArray[np.float64], b: NDArray[np.float64], tau: float) -> float:
    """Harmonic mean of the shares of a and b below tau, in [0, 1]."""
    precision, recall = float((a < tau).mean()), float((b < tau).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _normal_consistency(
    ours: SurfaceSamples, theirs: SurfaceSamples, nearest_theirs: NDArray[np.int64], nearest_ours: NDArray[np.int64]
) -> float:
    forward = np.abs((ours.normals * theirs.normals[nearest_theirs]).sum(1)).mean()
    backward = np.abs((theirs.normals * ours.normals[nearest_ours]).sum(1)).mean()
    return float((forward + backward) / 2)


def _to_triangles(points: NDArray[np.float64], mesh: trimesh.Trimesh) -> NDArray[np.float64]:
    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64)
    squared = igl.point_mesh_squared_distance(points, vertices, np.ascontiguousarray(mesh.faces, dtype=np.int64))[0]
    return np.sqrt(squared)
