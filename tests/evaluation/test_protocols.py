"""Published protocols on shapes whose metrics are known in closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from latentsdf.evaluation.protocols import PROTOCOLS, ProtocolName, Subject, unit_cube
from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.utils.errors import MeshError

RADIUS = 0.6


def _plate(height: float, half: float = 0.5, cells: int = 1) -> trimesh.Trimesh:
    """Square in the plane y = height, of (cells + 1)^2 vertices."""
    axis = np.linspace(-half, half, cells + 1)
    vertices = np.stack(np.meshgrid(axis, [height], axis, indexing="ij"), axis=-1).reshape(-1, 3)
    corner = np.add.outer(np.arange(cells) * (cells + 1), np.arange(cells)).ravel()
    faces = [[corner, corner + 1, corner + cells + 2], [corner, corner + cells + 2, corner + cells + 1]]
    return trimesh.Trimesh(vertices, np.concatenate([np.stack(part, axis=1) for part in faces]), process=False)


def _sphere_field(radius: float = RADIUS, slope: float = 1.0) -> "torch.nn.Module":
    return lambda points: slope * (points.norm(dim=1) - radius)  # type: ignore[return-value]


def _subject(mesh: trimesh.Trimesh, reference: trimesh.Trimesh | np.ndarray, **changes: object) -> Subject:
    plain = Subject(mesh, _sphere_field(), IDENTITY, reference, None, samples=20_000, seed=0, rays=0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def _measure(name: ProtocolName, subject: Subject) -> tuple[dict[str, float], dict[str, float]]:
    return PROTOCOLS[name].measure(subject)


def test_definitions_between_plates() -> None:
    """Parallel plates at distance t have every Chamfer distance in closed form, in the frame of the protocol."""
    t = 0.2
    subject = _subject(_plate(t), _plate(0.0))
    assert _measure("deepsdf", subject)[0]["cd_sq_sum"] == pytest.approx(2 * t**2, rel=5e-3)
    srb = _measure("srb", subject)[0]
    assert srb == pytest.approx({"cd_l1_half": t, "hausdorff": t}, rel=5e-3)
    # In model space, distances are four times as large.
    large = replace(subject, similarity=Similarity((0.3, 0.0, 0.0), 4.0))
    compact = _measure("compact_sdf", large)[0]
    assert compact["precision"] == compact["recall"] == compact["f_score"] == 0.0
    assert _measure("deepsdf", large)[0]["cd_sq_sum"] == pytest.approx(2 * t**2, rel=5e-3)
    points = np.asarray(_plate(0.0, cells=150).vertices)
    medial = _measure("medial_axis", replace(large, reference=points))[0]
    assert medial["cd_l1_sum"] == pytest.approx(2 * 4 * t, rel=5e-3)
    assert medial["hausdorff"] == pytest.approx(4 * t, rel=1e-2) and "normal_error" not in medial
    # The unit cube of plates of side 4 is a quarter as large.
    wide = _subject(_plate(t, 2.0), np.asarray(_plate(0.0, 2.0, cells=150).vertices))
    assert _measure("hotspot", wide)[0]["cd_l1_half"] == pytest.approx(t / 4, rel=3e-2)
    assert _measure("steik", wide)[0]["cd_sq_sum"] == pytest.approx(2 * (t / 4) ** 2, rel=5e-2)


def test_one_sided_distances() -> None:
    """Distances to a scan are those from its points: a scan of a part is explained by the whole surface."""
    whole, part = _plate(0.0), np.asarray(_plate(0.1, 0.25, cells=50).vertices)
    values, floors = _measure("srb", _subject(whole, _plate(0.0), scan=part))
    assert values["scan_mean"] == pytest.approx(0.1, rel=1e-2)
    assert values["scan_max"] == pytest.approx(0.1, rel=2e-2)
    assert set(values) == set(floors)
    other = _measure("srb", _subject(_plate(0.1, 0.25), _plate(0.1), scan=np.asarray(_plate(0.1, cells=50).vertices)))[
        0
    ]
    assert other["scan_max"] == pytest.approx(0.25 * math.sqrt(2), rel=2e-2)


def test_hotspot_measures_against_the_scan() -> None:
    """HotSpot and StEik compare with the input points, if they are given."""
    scan = np.asarray(_plate(0.1, cells=150).vertices)
    subject = _subject(_plate(0.0), np.asarray(_plate(0.0, cells=150).vertices), scan=scan)
    assert _measure("hotspot", subject)[0]["cd_l1_half"] == pytest.approx(0.1, rel=2e-2)
    assert _measure("steik", subject)[0]["cd_sq_sum"] == pytest.approx(0.02, rel=2e-2)
    assert _measure("deepsdf", subject)[0]["cd_sq_sum"] < 1e-3


def test_compact_sdf_thresholds() -> None:
    """Precision is the share of samples near a vertex, recall that of vertices near a sample."""
    fine, one = _plate(0.0, cells=200), _plate(0.0, 0.25)  # vertices 0.005 apart; a quarter of the area
    values, floors = _measure("compact_sdf", _subject(one, fine))
    assert values["precision"] == 1.0 and values["recall"] == pytest.approx(0.25, abs=0.02)
    assert values["f_score"] == pytest.approx(2 * values["recall"] / (1 + values["recall"]))
    assert floors["precision"] == 1.0 and floors["recall"] > 0.99


@pytest.mark.parametrize(("name", "metric", "expected"), [
    ("deepsdf", "cd_sq_sum", lambda area, n: 2 * area / (math.pi * n)),
    ("srb", "cd_l1_half", lambda area, n: math.sqrt(area / n) / 2),
    pytest.param("medial_axis", "cd_l1_sum", lambda area, n: math.sqrt(area / n), marks=pytest.mark.slow),
    ("steik", "cd_sq_sum", lambda area, n: 2 * area / (math.pi * n)),
])  # fmt: skip
def test_sampling_floor(name: ProtocolName, metric: str, expected: "object") -> None:
    """The floor equals its expectation, with samples as well as with points as the reference; a copy reaches it."""
    ball = trimesh.creation.icosphere(4, 0.5)
    count, area = 20_000, float(ball.area)
    points = np.asarray(trimesh.sample.sample_surface(ball, count, seed=9)[0])
    for reference in (ball, points):
        values, floors = _measure(name, _subject(ball, reference, samples=count, field=_sphere_field(0.5)))
        wanted = expected(area, count)  # type: ignore[operator]
        assert floors[metric] == pytest.approx(wanted, rel=0.03)
        assert values[metric] == pytest.approx(wanted, rel=0.03)


def test_nearest_points_by_brute_force() -> None:
    """Distances equal those to the nearest of all points."""
    mesh, targets = trimesh.creation.box((1.0, 0.7, 0.4)), np.random.default_rng(0).uniform(-0.5, 0.5, (300, 3))
    samples = np.asarray(trimesh.sample.sample_surface(mesh, 200, seed=3)[0])
    apart = np.linalg.norm(samples[:, None] - targets, axis=2)
    found = _measure("srb", _subject(mesh, targets, samples=200, seed=3))[0]
    assert found["cd_l1_half"] == pytest.approx((apart.min(0).mean() + apart.min(1).mean()) / 2)
    assert found["hausdorff"] == pytest.approx(max(apart.min(0).max(), apart.min(1).max()))


@pytest.mark.slow
def test_field_of_the_medial_axis_protocol() -> None:
    """A sphere's distance times a slope has closed-form errors over [-1.2, 1.2]^3 and near the sphere."""
    slope = 1.5
    ball = trimesh.creation.icosphere(5, 2 * RADIUS)
    ball.apply_translation((3.0, 0.0, 0.0))
    # Turned about y, as a fit with alignment.
    similarity = Similarity((3.0, 0.0, 0.0), 0.5, 0.7)
    subject = _subject(ball, ball, similarity=similarity, field=_sphere_field(slope=slope), samples=2000)
    values, floors = _measure("medial_axis", subject)
    points = np.random.default_rng(1).uniform(-1.2, 1.2, (200_000, 3))
    distance = np.linalg.norm(points, axis=1) - RADIUS
    near = distance[np.abs(distance) <= 0.1]
    assert values["rmse"] == pytest.approx((slope - 1) * np.sqrt(np.square(distance).mean()), rel=0.02, abs=2e-3)
    assert values["near_rmse"] == pytest.approx((slope - 1) * np.sqrt(np.square(near).mean()), rel=0.03, abs=2e-3)
    assert (values["eikonal"], values["near_eikonal"]) == pytest.approx((slope - 1,) * 2, abs=1e-5)
    assert values["normal_error"] == pytest.approx(0.0, abs=1e-3)
    inverted = _measure("medial_axis", replace(subject, field=_sphere_field(slope=-1.0)))[0]
    assert inverted["normal_error"] == pytest.approx(2.0, abs=1e-3)
    assert set(floors) == {"cd_l1_sum", "hausdorff"}


