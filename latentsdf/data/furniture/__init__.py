"""Procedural furniture: watertight meshes of nine families, for training and tests without a download.

A seed determines the parameters of a shape of a family, drawn from a narrow or a wide distribution (`parameters`). Each
mesh is one closed, connected surface with outward normals, in meters, with y up, the floor at y = 0 and the front
toward +z.
"""

from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

import numpy as np
import trimesh

from latentsdf.data.furniture.bed import Bed
from latentsdf.data.furniture.bench import Bench
from latentsdf.data.furniture.cabinet import Cabinet
from latentsdf.data.furniture.chair import Chair
from latentsdf.data.furniture.lamp import Lamp
from latentsdf.data.furniture.parameters import Parameters
from latentsdf.data.furniture.shelf import Shelf
from latentsdf.data.furniture.sofa import Sofa
from latentsdf.data.furniture.stool import Stool
from latentsdf.data.furniture.surface import boundary_mesh
from latentsdf.data.furniture.table import Table
from latentsdf.utils.errors import ConfigError

# The position of a family is part of its seeds, so new families are appended.
_FAMILIES: dict[str, type[Parameters]] = {
    "chair": Chair,
    "table": Table,
    "lamp": Lamp,
    "cabinet": Cabinet,
    "sofa": Sofa,
    "bed": Bed,
    "bench": Bench,
    "stool": Stool,
    "shelf": Shelf,
}

FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
"""Names of the furniture families."""


def furniture(family: str, seed: int, *, wide: bool = False) -> trimesh.Trimesh:
    """Generate a piece of furniture.

    Args:
        family: One of `FAMILIES`.
        seed: Integer >= 0 that determines the parameters.
        wide: Draw the parameters from the wide distribution.

    Returns:
        A watertight mesh in meters, the same on every call and in every process.

    Raises:
        ConfigError: The family is unknown, or the seed is negative or not an integer.
    """
    return boundary_mesh(parameters(family, seed, wide=wide).solid())


def parameters(family: str, seed: int, *, wide: bool = False) -> Parameters:
    """Draw the parameters of `furniture(family, seed, wide=wide)`; raises the same errors."""
    if family not in _FAMILIES:
        raise ConfigError(f"unknown furniture family {family!r}; expected one of {', '.join(FAMILIES)}")
    if not isinstance(seed, Integral) or seed < 0:
        raise ConfigError(f"the seed of a piece of furniture must be an integer >= 0, got {seed}")
    # Family and distribution are part of the seed, so that chair 3 and table 3 have independent parameters.
    entropy = [FAMILIES.index(family), int(seed), *([1] if wide else [])]
    return _FAMILIES[family].draw(np.random.default_rng(entropy), wide=wide)


@dataclass(frozen=True)
class FurnitureSeed:
    """A piece of furniture that is generated when it is needed; arguments and errors are those of `furniture`."""

    family: str
    seed: int
    wide: bool = False

    def mesh(self) -> trimesh.Trimesh:
        """Generate the mesh."""
        return furniture(self.family, self.seed, wide=self.wide)

    def recipe(self) -> dict[str, Any]:
        """Return family, seed, distribution and parameters."""
        drawn = asdict(parameters(self.family, self.seed, wide=self.wide))
        return {"furniture": self.family, "seed": self.seed, "wide": self.wide, "parameters": drawn}
