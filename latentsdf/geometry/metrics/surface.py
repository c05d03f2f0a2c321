"""How far a reconstruction is from its reference, each figure with its definition (METHODS 0.2 and 0.3b).

With a(p) the distance of a reconstruction sample to the nearest reference point and b(q) the reverse:

| figure | definition | of |
|---|---|---|
| `cd_sq_sum` | mean a^2 + mean b^2 | DeepSDF, Compact-SDF, StEik and DiGS on ShapeNet |
| `cd_sq_half` | (mean a^2 + mean b^2) / 2 | IF-Net's CD-L2 |
| `cd_l1_sum` | mean a + mean b | medial axis |
| `cd_l1_half` | (mean a + mean b) / 2 | Occupancy Networks, HotSpot |
| `nearest_to_reference`, `nearest_to_reconstruction` | mean a, mean b | one-sided; mean b: DiGS' and StEik's scans |
| `hausdorff`, `hausdorff_95` | the larger of both maxima, of both 95th percentiles | |

`floor_` and a name is the same figure of a second sample set of the reference itself, which no reconstruction can be
below but by chance: in expectation 2 A / (pi n) for CD-sq-sum and sqrt(A / n) / 2 for CD-L1-half, with area A.
F-score(tau) = 2 P R / (P + R) with P the share of a < tau and R of b < tau, called `f_score_` and tau without its
point; normal consistency = mean of |n_p . n_nearest| over both directions.

Samples are area-weighted. Points of the reference are samples, or its vertices (Compact-SDF's Stanford table).
"""

from dataclasses import dataclass

import igl
import numpy as np
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.config.inversion import Reference
from latentsdf.utils.errors import ConfigError

F_SCORE_THRESHOLDS = (0.01, 0.02)


@dataclass(frozen=True)
class NearestDistances:
    """Distances from each of two sets of points to the nearest of the other, in the units of the points."""

    to_reference: float
    """Mean a."""
    to_reconstruction: float
    """Mean b."""
    to_reference_sq: float
    """Mean a^2."""
    to_reconstruction_sq: float
    """Mean b^2."""
    hausdorff: float
    hausdorff_95: float

    @property
    def cd_sq_sum(self) -> float:
        """Mean squared distances, both ways, added."""
        return self.to_reference_sq + self.to_reconstruction_sq

    @property
    def cd_sq_half(self) -> float:
        """Mean squared distances, both ways, averaged."""
        return self.cd_sq_sum / 2

    @property
    def cd_l1_sum(self) -> float:
        """Mean distances, both ways, added."""
        return self.to_reference + self.to_reconstruction

    @property
    def cd_l1_half(self) -> float:
        """Mean distances, both ways, averaged."""
        return self.cd_l1_sum / 2

    def as_dict(self) -> dict[str, float]:
        """The figures of the module's table, by name."""
        return {
            "cd_sq_sum": self.cd_sq_sum,
            "cd_sq_half": self.cd_sq_half,
            "cd_l1_sum": self.cd_l1_sum,
            "cd_l1_half": self.cd_l1_half,
            "nearest_to_reference": self.to_reference,
            "nearest_to_reconstruction": self.to_reconstruction,
            "hausdorff": self.hausdorff,
            "hausdorff_95": self.hausdorff_95,
        }


@dataclass(frozen=True)
class SurfaceComparison:
    """Figures of one reconstruction, in the units of the meshes given; point-to-triangle distances have no floor."""

    nearest: NearestDistances
    floor: NearestDistances
    """Those of a second sample set of the reference in place of the reconstruction's."""
    f_scores: dict[float, float]
    """By tau."""
    normal_consistency: float
    to_reference_mean: float
    """Mean distance of reconstruction samples to the reference triangles."""
    to_reconstruction_mean: float
    """Mean distance of reference points to the reconstruction's triangles."""
    triangle_max: float
    """Largest of those distances, either way."""

    @property
    def over_floor(self) -> float:
        """CD-sq-sum over its sampling floor; 1 is as good as the samples can tell."""
        return self.nearest.cd_sq_sum / self.floor.cd_sq_sum

    def as_dict(self) -> dict[str, float]:
        """Name -> value, of all figures of the module."""
        floors = {f"floor_{name}": value for name, value in self.floor.as_dict().items()}
        return {
            **self.nearest.as_dict(),
            **floors,
            **{f_score_name(tau): value for tau, value in self.f_scores.items()},
            "normal_consistency": self.normal_consistency,
            "to_reference_mean": self.to_reference_mean,
            "to_reconstruction_mean": self.to_reconstruction_mean,
            "triangle_max": self.triangle_max,
        }


