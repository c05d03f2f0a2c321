"""Tests of smooth deformations: Jacobian, injectivity, closed surfaces, signs, recipes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from latentsdf.geometry.deformation import MAX_EDGE, Deformation, Wave, split_long_edges
from latentsdf.geometry.mesh_sdf.solid import Solid
from latentsdf.utils.errors import ConfigError

EXTREME = [
    Deformation(
        stretch=(np.exp(0.5), np.exp(0.5), np.exp(sign * 0.5)),
        shear=(0.25, sign * 0.25, 0.25),
        taper=sign * 0.3,
        bend=0.25,
        bend_axis=axis,
        waves=(Wave((0.3, 0.0, 0.0), (0.0, 2.0, 0.0), 0.4), Wave((0.0, 0.1, 0.0), (2.0, 0.0, 0.0), 1.0)),
    )
    for sign in (-1, 1)
    for axis in ("x", "z")
]
"""All parameters at their limits."""


def drawn(seed: int, mirror: str | None = None) -> Deformation:
    """Random deformation."""
    return Deformation.draw(np.random.default_rng(seed), mirror)  # type: ignore[arg-type]


def lattice(count: int) -> NDArray[np.float64]:
    """Points of a lattice over the box."""
    axis = np.linspace(-1, 1, count)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def determinant(deformation: Deformation, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Determinant of the Jacobian by central differences."""
    step = 1e-5
    columns = [(deformation(points + e) - deformation(points - e)) / (2 * step) for e in step * np.eye(3)]
    return np.linalg.det(np.stack(columns, axis=2))


@pytest.mark.parametrize("deformation", [*EXTREME, *(drawn(seed) for seed in range(20))])
def test_positive_jacobian(deformation: Deformation) -> None:
    """The determinant of the Jacobian is positive on a dense lattice over the box."""
    assert determinant(deformation, lattice(33)).min() > 0.02


def test_jacobian_of_mirror_image() -> None:
    """A mirror image reverses the orientation, and nothing else."""
    plain = drawn(3)
    points = lattice(9)
    mirrored = replace(plain, mirror="x")
    assert determinant(mirrored, points).max() < 0
    np.testing.assert_array_equal(mirrored(points), plain(points * (-1, 1, 1)))


@pytest.mark.parametrize("deformation", [*EXTREME, drawn(0), drawn(1)])
def test_injectivity(deformation: Deformation) -> None:
    """Distinct lattice points stay apart: the images of neighbors and of distant points do not meet."""
    from scipy.spatial import cKDTree

    points = lattice(25)
    image = deformation(points)
    distance, near = cKDTree(image).query(image, k=2)
    # The closest image belongs to a point nearby, so that no two parts of the box overlap.
    assert (np.abs(points - points[near[:, 1]]).max(axis=1) <= 3 * 2 / 24 + 1e-9).all()
    assert distance[:, 1].min() > 0


def test_steps_against_formulas() -> None:
    """Stretch, shear, taper and bend follow their definitions at a point; the bend keeps lengths along its axis."""
    p = np.array([[0.3, 0.5, -0.2]])
    np.testing.assert_allclose(Deformation(stretch=(1.2, 0.8, 1.1))(p), [[0.36, 0.4, -0.22]])
    np.testing.assert_allclose(Deformation(shear=(0.1, 0.0, 0.0))(p), [[0.35, 0.5, -0.2]])
    np.testing.assert_allclose(Deformation(shear=(0.0, 0.1, 0.2))(p), [[0.3, 0.5, -0.09]])
    np.testing.assert_allclose(Deformation(taper=0.2)(p), [[0.33, 0.5, -0.22]])
    line = np.column_stack([np.zeros(1001), np.linspace(-1, 1, 1001), np.zeros(1001)])
    bent = Deformation(bend=0.25, bend_axis="z")(line)
    assert np.linalg.norm(np.diff(bent, axis=0), axis=1).sum() == pytest.approx(2, rel=1e-6)
    np.testing.assert_allclose(np.linalg.norm(bent - (0, 0, 4), axis=1), 4)  # on a circle of radius 1 / 0.25
    wave = Deformation(waves=(Wave((0.0, 0.1, 0.0), (2.0, 0.0, 0.0), 0.5),))
    np.testing.assert_allclose(wave(p), [[0.3, 0.5 + 0.1 * np.sin(1.1), -0.2]])


