"""Smooth deformations of meshes, with which training shapes are augmented.

A deformation acts on the frame u = (x - c) / h, with the center c of the bounding box of the mesh and half of its
largest extent h, so that the mesh lies in [-1, 1]^3; y is up. It is the composition of

    mirror        u_a -> -u_a for one axis a, with reversed faces; or nothing
    stretch       u -> diag(s) u
    shear         u -> (I + N) u with N strictly triangular up to the order y, x, z of the axes: N_xy, N_zy, N_zx
    taper         (u_x, u_z) -> (1 + t u_y) (u_x, u_z)
    bend          v -> ((1/k - u_b) sin(k v), 1/k - (1/k - u_b) cos(k v)) for the coordinates v = u_y and u_b
    displacement  u -> u + sum over waves m of a_m sin(w_m . u + p_m)

Every step after the mirror is injective and preserves the orientation on the domain that the previous steps map the
box to, within the limits that `Deformation` checks: the determinants of the Jacobians are s_x s_y s_z, 1,
(1 + t u_y)^2, 1 - k u_b, and, because sum |a_m| |w_m| < 1 makes the displacement a contraction, a positive number. A
deformed closed surface without self-intersections therefore is closed and free of self-intersections, up to the
discretization: only the vertices of the mesh are moved, so long edges are split first.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import pi
from typing import Any, Literal

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.utils.errors import ConfigError

Axis = Literal["x", "y", "z"]

MAX_EDGE = 0.1
"""Length above which edges are split before a deformation, in half extents of the bounding box."""
_STRETCH = 0.22  # random draws: |log s|
_SHEAR = 0.1
_TAPER = 0.16
_BEND = 0.16
_WAVES = 4
_CONTRACTION = 0.3  # of sum |a| |w|
_FREQUENCY = (0.8, 2.4)  # |w|
_LIMITS = {"stretch": 0.5, "shear": 0.25, "taper": 0.3, "bend": 0.25, "contraction": 0.8}
_DIGITS = 6  # significant digits of drawn parameters, which keep the stored recipes short

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Wave:
    """One term a sin(w . u + p) of the displacement."""

    amplitude: tuple[float, float, float]
    """Vector a."""
    frequency: tuple[float, float, float]
    """Wave vector w."""
    phase: float
    """Phase p."""


@dataclass(frozen=True)
class Deformation:
    """Smooth deformation of space, see the module docstring. The default is the identity.

    Raises:
        ConfigError: A parameter is outside the limits within which the deformation is injective.
    """

    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors s, each in [exp(-0.5), exp(0.5)]."""
    shear: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """N_xy, N_zy and N_zx, each in [-0.25, 0.25]."""
    taper: float = 0.0
    """t in [-0.3, 0.3]."""
    bend: float = 0.0
    """Curvature k in [-0.25, 0.25]."""
    bend_axis: Literal["x", "z"] = "z"
    """Direction b toward which the vertical axis is bent."""
    waves: tuple[Wave, ...] = ()
    """Displacement; the sum of |a| |w| is at most 0.8."""
    mirror: Axis | None = None
    """Axis of the mirror image."""

    def __post_init__(self) -> None:
        """Check the limits."""
        contraction = sum(float(np.linalg.norm(w.amplitude) * np.linalg.norm(w.frequency)) for w in self.waves)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = {
                "stretch": float(np.abs(np.log(self.stretch)).max()),
                "shear": float(np.abs(self.shear).max()),
                "taper": abs(self.taper),
                "bend": abs(self.bend),
                "contraction": contraction,
            }
        for name, value in values.items():
            if not value <= _LIMITS[name]:  # also rejects values that are not numbers
                shown = f"the logarithms of {name}" if name == "stretch" else name
                raise ConfigError(
                    f"a deformation is injective only if the absolute values of {shown} are at most {_LIMITS[name]}, "
                    f"got {value:.3g}"
                )

    @classmethod
    def draw(cls, generator: np.random.Generator, mirror: Axis | None = None) -> "Deformation":
        """Draw a random deformation.

        Args:
            generator: Source of random numbers.
            mirror: Mirror every other shape, on average, along this axis.
        """

        def signed(limit: float) -> float:
            return _rounded(generator.uniform(-limit, limit))

        stretch = _triple(np.exp(generator.uniform(-_STRETCH, _STRETCH, 3)))
        shear = _triple(generator.uniform(-_SHEAR, _SHEAR, 3))
        taper, bend, bend_axis = signed(_TAPER), signed(_BEND), generator.choice(["x", "z"])
        waves = []
        for share in generator.dirichlet(np.ones(_WAVES)):
            frequency = _random_direction(generator) * generator.uniform(*_FREQUENCY)
            amplitude = _random_direction(generator) * (_CONTRACTION * share / np.linalg.norm(frequency))
            waves.append(Wave(_triple(amplitude), _triple(frequency), _rounded(generator.uniform(0, 2 * pi))))
        mirrored = bool(generator.random() < 0.5) and mirror is not None
        axis: Literal["x", "z"] = "x" if bend_axis == "x" else "z"
        return cls(stretch, shear, taper, bend, axis, tuple(waves), mirror if mirrored else None)

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> "Deformation":
        """Recreate a deformation from `recipe()`.

        Raises:
            ConfigError: The recipe is incomplete or malformed, or a parameter is outside its limits.
        """
        try:
            waves = [Wave(_triple(w["amplitude"]), _triple(w["frequency"]), float(w["phase"])) for w in recipe["waves"]]
            return cls(
                _triple(recipe["stretch"]),
                _triple(recipe["shear"]),
                float(recipe["taper"]),
                float(recipe["bend"]),
                recipe["bend_axis"],
                tuple(waves),
                recipe["mirror"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"not the recipe of a deformation: {error!r}") from error

    def recipe(self) -> dict[str, Any]:
        """Return the parameters as a dictionary for JSON."""
        return asdict(self)

    def __call__(self, points: Floats) -> Floats:
        """Deform points (N, 3) of the frame u; the mirror image is included."""
        u = np.array(points, dtype=np.float64)
        if self.mirror is not None:
            u[:, "xyz".index(self.mirror)] *= -1
        x, y, z = (u * self.stretch).T
        x, z = x + self.shear[0] * y, z + self.shear[1] * y + self.shear[2] * x
        x, z = (1 + self.taper * y) * x, (1 + self.taper * y) * z
        if self.bend:
            along = x if self.bend_axis == "x" else z
            radius, angle = 1 / self.bend - along, self.bend * y
            y, along = radius * np.sin(angle), 1 / self.bend - radius * np.cos(angle)
            x, z = (along, z) if self.bend_axis == "x" else (x, along)
        u = np.stack([x, y, z], axis=1)
        shift = np.zeros_like(u)
        for wave in self.waves:
            shift += np.sin(u @ np.array(wave.frequency) + wave.phase)[:, None] * np.array(wave.amplitude)
        return u + shift

    def deform(self, mesh: trimesh.Trimesh) -> trimesh.Trimesh:
        """Deform a mesh in any frame, with y up.

        Args:
            mesh: Welded mesh with finite vertices, all of them used by faces; see `geometry.mesh.clean`.

        Returns:
            The deformed mesh in the same frame, with edges of at most `MAX_EDGE` before the deformation. Closed meshes
            stay closed, and outward faces stay outward.
        """
        low, high = mesh.bounds
        center, half = (low + high) / 2, float((high - low).max()) / 2
        vertices, faces = split_long_edges((mesh.vertices - center) / half, np.asarray(mesh.faces), MAX_EDGE)
        if self.mirror is not None:
            faces = faces[:, ::-1]
        return trimesh.Trimesh(self(vertices) * half + center, faces, process=False)


def split_long_edges(vertices: Floats, faces: Ints, limit: float) -> tuple[Floats, Ints]:
    """Split edges at their middle until none is longer than a limit; a closed mesh stays closed.

    An edge is split in all its faces alike: a face with one, two or three long edges becomes two, three or four.

    Args:
        vertices: (V, 3).
        faces: (F, 3) of a welded mesh.
        limit: Maximum length.

    Returns:
        Vertices (V', 3), the first of which are the given ones, and faces (F', 3).
    """
    while True:
        # Sides 01, 12 and 20 of each face, as undirected edges.
        sides = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2), axis=2)
        edges, edge_of_side = np.unique(sides.reshape(-1, 2), axis=0, return_inverse=True)
        long = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) > limit
        if not long.any():
            return vertices, faces
        middle = np.full(len(edges), -1)
        middle[long] = len(vertices) + np.arange(long.sum())
        vertices = np.concatenate([vertices, vertices[edges[long]].mean(axis=1)])
        faces = _split_faces(vertices, faces, middle[edge_of_side.reshape(-1, 3)])