@dataclass(frozen=True)
class SurfaceSamples:
    """Points (N, 3) on a surface with its unit normals (N, 3) there."""

    points: Float[NDArray[np.float64], "N 3"]
    normals: Float[NDArray[np.float64], "N 3"]


def sample_surface(mesh: trimesh.Trimesh, count: int, seed: int) -> SurfaceSamples:
    """Area-weighted samples, reproducible from the seed."""
    points, face = trimesh.sample.sample_surface(mesh, count, seed=seed)
    return SurfaceSamples(np.asarray(points, dtype=np.float64), np.asarray(mesh.face_normals)[face])


def require_valid_thresholds(taus: tuple[float, ...]) -> None:
    """ConfigError for a threshold that is not between 0 and 1."""
    wrong = [tau for tau in taus if not 0 < tau < 1]
    if wrong:
        raise ConfigError(f"thresholds of the F-score must be above 0 and below 1, got {wrong[0]:g}")


def f_score_name(tau: float) -> str:
    """`f_score_002` for 0.02."""
    return f"f_score_{np.format_float_positional(tau).replace('.', '')}"


def compare_surfaces(
    reconstruction: trimesh.Trimesh,
    reference: trimesh.Trimesh,
    n: int = 100_000,
    seed: int = 0,
    *,
    taus: tuple[float, ...] = F_SCORE_THRESHOLDS,
    against: Reference = "samples",
) -> SurfaceComparison:
    """All figures from n samples a side, or against the reference's vertices; both meshes in the same frame.

    Raises ConfigError for a tau that is not between 0 and 1.
    """
    require_valid_thresholds(taus)
    ours = sample_surface(reconstruction, n, seed)
    theirs = sample_surface(reference, n, seed + 1) if against == "samples" else _vertices(reference)
    again = sample_surface(reference, n, seed + 2)
    their_tree = cKDTree(theirs.points)
    a, nearest_theirs = their_tree.query(ours.points, workers=-1)
    b, nearest_ours = cKDTree(ours.points).query(theirs.points, workers=-1)
    floor_a = their_tree.query(again.points, workers=-1)[0]
    floor_b = cKDTree(again.points).query(theirs.points, workers=-1)[0]
    forward = _to_triangles(ours.points, reference)
    backward = _to_triangles(theirs.points, reconstruction)
    return SurfaceComparison(
        nearest=nearest_distances(a, b),
        floor=nearest_distances(floor_a, floor_b),
        f_scores={tau: f_score(a, b, tau) for tau in taus},
        normal_consistency=_normal_consistency(ours, theirs, nearest_theirs, nearest_ours),
        to_reference_mean=float(forward.mean()),
        to_reconstruction_mean=float(backward.mean()),
        triangle_max=float(max(forward.max(), backward.max())),
    )


def nearest_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NearestDistances:
    """The figures of distances a (N,) of reconstruction samples and b (M,) of reference points."""
    return NearestDistances(
        to_reference=float(a.mean()),
        to_reconstruction=float(b.mean()),
        to_reference_sq=float(np.square(a).mean()),
        to_reconstruction_sq=float(np.square(b).mean()),
        hausdorff=float(max(a.max(), b.max())),
        hausdorff_95=float(max(np.quantile(a, 0.95), np.quantile(b, 0.95))),
    )


def cd_l1_half(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Mean distances, both ways, averaged (Occupancy Networks, HotSpot)."""
    return nearest_distances(a, b).cd_l1_half


def f_score(a: NDArray[np.float64], b: NDArray[np.float64], tau: float) -> float:
    """Harmonic mean of the shares of a and b below tau, in [0, 1]."""
    precision, recall = float((a < tau).mean()), float((b < tau).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _vertices(mesh: trimesh.Trimesh) -> SurfaceSamples:
    used = np.unique(mesh.faces)
    return SurfaceSamples(np.asarray(mesh.vertices, dtype=np.float64)[used], np.asarray(mesh.vertex_normals)[used])


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
