"""Published evaluation protocols: what each of them measures on one shape, with the sampling floor.

a(p) is the distance of a sample p of the reconstruction to the nearest reference point, b(q) that of a reference point
q to the nearest sample, u the predicted and d the exact signed distance. n is the number of samples of each surface.

| protocol | frame | n | surface | field |
|---|---|---|---|---|
| `deepsdf` | own units | 30,000 | `cd_sq_sum` | |
| `compact_sdf` | model space | 100,000 | `cd_sq_sum`, `precision`, `recall`, `f_score` at 0.01 | |
| `srb` | own units | 1,000,000 | `cd_l1_half`, `hausdorff`, `scan_mean`, `scan_max` | |
| `hotspot` | unit cube | 30,000 | `cd_l1_half`, `hausdorff` | `iou`; `rmse`, `mae`, `smape`, also near; `steps` |
| `steik` | unit cube | 30,000 | `cd_sq_sum` | `iou` |
| `medial_axis` | model space | 100,000 | `cd_l1_sum`, `hausdorff` | `normal_error`; `rmse`, `eikonal`, also near |

- `deepsdf`: Park et al. 2019, `deep_sdf/metrics/chamfer.py`: mean a^2 + mean b^2.
- `compact_sdf`: Bai et al. 2026, `evaluate.py`: the same against the vertices of the reference. Precision (share of a
  below 0.01), recall (share of b) and F-score are in the paper only, which does not state the threshold; 0.01
  reproduces the printed values for a perfect surface.
- `srb`: Surface Reconstruction Benchmark, as DiGS (Ben-Shabat et al. 2022), StEik and HotSpot measure it: (mean a +
  mean b) / 2 and the larger of max a and max b against the points of the ground truth, and mean b and max b of the
  input scan.
- `hotspot`: Wang et al. 2025, `compute_metrics_shapenet.py`: (mean a + mean b) / 2 and the larger of max a and max b,
  against the points from which the shape was reconstructed, if they are given. The unit cube is the frame of Occupancy
  Networks, in which the longest side of the bounding box is 1; IoU of u < 0 at 100,000 uniform points of
  [-0.55, 0.55]^3. RMSE, MAE and SMAPE = 2 mean(|u - d| / (|u| + |d|)) at 100,000 uniform points of [-1, 1]^3, with the
  mean of the reference points at the origin and their largest coordinate 1; near: where |d| <= 0.1. Sphere tracing
  steps: `rendering.step_counts`. For planar fields: the same on the lattice of exact distances.
- `steik`: Yang et al. 2023, `compute_metrics_shapenet.py`, as in DiGS: mean a^2 + mean b^2, against the same points as
  `hotspot`; IoU as `hotspot`.
- `medial_axis`: "Medial Axis Aware Learning of Signed Distance Functions" (2026, arXiv 2604.16512): mean a + mean b,
  the larger of max a and max b, the normal error at the centers of the reference triangles, and the RMSE of u and the
  mean of abs(norm(grad u) - 1) at 50,000 uniform points of [-1.2, 1.2]^3 and at 10,000 points with |d| <= 0.1.

Sampling floor: the same metric of a perfect reconstruction, a second sample set of the reference. A reference that
consists of points has no surface to sample; its floor is the metric between two sample sets of the reconstruction, as
many as its samples and the points.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.config.sampling import SamplingConfig
from latentsdf.extraction.field import SignedDistance, distance_and_gradient
from latentsdf.geometry.mesh_sdf.sampling import solid_from_config
from latentsdf.geometry.metrics.field import NEAR_DISTANCE, compare_fields, normal_error
from latentsdf.geometry.metrics.surface import (
    NearestDistances,
    harmonic_mean,
    nearest_distances,
    share_within,
    triangle_distance,
    used_vertices,
)
from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.rendering.step_counts import count_steps
from latentsdf.utils.errors import MeshError

ProtocolName = Literal["compact_sdf", "deepsdf", "srb", "hotspot", "steik", "medial_axis"]
Floats = NDArray[np.float64]
Points = Float[Floats, "N 3"]
Surface: TypeAlias = trimesh.Trimesh | Floats
"""A mesh, or points (N, 3)."""
Figures = dict[str, float]
"""Values by name of the metric."""

COMPACT_SDF_THRESHOLD = 0.01
_OCCUPANCY_POINTS, _OCCUPANCY_BOX = 100_000, 0.55
_DISTANCE_POINTS = 100_000
_MEDIAL_POINTS, _MEDIAL_NEAR_POINTS, _MEDIAL_BOX = 50_000, 10_000, 1.2
_MAX_REJECTIONS = 200  # draws of `_MEDIAL_POINTS` points, among which the near ones are searched
_MAX_EMPTY = 10  # of these draws, after which a reference is given up of which none has a near point
_AREA_SAMPLES = 100_000  # from which the mean of the reference surface is computed


@dataclass(frozen=True)
class Protocol:
    """A published protocol."""

    source: str
    """Paper and file that define it."""
    samples: int
    """Number of samples of each surface."""
    resolution: int
    """Cells per axis of marching cubes."""
    frame: str
    """Frame in which distances are measured."""
    measure: Callable[["Subject"], tuple[Figures, Figures]]
    """Returns the metrics and their sampling floors."""
    definitions: dict[str, str]
    """Definition of each metric, in which {n} is the number of samples and {reference} the points of the reference."""
    uses_vertices: bool = False
    """A reference mesh is represented by its vertices, not by samples."""
    uses_scan: bool = False
    """Samples are compared with the points from which the shape was reconstructed, if they are given."""


@dataclass(frozen=True)
class Subject:
    """A reconstruction and its reference, in the user's frame."""

    mesh: trimesh.Trimesh
    """Surface of the reconstruction."""
    field: SignedDistance
    """Signed distance of the reconstruction, from points of its model space."""
    similarity: Similarity
    """Transform from the user's frame to the model space of `field`."""
    reference: Surface
    """Mesh or points of the true surface."""
    scan: Floats | None
    """Points from which the shape was reconstructed, if they are not the reference."""
    samples: int
    """Number of samples of each surface."""
    seed: int
    """Seed of all samples."""
    rays: int
    """Pixels per side of the images whose steps are counted; 0 for none."""
    device: torch.device | str = "cpu"
    """Device of the field."""

    @cached_property
    def solid(self) -> Callable[[Points], Floats] | None:
        """Exact signed distance in model space; None for a reference of points."""
        if not isinstance(self.reference, trimesh.Trimesh):
            return None
        model_mesh = moved(self.reference, self.similarity)
        assert isinstance(model_mesh, trimesh.Trimesh)
        return solid_from_config(model_mesh, SamplingConfig())

    def exact(self, points: Points, frame: Similarity) -> Floats:
        """Exact signed distances (N,) at points (N, 3) of a frame, in its units; the reference must be a mesh."""
        assert self.solid is not None
        return np.asarray(self.solid(self._to_model(points, frame)) * (frame.scale / self.similarity.scale))

    def predicted(self, points: Points, frame: Similarity) -> tuple[Floats, Floats]:
        """Predicted distances (N,) and their gradients (N, 3), at points (N, 3) of a frame and in its units."""
        distance, gradient = distance_and_gradient(self.field, self._to_model(points, frame), self.device)
        if self.similarity.yaw or frame.yaw:
            gradient = gradient @ self.similarity.rotation() @ frame.rotation().T
        return distance * (frame.scale / self.similarity.scale), gradient

    def predicted_values(self, points: Points, frame: Similarity) -> Floats:
        """Predicted distances (N,) as for `predicted`, without gradients."""
        model_points = torch.from_numpy(self._to_model(points, frame).astype(np.float32)).to(self.device)
        with torch.no_grad():
            distance = self.field(model_points).double().numpy(force=True)
        return np.asarray(distance * (frame.scale / self.similarity.scale))

    def traced(self, frame: Similarity) -> SignedDistance:
        """Return the field as a function of tensors of a frame, in its units."""
        factor = frame.scale / self.similarity.scale

        def distance(points: torch.Tensor) -> torch.Tensor:
            model_points = self._to_model(points.double().numpy(force=True), frame)
            return factor * self.field(torch.from_numpy(model_points).to(points))

        return distance

    def _to_model(self, points: Points, frame: Similarity) -> Points:
        return self.similarity.to_model(frame.to_user(points))