def ellipsoid_distance(points: NDArray[np.float64], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed distance to an ellipsoid (Eberly's equation for the multiplier t, solved by minimization)."""

    def one(p: NDArray[np.float64]) -> float:
        def residual(t: float) -> float:
            return float((((axes * p / (t + axes**2)) ** 2).sum() - 1) ** 2)

        low = -(axes.min() ** 2) * (1 - 1e-9)
        t = minimize_scalar(residual, bounds=(low, 5.0), method="bounded", options={"xatol": 1e-12}).x
        closest = axes**2 * p / (t + axes**2)
        sign = -1 if ((p / axes) ** 2).sum() < 1 else 1
        return sign * float(np.linalg.norm(p - closest))

    return np.array([one(p) for p in points])


@pytest.mark.slow
def test_distance_to_stretched_sphere() -> None:
    """Distances and signs of a deformed sphere are those of the analytic ellipsoid, also of its mirror image."""
    stretch = np.array([1.3, 0.8, 1.1])
    sphere = trimesh.creation.icosphere(5, radius=0.5)
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.9, 0.9, (300, 3))
    points = points[(np.abs(points) > 0.02).all(axis=1)]  # off the symmetry planes, where the equation degenerates
    expected = ellipsoid_distance(points, 0.5 * stretch)
    for mirror in (None, "y"):
        deformed = Deformation(stretch=tuple(stretch), mirror=mirror).deform(sphere)  # type: ignore[arg-type]
        assert deformed.is_watertight and deformed.volume == pytest.approx(4 / 3 * np.pi * 0.125 * stretch.prod(), 1e-2)
        np.testing.assert_allclose(Solid(deformed)(points), expected, atol=1.5e-3)


@pytest.mark.parametrize("mirror", [None, "x"])
def test_closed_surface(mirror: str | None) -> None:
    """A closed mesh with long faces stays closed and outward, in its own frame, and the same for equal deformations."""
    box = trimesh.creation.box((2.0, 0.1, 1.0), transform=trimesh.transformations.translation_matrix((10.0, 5.0, 0.0)))
    for seed in range(8):
        deformed = drawn(seed, mirror).deform(box)
        assert deformed.is_watertight and deformed.is_winding_consistent and deformed.volume > 0
        assert np.linalg.norm(deformed.centroid - box.centroid) < 1
        np.testing.assert_array_equal(drawn(seed, mirror).deform(box).vertices, deformed.vertices)
    assert len(box.faces) == 12


def test_mirror_of_half_the_copies() -> None:
    """About half of the drawn deformations are mirrored; the others are those without mirror."""
    mirrored = [drawn(seed, "x").mirror == "x" for seed in range(200)]
    assert 70 < sum(mirrored) < 130
    assert all(replace(drawn(seed, "x"), mirror=None) == drawn(seed) for seed in range(20))


def test_recipe() -> None:
    """A deformation is recreated from its recipe after a round trip through JSON."""
    for seed in range(5):
        deformation = drawn(seed, "x")
        assert Deformation.from_recipe(json.loads(json.dumps(deformation.recipe()))) == deformation
    with pytest.raises(ConfigError, match="not the recipe of a deformation"):
        Deformation.from_recipe({"taper": 0.1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stretch": (2.0, 1.0, 1.0)}, "the logarithms of stretch are at most 0.5, got 0.693"),
        ({"shear": (0.0, -0.3, 0.0)}, "shear are at most 0.25, got 0.3"),
        ({"taper": 0.4}, "taper are at most 0.3"),
        ({"bend": float("nan")}, "bend are at most 0.25, got nan"),
        ({"waves": (Wave((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), 0.0),)}, "contraction are at most 0.8, got 1"),
    ],
)
def test_limits(change: dict[str, object], message: str) -> None:
    """Parameters that could make the deformation fold are rejected."""
    with pytest.raises(ConfigError, match=message):
        replace(Deformation(), **change)  # type: ignore[arg-type]


def test_split_edges() -> None:
    """No edge is longer than the limit; the mesh is closed, with the same volume and area, and keeps its vertices."""
    mesh = trimesh.creation.cylinder(0.5, 2.0, sections=12)
    vertices, faces = split_long_edges(np.array(mesh.vertices), np.array(mesh.faces), MAX_EDGE)
    split = trimesh.Trimesh(vertices, faces, process=False)
    assert split.edges_unique_length.max() <= MAX_EDGE
    assert split.is_watertight and split.is_winding_consistent
    assert split.volume == pytest.approx(mesh.volume) and split.area == pytest.approx(mesh.area)
    np.testing.assert_array_equal(vertices[: len(mesh.vertices)], mesh.vertices)
    unsplit = split_long_edges(np.array(mesh.vertices), np.array(mesh.faces), 3.0)
    np.testing.assert_array_equal(unsplit[1], mesh.faces)
