"""Furniture made in code: watertight chairs, tables, lamps and cabinets to train and test on without any download.

A member is drawn from its family's parameters by a seed. Each mesh is one closed, connected surface with outward
normals, in metres, y up, standing on y = 0, its front towards +z.
"""

from numbers import Integral

import numpy as np
import trimesh

from latentsdf.data.furniture.cabinet import Cabinet
from latentsdf.data.furniture.chair import Chair
from latentsdf.data.furniture.lamp import Lamp
from latentsdf.data.furniture.parameters import Parameters
from latentsdf.data.furniture.surface import surface
from latentsdf.data.furniture.table import Table
from latentsdf.utils.errors import ConfigError

_MEMBERS: dict[str, type[Parameters]] = {"chair": Chair, "table": Table, "lamp": Lamp, "cabinet": Cabinet}

FAMILIES: tuple[str, ...] = tuple(_MEMBERS)
"""The names `furniture` knows."""


def furniture(family: str, seed: int) -> trimesh.Trimesh:
    """The member of a family that a seed >= 0 stands for: watertight, the same on every call and in every process.

    Raises ConfigError for an unknown family, and for a seed that is negative or no integer.
    """
    return surface(parameters(family, seed).solid())


def parameters(family: str, seed: int) -> Parameters:
    """The parameters `furniture(family, seed)` is built from. Raises ConfigError like it."""
    if family not in _MEMBERS:
        raise ConfigError(f"unknown furniture family {family!r}; expected one of {', '.join(FAMILIES)}")
    if not isinstance(seed, Integral) or seed < 0:
        raise ConfigError(f"the seed of a piece of furniture must be an integer >= 0, got {seed}")
    # The family is part of the seed, so that chair 3 and table 3 do not share their draws.
    return _MEMBERS[family].draw(np.random.default_rng([FAMILIES.index(family), int(seed)]))