def measure_deepsdf(subject: Subject) -> tuple[Figures, Figures]:
    """Measure one shape as DeepSDF does."""
    nearest, floor = _compare(subject, IDENTITY)
    return {"cd_sq_sum": nearest.cd_sq_sum}, {"cd_sq_sum": floor.cd_sq_sum}


def measure_compact_sdf(subject: Subject) -> tuple[Figures, Figures]:
    """Measure one shape as Compact-SDF does."""
    frame, reference = subject.similarity, subject.reference
    vertices = used_vertices(reference).points if isinstance(reference, trimesh.Trimesh) else reference
    found = []
    for a, b in _distances(subject, frame, vertices):
        precision, recall = share_within(a, COMPACT_SDF_THRESHOLD), share_within(b, COMPACT_SDF_THRESHOLD)
        figures = {"cd_sq_sum": nearest_distances(a, b).cd_sq_sum, "precision": precision, "recall": recall}
        found.append(figures | {"f_score": harmonic_mean(precision, recall)})
    values, floors = found
    return values, floors


def measure_srb(subject: Subject) -> tuple[Figures, Figures]:
    """Measure one shape as on the Surface Reconstruction Benchmark."""
    frame = IDENTITY
    nearest, floor = _compare(subject, frame)
    values = {"cd_l1_half": nearest.cd_l1_half, "hausdorff": nearest.hausdorff}
    floors = {"cd_l1_half": floor.cd_l1_half, "hausdorff": floor.hausdorff}
    if subject.scan is not None:
        for figures, (_, b) in zip((values, floors), _distances(subject, frame, subject.scan), strict=True):
            figures |= {"scan_mean": float(b.mean()), "scan_max": float(b.max())}
    return values, floors


