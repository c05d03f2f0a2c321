"""Tests of lamps."""

from dataclasses import replace

import numpy as np
import pytest

from latentsdf.data.furniture import parameters
from latentsdf.data.furniture.lamp import Lamp


def test_open_shell_of_shade() -> None:
    """At half its height the shade is a ring of the stated wall thickness around the pole; its cavity is open."""
    lamp = replace(parameters("lamp", 1), stand="pole", open_top=False)
    assert isinstance(lamp, Lamp)
    solid = lamp.solid()
    y = lamp.height - 0.5 * lamp.shade_height
    section = solid.rotate((90.0, 0.0, 0.0)).slice(y)  # The rotation maps y to z.
    radius = lamp.shade_width / 2 * (1 + lamp.shade_taper) / 2
    slant = (1 + (lamp.shade_width / 2 * (1 - lamp.shade_taper) / lamp.shade_height) ** 2) ** 0.5
    wall = lamp.shade_wall * slant
    ring = np.pi * (radius**2 - (radius - wall) ** 2)
    pole = np.pi * (lamp.pole_width / 2) ** 2
    assert section.area() == pytest.approx(ring + pole, rel=0.03)
    assert solid.genus() == 0  # No void and no handle: the cavity is open only at the bottom.
