"""Tests of primitive solids against analytic volumes."""

import numpy as np
import pytest

from latentsdf.data.furniture.solids import bar, block, bowed, ellipse, lathe, post, rectangle, slab, union
from latentsdf.data.furniture.surface import boundary_mesh


def test_analytic_volumes() -> None:
    """Blocks, slabs, bars, posts, lathes and bent boards have their analytic volumes."""
    assert block((0, 0, 0), (1, 2, 3), 1e-4).volume() == pytest.approx(6, rel=1e-3)
    assert slab(rectangle(2, 1, 1e-4), 0.5, 0.25, 1e-4).volume() == pytest.approx(0.5, rel=1e-3)
    assert slab(ellipse(2, 1, 400), 0, 1, 1e-4).volume() == pytest.approx(np.pi / 2, rel=1e-3)
    square = rectangle(0.1, 0.1, 1e-5)
    assert bar((0, 0, 0), (1, 1, 1), square).volume() == pytest.approx(0.01 * 3**0.5, rel=1e-3)
    assert bar((0, 0, 0), (0, 2, 0), square).volume() == pytest.approx(0.02, rel=1e-3)
    assert post((0, 0, 0), (0.5, 3, 0), square, 0.5 * square).volume() == pytest.approx(0.03 * 1.75 / 3, rel=1e-3)
    assert lathe([(0, 0), (1, 0), (0, 1)], 400).volume() == pytest.approx(np.pi / 3, rel=1e-3)
    straight, bent = bowed(0.5, 0.1, 0.02, 0.0).volume(), bowed(0.5, 0.1, 0.02, 0.03).volume()
    assert bent == pytest.approx(straight, rel=1e-3)  # Shearing preserves the volume.


def test_rear_edge_of_tapered_rectangle() -> None:
    """`back` scales the edge at -z."""
    outline = rectangle(2.0, 1.0, 0.05, back=0.5)
    front, rear = outline[outline[:, 1] > 0.4], outline[outline[:, 1] < -0.4]
    assert np.ptp(rear[:, 0]) < 0.6 * np.ptp(front[:, 0])


def test_union_of_separate_parts() -> None:
    """Parts that do not overlap remain separate bodies."""
    apart = union([block((0, 0, 0), (1, 1, 1), 0.1), block((2, 0, 0), (3, 1, 1), 0.1)])
    assert boundary_mesh(apart).body_count == 2