def measure_hotspot(subject: Subject) -> tuple[Figures, Figures]:
    """Measure one shape as HotSpot does on ShapeNet."""
    cube = unit_cube(subject.reference)
    nearest, floor = _compare(subject, cube, subject.scan)
    values = {"cd_l1_half": nearest.cd_l1_half, "hausdorff": nearest.hausdorff}
    floors = {"cd_l1_half": floor.cd_l1_half, "hausdorff": floor.hausdorff}
    mean = _surface_mean(subject)
    if subject.solid is not None:
        values["iou"] = _occupancy_iou(subject, cube)
        points = _vertices(subject.reference)
        frame = Similarity(tuple(mean.tolist()), float(1 / np.abs(points - mean).max()))
        queried = np.random.default_rng(subject.seed).uniform(-1, 1, (_DISTANCE_POINTS, 3))
        errors = compare_fields(subject.predicted_values(queried, frame), subject.exact(queried, frame)).as_dict()
        values |= {name: errors[name] for name in _HOTSPOT_ERRORS}
    if subject.rays > 0:
        counts = count_steps(
            subject.traced(Similarity(tuple(mean.tolist()), cube.scale)), size=subject.rays, device=subject.device
        )
        values |= {"steps": counts.mean, "steps_variance": counts.variance, "steps_unfinished": counts.unfinished}
    return values, floors


def measure_steik(subject: Subject) -> tuple[Figures, Figures]:
    """Measure one shape as StEik and DiGS do on ShapeNet."""
    cube = unit_cube(subject.reference)
    nearest, floor = _compare(subject, cube, subject.scan)
    values = {"cd_sq_sum": nearest.cd_sq_sum}
    if subject.solid is not None:
        values["iou"] = _occupancy_iou(subject, cube)
    return values, {"cd_sq_sum": floor.cd_sq_sum}


def measure_medial_axis(subject: Subject) -> tuple[Figures, Figures]:
    """Measure one shape as the paper on medial axis aware learning does."""
    frame, rng = subject.similarity, np.random.default_rng(subject.seed)
    nearest, floor = _compare(subject, frame)
    values = {"cd_l1_sum": nearest.cd_l1_sum, "hausdorff": nearest.hausdorff}
    floors = {"cd_l1_sum": floor.cd_l1_sum, "hausdorff": floor.hausdorff}
    everywhere = rng.uniform(-_MEDIAL_BOX, _MEDIAL_BOX, (_MEDIAL_POINTS, 3))
    distance, gradient = subject.predicted(everywhere, frame)
    values["eikonal"] = _eikonal(gradient)
    if isinstance(subject.reference, trimesh.Trimesh):
        reference = moved(subject.reference, frame)
        assert isinstance(reference, trimesh.Trimesh)
        at_centers = subject.predicted(np.asarray(reference.triangles_center), frame)[1]
        near = _near_points(subject, frame, reference, rng)
        near_distance, near_gradient = subject.predicted(near, frame)
        values |= {
            "normal_error": normal_error(at_centers, np.asarray(reference.face_normals)),
            "rmse": _rmse(distance, subject.exact(everywhere, frame)),
            "near_rmse": _rmse(near_distance, subject.exact(near, frame)),
            "near_eikonal": _eikonal(near_gradient),
        }
    return values, floors


