"""Distances between a reconstructed surface and its reference.

Let a(p) be the distance of a reconstruction sample p to the nearest reference point, b(q) the distance of a reference
point q to the nearest reconstruction sample. Samples are uniform by area. Reference points are samples too, or the
vertices of the reference (as in the Stanford table of Compact-SDF).

| name | definition | used by |
|---|---|---|
| `cd_sq_sum` | mean a^2 + mean b^2 | DeepSDF, Compact-SDF, StEik and DiGS on ShapeNet |
| `cd_sq_half` | (mean a^2 + mean b^2) / 2 | IF-Net's CD-L2 |
| `cd_l1_sum` | mean a + mean b | Medial Axis Aware Learning of SDFs |
| `cd_l1_half` | (mean a + mean b) / 2 | Occupancy Networks, HotSpot |
| `nearest_to_reference` | mean a | |
| `nearest_to_reconstruction` | mean b | DiGS and StEik on scans |
| `hausdorff_to_reference` | max a | |
| `hausdorff_to_reconstruction` | max b | DiGS and StEik on scans |
| `hausdorff` | max(max a, max b) | |
| `hausdorff_95` | max(95th percentile of a, 95th percentile of b) | |
| `normal_consistency` | mean abs(n_p . n_nearest), averaged over both directions | Occupancy Networks, IF-Net |
| `to_reference_mean` | mean distance of reconstruction samples to the reference triangles | |
| `to_reconstruction_mean` | mean distance of reference points to the reconstruction triangles | |
| `triangle_mean` | (`to_reference_mean` + `to_reconstruction_mean`) / 2 | |
| `triangle_max` | largest of the distances to triangles, in both directions | |
| `precision_<tau>` | P: share of reconstruction samples closer than tau to the reference triangles | |
| `recall_<tau>` | R: share of reference points closer than tau to the reconstruction triangles | |
| `f_score_<tau>` | 2 P R / (P + R) | |
| `missing` | share of reference samples farther than 0.02 from the triangles of the reconstruction | |
| `pieces`, `reference_pieces` | number of separate pieces (`geometry.metrics.pieces`) | |
| `debris` | share of the reconstruction's area in pieces that the reference does not have | |

Point-to-point metrics have a sampling floor: two independent sample sets of the same surface already differ. The prefix
`floor_` marks the same metric of a second sample set of the reference. In expectation the floor is 2 A / (pi n) for
`cd_sq_sum` and sqrt(A / n) / 2 for `cd_l1_half`, with the area A and n samples. Distances to triangles have no floor.

All distances are in the units of the meshes.
"""

from dataclasses import dataclass
from typing import Literal

import igl
import numpy as np
import trimesh
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.geometry.metrics.pieces import debris_share, face_components, label_pieces
from latentsdf.utils.arrays import as_array, describe
from latentsdf.utils.errors import ConfigError

F_SCORE_THRESHOLDS = (0.005, 0.01)
"""Default distances tau of the F-score."""
MISSING_DISTANCE = 0.02
"""Distance from which a part of the reference counts as missing."""
Reference = Literal["samples", "vertices"]
"""Points of the reference mesh used in the comparison: surface samples, or its vertices."""


@dataclass(frozen=True)
class NearestDistances:
    """Statistics of the nearest distances a and b between two point sets, as defined in the module docstring."""

    to_reference: float
    """Mean of a."""
    to_reconstruction: float
    """Mean of b."""
    to_reference_sq: float
    """Mean of a^2."""
    to_reconstruction_sq: float
    """Mean of b^2."""
    hausdorff_to_reference: float
    """Largest a."""
    hausdorff_to_reconstruction: float
    """Largest b."""
    hausdorff_95: float
    """Larger of the 95th percentiles of a and b."""

    @property
    def hausdorff(self) -> float:
        """Largest a or b."""
        return max(self.hausdorff_to_reference, self.hausdorff_to_reconstruction)

    @property
    def cd_sq_sum(self) -> float:
        """Squared Chamfer distance, both directions added."""
        return self.to_reference_sq + self.to_reconstruction_sq

    @property
    def cd_sq_half(self) -> float:
        """Squared Chamfer distance, mean of both directions."""
        return self.cd_sq_sum / 2

    @property
    def cd_l1_sum(self) -> float:
        """Chamfer distance, both directions added."""
        return self.to_reference + self.to_reconstruction

    @property
    def cd_l1_half(self) -> float:
        """Chamfer distance, mean of both directions."""
        return self.cd_l1_sum / 2

    def as_dict(self) -> dict[str, float]:
        """Return the metrics by their names in the module docstring."""
        return {
            "cd_sq_sum": self.cd_sq_sum,
            "cd_sq_half": self.cd_sq_half,
            "cd_l1_sum": self.cd_l1_sum,
            "cd_l1_half": self.cd_l1_half,
            "nearest_to_reference": self.to_reference,
            "nearest_to_reconstruction": self.to_reconstruction,
            "hausdorff_to_reference": self.hausdorff_to_reference,
            "hausdorff_to_reconstruction": self.hausdorff_to_reconstruction,
            "hausdorff": self.hausdorff,
            "hausdorff_95": self.hausdorff_95,
        }