def test_turned_gradients() -> None:
    """Gradients are expressed in the frame of their points."""
    turned = Similarity((1.0, 2.0, 3.0), 0.5, 0.7)
    subject = _subject(_plate(0.0), _plate(0.0), similarity=turned, field=lambda points: points[:, 0] - 0.1)
    points = np.random.default_rng(0).normal(size=(5, 3))
    for frame in (turned, Similarity((0.5, 0.0, 0.0), 2.0), Similarity((0.0, 0.0, 0.0), 1.0, -0.3)):
        distance, gradient = subject.predicted(points, frame)
        for axis in range(3):
            step = 1e-3 * np.eye(3)[axis]
            ahead, behind = (subject.predicted_values(points + sign * step, frame) for sign in (1, -1))
            np.testing.assert_allclose(gradient[:, axis], (ahead - behind) / 2e-3, atol=2e-3)
        np.testing.assert_allclose(distance, subject.predicted_values(points, frame), atol=1e-6)


@pytest.mark.slow
def test_field_of_the_hotspot_protocol() -> None:
    """SMAPE of a distance times s is 2 |s - 1| / (s + 1) everywhere; IoU of concentric balls is a ratio of volumes."""
    ball = trimesh.creation.icosphere(5, 2 * RADIUS)
    subject = _subject(ball, ball, similarity=Similarity((0.0, 0.0, 0.0), 0.5), samples=2000)
    values = _measure("hotspot", replace(subject, field=_sphere_field(slope=1.5)))[0]
    assert values["smape"] == pytest.approx(2 * 0.5 / 2.5, rel=0.01)
    assert values["near_smape"] == pytest.approx(2 * 0.5 / 2.5, rel=0.05)
    assert values["iou"] > 0.995
    # In the frame of the distances, the ball has radius 1.
    distance = np.linalg.norm(np.random.default_rng(1).uniform(-1, 1, (200_000, 3)), axis=1) - 1
    assert values["mae"] == pytest.approx(0.5 * np.abs(distance).mean(), rel=0.02)
    assert values["near_mae"] == pytest.approx(0.5 * np.abs(distance[np.abs(distance) <= 0.1]).mean(), rel=0.03)
    smaller = replace(subject, field=_sphere_field(0.8 * RADIUS))
    for name in ("hotspot", "steik"):
        assert _measure(name, smaller)[0]["iou"] == pytest.approx(0.8**3, abs=0.01)
    cloud = replace(subject, reference=np.asarray(ball.vertices), rays=8)
    assert set(_measure("hotspot", cloud)[0]) == {
        "cd_l1_half", "hausdorff", "steps", "steps_variance", "steps_unfinished"
    }  # fmt: skip