_HOTSPOT_ERRORS = ("rmse", "mae", "smape", "near_rmse", "near_mae", "near_smape")
_L1_HALF = "(mean a + mean b) / 2, {n} samples against {reference}"
_SQ_SUM = "mean a^2 + mean b^2, {n} samples against {reference}"
_HAUSDORFF = "the larger of max a and max b, same samples"
_OCCUPANCY_IOU = "of u < 0 and d < 0 at 100,000 uniform points of [-0.55, 0.55]^3"
_OWN_UNITS = "own frame and units of the reference"
_MODEL_SPACE = "model space [-1, 1]^3 of the reconstruction (the publication does not normalize)"
_UNIT_CUBE = "longest side of the bounding box 1 (Occupancy Networks)"
_CENTERED = "uniform points of [-1, 1]^3, mean of the points at the origin, largest coordinate 1"

PROTOCOLS: dict[ProtocolName, Protocol] = {
    "compact_sdf": Protocol(
        "Compact-SDF (Bai et al. 2026), evaluate.py",
        100_000,
        512,
        _MODEL_SPACE,
        measure_compact_sdf,
        {
            "cd_sq_sum": _SQ_SUM,
            "precision": "share of a below 0.01; the paper does not state the threshold",
            "recall": "share of b below 0.01",
            "f_score": "2 P R / (P + R)",
        },
        uses_vertices=True,
    ),
    "deepsdf": Protocol(
        "DeepSDF (Park et al. 2019), deep_sdf/metrics/chamfer.py",
        30_000,
        256,
        _OWN_UNITS,
        measure_deepsdf,
        {"cd_sq_sum": _SQ_SUM},
    ),
    "srb": Protocol(
        "Surface Reconstruction Benchmark as in DiGS (2022), StEik and HotSpot, compute_metrics_srb.py",
        1_000_000,
        512,
        _OWN_UNITS,
        measure_srb,
        {
            "cd_l1_half": _L1_HALF,
            "hausdorff": _HAUSDORFF,
            "scan_mean": "mean b over the points of the scan",
            "scan_max": "max b over the points of the scan",
        },
    ),
    "hotspot": Protocol(
        "HotSpot (Wang et al. 2025), compute_metrics_shapenet.py and spheretracer",
        30_000,
        256,
        _UNIT_CUBE,
        measure_hotspot,
        {
            "cd_l1_half": _L1_HALF,
            "hausdorff": _HAUSDORFF,
            "iou": _OCCUPANCY_IOU,
            "rmse": f"sqrt(mean (u - d)^2) at 100,000 {_CENTERED}",
            "mae": "mean |u - d|, same points",
            "smape": "2 mean(|u - d| / (|u| + |d|)), same points",
            "near_rmse": "as rmse where |d| <= 0.1",
            "near_mae": "as mae where |d| <= 0.1",
            "near_smape": "as smape where |d| <= 0.1",
            "steps": "mean sphere tracing steps of the rays of ten images, threshold 5e-5, at most 30 steps",
            "steps_variance": "variance of these steps",
            "steps_unfinished": "share of rays that are not finished after 30 steps",
        },
        uses_scan=True,
    ),
    "steik": Protocol(
        "StEik (Yang et al. 2023) and DiGS, compute_metrics_shapenet.py",
        30_000,
        512,
        _UNIT_CUBE,
        measure_steik,
        {"cd_sq_sum": _SQ_SUM, "iou": _OCCUPANCY_IOU},
        uses_scan=True,
    ),
    "medial_axis": Protocol(
        "Medial Axis Aware Learning of Signed Distance Functions (2026)",
        100_000,
        512,
        _MODEL_SPACE,
        measure_medial_axis,
        {
            "cd_l1_sum": "d_C: mean a + mean b, {n} samples against {reference}",
            "hausdorff": "d_H: the larger of max a and max b, same samples",
            "normal_error": "E_n: 1 - mean n . grad u / |grad u| at the centers of the reference triangles",
            "rmse": "E_SDF: sqrt(mean (u - d)^2) at 50,000 uniform points of [-1.2, 1.2]^3",
            "near_rmse": "E_SDF at 10,000 uniform points with |d| <= 0.1",
            "eikonal": "E_eik: mean | |grad u| - 1 | at the 50,000 points",
            "near_eikonal": "E_eik at the 10,000 points",
        },
    ),
}
"""Protocols by name."""
assert tuple(PROTOCOLS) == get_args(ProtocolName)