@dataclass(frozen=True)
class SurfaceComparison:
    """Metrics of one reconstruction, in the units of the meshes, as defined in the module docstring."""

    nearest: NearestDistances
    """Point-to-point distances."""
    floor: NearestDistances
    """Sampling floor of `nearest`."""
    precisions: dict[float, float]
    """Precision in [0, 1] by threshold tau."""
    recalls: dict[float, float]
    """Recall in [0, 1] by threshold tau."""
    normal_consistency: float
    """Agreement of normals at nearest points, in [0, 1]."""
    to_reference_mean: float
    """Mean distance of reconstruction samples to the reference triangles."""
    to_reconstruction_mean: float
    """Mean distance of reference points to the reconstruction triangles."""
    triangle_max: float
    """Largest distance to triangles, in both directions."""
    missing: float
    """Share of the reference farther than `MISSING_DISTANCE` from the reconstruction, in [0, 1]."""
    pieces: int
    """Number of separate pieces of the reconstruction."""
    reference_pieces: int
    """Number of separate pieces of the reference."""
    debris: float
    """Share of the reconstruction's area in pieces that the reference does not have, in [0, 1]."""

    @property
    def f_scores(self) -> dict[float, float]:
        """F-score in [0, 1] by threshold tau."""
        return {tau: harmonic_mean(precision, self.recalls[tau]) for tau, precision in self.precisions.items()}

    @property
    def triangle_mean(self) -> float:
        """Mean distance to triangles over both directions."""
        return (self.to_reference_mean + self.to_reconstruction_mean) / 2

    @property
    def over_floor(self) -> float:
        """Ratio of `cd_sq_sum` to its sampling floor; 1 is indistinguishable from the reference."""
        return self.nearest.cd_sq_sum / self.floor.cd_sq_sum

    def as_dict(self) -> dict[str, float]:
        """Return all metrics by their names in the module docstring."""
        floors = {f"floor_{name}": value for name, value in self.floor.as_dict().items()}
        return {
            "triangle_mean": self.triangle_mean,
            **{f_score_name(tau): value for tau, value in self.f_scores.items()},
            **{f"precision_{_decimal(tau)}": value for tau, value in self.precisions.items()},
            **{f"recall_{_decimal(tau)}": value for tau, value in self.recalls.items()},
            "missing": self.missing,
            "debris": self.debris,
            "pieces": self.pieces,
            "reference_pieces": self.reference_pieces,
            "normal_consistency": self.normal_consistency,
            **self.nearest.as_dict(),
            **floors,
            "to_reference_mean": self.to_reference_mean,
            "to_reconstruction_mean": self.to_reconstruction_mean,
            "triangle_max": self.triangle_max,
        }


@dataclass(frozen=True)
class SurfaceSamples:
    """Points on a surface with unit normals."""

    points: Float[NDArray[np.float64], "N 3"]
    """Points (N, 3)."""
    normals: Float[NDArray[np.float64], "N 3"]
    """Unit normals (N, 3)."""
    components: Int[NDArray[np.int32], " N"]
    """Connected component of the surface (N,)."""


def sample_surface(mesh: trimesh.Trimesh, count: int, seed: int) -> SurfaceSamples:
    """Sample a surface uniformly by area.

    Args:
        mesh: Triangle mesh.
        count: Number of samples.
        seed: Seed of the random generator; equal seeds give equal samples.

    Returns:
        Samples with the normals of their faces.
    """
    points, face = trimesh.sample.sample_surface(mesh, count, seed=seed)
    components = face_components(np.asarray(mesh.faces), len(mesh.vertices))
    return SurfaceSamples(np.asarray(points, dtype=np.float64), np.asarray(mesh.face_normals)[face], components[face])


def require_valid_thresholds(taus: tuple[float, ...]) -> None:
    """Raise an error for a threshold of the F-score that is not between 0 and 1.

    Args:
        taus: Distances.

    Raises:
        ConfigError: A threshold is not above 0 and below 1, or is NaN.
    """
    array = as_array(taus, "taus", expected="thresholds of the F-score (K,)")
    if array.ndim != 1:
        raise ConfigError(f"taus: expected thresholds of the F-score (K,), got {describe(taus)}")
    invalid = [tau for tau in array.tolist() if not 0 < tau < 1]
    if invalid:
        raise ConfigError(f"thresholds of the F-score must be above 0 and below 1, got {invalid[0]:g}")


def f_score_name(tau: float) -> str:
    """Return the name of an F-score in reports: `f_score_0.02` for the threshold 0.02."""
    return f"f_score_{_decimal(tau)}"


def _decimal(tau: float) -> str:
    return np.format_float_positional(tau)