def test_steps_are_counted_in_the_unit_cube() -> None:
    """The size of a shape in its own units and in model space has no effect on the number of steps."""
    counts = []
    for size in (1.0, 7.0):
        ball = trimesh.creation.icosphere(4, size)
        cloud = np.asarray(ball.vertices) + np.array([0.0, size, 0.0])
        placed = Similarity((0.0, size, 0.0), 0.9 / size)
        subject = _subject(ball, cloud, similarity=placed, field=_sphere_field(0.9), samples=200, rays=16)
        counts.append(_measure("hotspot", subject)[0]["steps"])
    assert counts[0] == pytest.approx(counts[1], rel=1e-6) and counts[0] > 0.5


def test_unit_cube() -> None:
    """The longest side of the bounding box becomes 1, and its center the origin."""
    box = trimesh.creation.box((4.0, 2.0, 1.0))
    box.apply_translation((1.0, 1.0, 1.0))
    corners = unit_cube(box).to_model(box.vertices)
    np.testing.assert_allclose(np.abs(corners).max(0), (0.5, 0.25, 0.125))
    unused = trimesh.Trimesh(np.concatenate((box.vertices, [[99.0, 0, 0]])), box.faces, process=False)
    assert unit_cube(unused) == unit_cube(box)


def test_reference_outside_of_model_space() -> None:
    """A reference of which no point of the box is near is refused in the user's terms."""
    far = trimesh.creation.box((1e-4, 1e-4, 1e-4))
    far.apply_translation((50.0, 0.0, 0.0))
    with pytest.raises(MeshError, match="it must be in model space"):
        _measure("medial_axis", _subject(far, far, samples=50))