def unit_cube(reference: Surface) -> Similarity:
    """Return the transform to the frame of Occupancy Networks: center of the bounding box, longest side 1."""
    points = _vertices(reference)
    low, high = points.min(0), points.max(0)
    return Similarity(tuple(((low + high) / 2).tolist()), float(1 / (high - low).max()))


def moved(surface: Surface, frame: Similarity) -> Surface:
    """Return a surface in another frame."""
    if isinstance(surface, trimesh.Trimesh):
        return trimesh.Trimesh(frame.to_model(surface.vertices), surface.faces, process=False)
    return frame.to_model(surface)


def _vertices(surface: Surface) -> Points:
    return used_vertices(surface).points if isinstance(surface, trimesh.Trimesh) else surface


def _compare(
    subject: Subject, frame: Similarity, points: Floats | None = None
) -> tuple[NearestDistances, NearestDistances]:
    """Distances to given points, or else to samples or points of the reference, and their floor."""
    if points is None and not isinstance(subject.reference, trimesh.Trimesh):
        points = subject.reference
    values, floors = _distances(subject, frame, points)
    return nearest_distances(*values), nearest_distances(*floors)


def _distances(
    subject: Subject, frame: Similarity, points: Floats | None
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Distances a and b between samples of the reconstruction and given points (None: samples) of the reference.

    Returns:
        a and b, and those of a perfect reconstruction.
    """
    count, seed, reference = subject.samples, subject.seed, subject.reference
    samples = _sample(subject.mesh, frame, count, seed)
    if isinstance(reference, trimesh.Trimesh):
        targets = _sample(reference, frame, count, seed + 1) if points is None else frame.to_model(points)
        perfect, perfect_targets = _sample(reference, frame, count, seed + 2), targets
    else:
        assert points is not None
        targets, perfect = frame.to_model(points), _sample(subject.mesh, frame, count, seed + 2)
        perfect_targets = _sample(subject.mesh, frame, len(points), seed + 1)
    return _both_ways(samples, targets), _both_ways(perfect, perfect_targets)


def _both_ways(samples: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Distances a (N,) of samples (N, 3) to the nearest targets, and b (M,) of targets (M, 3) to samples."""
    a = cKDTree(targets).query(samples, workers=-1)[0]
    return a, cKDTree(samples).query(targets, workers=-1)[0]


def _sample(mesh: trimesh.Trimesh, frame: Similarity, count: int, seed: int) -> Points:
    return frame.to_model(np.asarray(trimesh.sample.sample_surface(mesh, count, seed=seed)[0]))


def _surface_mean(subject: Subject) -> Floats:
    """Mean (3,) of the reference points, in the user's frame."""
    reference = subject.reference
    if isinstance(reference, trimesh.Trimesh):
        reference = _sample(reference, IDENTITY, _AREA_SAMPLES, subject.seed)
    return np.asarray(reference.mean(0))


def _occupancy_iou(subject: Subject, cube: Similarity) -> float:
    points = np.random.default_rng(subject.seed).uniform(-_OCCUPANCY_BOX, _OCCUPANCY_BOX, (_OCCUPANCY_POINTS, 3))
    return compare_fields(subject.predicted_values(points, cube), subject.exact(points, cube)).iou


def _near_points(subject: Subject, frame: Similarity, reference: trimesh.Trimesh, rng: np.random.Generator) -> Points:
    """Uniform points of the box of the medial-axis paper within 0.1 of the reference, by rejection."""
    found: list[Points] = []
    missing = _MEDIAL_NEAR_POINTS
    for number in range(_MAX_REJECTIONS):
        if number == _MAX_EMPTY and not found:
            break
        points = rng.uniform(-_MEDIAL_BOX, _MEDIAL_BOX, (_MEDIAL_POINTS, 3))
        # The distance to the triangles is at least that to the solid, so it only preselects.
        close = points[triangle_distance(points, reference) <= 2 * NEAR_DISTANCE]
        if len(close):
            found.append(close[np.abs(subject.exact(close, frame)) <= NEAR_DISTANCE][:missing])
            missing -= len(found[-1])
        if missing <= 0:
            return np.concatenate(found)
    raise MeshError(
        f"too few points of [-1.2, 1.2]^3 lie within {NEAR_DISTANCE} of the reference; it must be in model space"
    )


def _eikonal(gradient: Points) -> float:
    return float(np.abs(np.linalg.norm(gradient, axis=1) - 1).mean())


def _rmse(predicted: Floats, exact: Floats) -> float:
    return float(np.sqrt(np.square(predicted - exact).mean()))