def _split_faces(vertices: Floats, faces: Ints, middle: Ints) -> Ints:
    """Split faces (F, 3) at the middle vertices (F, 3) of their sides 01, 12 and 20; -1 for a side without one."""
    count = (middle >= 0).sum(axis=1)
    parts = [faces[count == 0]]
    # Rotate the corners so that the side that is split, or the one that is not, is the first one.
    first = np.where(count == 1, (middle >= 0).argmax(1), (middle < 0).argmax(1))
    turn = (first[:, None] + np.arange(3)) % 3
    (a, b, c), (m, n, o) = np.take_along_axis(faces, turn, 1).T, np.take_along_axis(middle, turn, 1).T
    one, two, three = count == 1, count == 2, count == 3
    parts += [_stack(one, a, m, c), _stack(one, m, b, c)]
    parts.append(_stack(two, n, c, o))
    # The rest is the quadrilateral a, b, n, o, split at its shorter diagonal.
    short = np.linalg.norm(vertices[a] - vertices[n], axis=1) <= np.linalg.norm(vertices[b] - vertices[o], axis=1)
    parts += [_stack(two & short, a, b, n), _stack(two & short, a, n, o)]
    parts += [_stack(two & ~short, a, b, o), _stack(two & ~short, b, n, o)]
    parts += [_stack(three, a, m, o), _stack(three, m, b, n), _stack(three, o, n, c), _stack(three, m, n, o)]
    return np.concatenate(parts)


def _stack(rows: NDArray[np.bool_], *corners: Ints) -> Ints:
    """Faces (K, 3) of the chosen rows."""
    return np.stack([corner[rows] for corner in corners], axis=1)


def _random_direction(generator: np.random.Generator) -> Floats:
    vector = generator.normal(size=3)
    return vector / np.linalg.norm(vector)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = (_rounded(float(value)) for value in values)
    return x, y, z
