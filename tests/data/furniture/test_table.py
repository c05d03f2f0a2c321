"""Tests of tables."""

from dataclasses import replace

import numpy as np
import pytest

from latentsdf.data.furniture import parameters
from latentsdf.data.furniture.table import Table


def test_diameter_of_round_top() -> None:
    """A slice through the middle of a round top has the area of a disc of diameter (width + depth) / 2."""
    table = replace(parameters("table", 0), top="round", base="pedestal", shelf=False)
    assert isinstance(table, Table)
    height = table.height - 0.4 * table.top_thickness
    area = table.solid().rotate((90.0, 0.0, 0.0)).slice(height).area()  # The rotation maps y to z.
    diameter = (table.width + table.depth) / 2
    assert area == pytest.approx(np.pi * diameter**2 / 4, rel=0.01)


def test_board_between_legs() -> None:
    """A shelf adds material at its height and none above the middle of the table."""
    table = replace(parameters("table", 0), top="rectangle", base="legs", shelf=True)
    assert isinstance(table, Table)
    solids = [replace(table, shelf=shelf).solid().rotate((90.0, 0.0, 0.0)) for shelf in (True, False)]
    low = table.low_height * table.height + 0.015
    with_shelf, without = (solid.slice(low).area() for solid in solids)
    assert with_shelf > without + 0.3 * table.width * table.depth
    above = [solid.slice(0.6 * table.height).area() for solid in solids]
    assert above[0] == pytest.approx(above[1], rel=1e-6)