def compare_surfaces(
    reconstruction: trimesh.Trimesh,
    reference: trimesh.Trimesh,
    count: int = 100_000,
    seed: int = 0,
    *,
    taus: tuple[float, ...] = F_SCORE_THRESHOLDS,
    against: Reference = "samples",
) -> SurfaceComparison:
    """Compare a reconstruction with its reference.

    Args:
        reconstruction: Reconstructed mesh.
        reference: Reference mesh in the same frame and units.
        count: Number of samples of each surface.
        seed: Seed of the samples.
        taus: Thresholds of the F-score, in (0, 1).
        against: Reference points: `samples` of the surface, or its `vertices`.

    Returns:
        All metrics in the module docstring.

    Raises:
        ConfigError: A threshold is not between 0 and 1.
    """
    require_valid_thresholds(taus)
    samples = sample_surface(reconstruction, count, seed)
    targets = sample_surface(reference, count, seed + 1) if against == "samples" else used_vertices(reference)
    floor_samples = sample_surface(reference, count, seed + 2)
    target_tree = cKDTree(targets.points)
    a, nearest_target = target_tree.query(samples.points, workers=-1)
    b, nearest_sample = cKDTree(samples.points).query(targets.points, workers=-1)
    floor_a = target_tree.query(floor_samples.points, workers=-1)[0]
    floor_b = cKDTree(floor_samples.points).query(targets.points, workers=-1)[0]
    to_reference = triangle_distance(samples.points, reference)
    to_reconstruction = triangle_distance(targets.points, reconstruction)
    forward = _mean_normal_agreement(samples.normals, targets.normals[nearest_target])
    backward = _mean_normal_agreement(targets.normals, samples.normals[nearest_sample])
    pieces = label_pieces(samples.points, samples.components)
    on_surface = floor_samples if against == "vertices" else targets  # vertices can be farther apart than PIECE_GAP
    reference_pieces = label_pieces(on_surface.points, on_surface.components)
    if against == "vertices":
        nearest_sample = cKDTree(samples.points).query(on_surface.points, workers=-1)[1]
    return SurfaceComparison(
        nearest=nearest_distances(a, b),
        floor=nearest_distances(floor_a, floor_b),
        precisions={tau: share_within(to_reference, tau) for tau in taus},
        recalls={tau: share_within(to_reconstruction, tau) for tau in taus},
        normal_consistency=float((forward + backward) / 2),
        to_reference_mean=float(to_reference.mean()),
        to_reconstruction_mean=float(to_reconstruction.mean()),
        triangle_max=float(max(to_reference.max(), to_reconstruction.max())),
        missing=float((to_reconstruction > MISSING_DISTANCE).mean()),
        pieces=int(pieces.max()) + 1,
        reference_pieces=int(reference_pieces.max()) + 1,
        debris=debris_share(pieces, nearest_sample, reference_pieces),
    )


def nearest_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NearestDistances:
    """Summarize the nearest distances between two point sets.

    Args:
        a: Distance (N,) of each reconstruction sample to the nearest reference point.
        b: Distance (M,) of each reference point to the nearest reconstruction sample.

    Returns:
        Means, mean squares and maxima.
    """
    return NearestDistances(
        to_reference=float(a.mean()),
        to_reconstruction=float(b.mean()),
        to_reference_sq=float(np.square(a).mean()),
        to_reconstruction_sq=float(np.square(b).mean()),
        hausdorff_to_reference=float(a.max()),
        hausdorff_to_reconstruction=float(b.max()),
        hausdorff_95=float(max(np.quantile(a, 0.95), np.quantile(b, 0.95))),
    )


def cd_l1_half(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the Chamfer distance (mean a + mean b) / 2 for distances a (N,) and b (M,)."""
    return nearest_distances(a, b).cd_l1_half


def f_score(a: NDArray[np.float64], b: NDArray[np.float64], tau: float) -> float:
    """Return the harmonic mean, in [0, 1], of the shares of distances a (N,) and b (M,) below tau."""
    return harmonic_mean(share_within(a, tau), share_within(b, tau))


def share_within(distance: NDArray[np.float64], tau: float) -> float:
    """Return the share, in [0, 1], of distances (N,) below tau."""
    return float((distance < tau).mean())


def harmonic_mean(precision: float, recall: float) -> float:
    """Return 2 P R / (P + R), or 0 if both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def triangle_distance(points: NDArray[np.float64], mesh: trimesh.Trimesh) -> NDArray[np.float64]:
    """Return the distance (N,) of points (N, 3) to the nearest triangle of a mesh."""
    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64)
    squared = igl.point_mesh_squared_distance(points, vertices, np.ascontiguousarray(mesh.faces, dtype=np.int64))[0]
    return np.sqrt(squared)


def used_vertices(mesh: trimesh.Trimesh) -> SurfaceSamples:
    """Return the vertices of the faces of a mesh as samples, with vertex normals."""
    used = np.unique(mesh.faces)
    components = np.zeros(len(mesh.vertices), dtype=np.int32)
    components[mesh.faces] = face_components(np.asarray(mesh.faces), len(mesh.vertices))[:, None]
    points, normals = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.vertex_normals)
    return SurfaceSamples(points[used], normals[used], components[used])


def _mean_normal_agreement(normals: NDArray[np.float64], nearest_normals: NDArray[np.float64]) -> np.float64:
    return np.abs((normals * nearest_normals).sum(1)).mean()
