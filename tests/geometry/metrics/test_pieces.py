"""Pieces of surfaces, debris and missing parts with known shares."""

from typing import Any

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.metrics.pieces import face_components, label_pieces
from latentsdf.geometry.metrics.surface import compare_surfaces


def _box(center: tuple[float, float, float], extents: tuple[float, float, float]) -> trimesh.Trimesh:
    return trimesh.creation.box(extents, trimesh.transformations.translation_matrix(center))


def _union(*parts: trimesh.Trimesh) -> Any:
    return trimesh.util.concatenate(parts)


_TOP = _box((0, 0.4, 0), (1, 0.1, 1))
_LEG = _box((0.4, 0.0, 0.4), (0.1, 0.7, 0.1))  # ends inside the top


def test_components_of_faces() -> None:
    """Faces that share a vertex are connected; the two boxes are not."""
    labels = face_components(np.asarray(_union(_TOP, _LEG).faces), 16)
    assert len(set(labels[:12])) == len(set(labels[12:])) == 1 and labels[0] != labels[12]


@pytest.mark.parametrize(("distance", "count"), [(0.005, 1), (0.02, 2)])
def test_pieces_by_gap(distance: float, count: int) -> None:
    """Components closer than the gap are one piece, also through a third component."""
    line = np.linspace(0, 1, 1001)[:, None] * [1.0, 0.0, 0.0]
    points = np.vstack((line, line + np.array([1 + distance, 0, 0]), line + np.array([0, 0.008, 0])))
    pieces = label_pieces(points, np.repeat([0, 1, 2], 1001).astype(np.int32))
    assert len(set(pieces)) == count
    assert pieces[0] == pieces[-1]


def test_overlapping_parts() -> None:
    """Overlapping parts of a reference are one piece, and a copy has neither debris nor missing parts."""
    table = _union(_TOP, _LEG)
    result = compare_surfaces(table, table, 20_000)
    assert (result.pieces, result.reference_pieces) == (1, 1)
    assert result.debris == result.missing == 0


def test_missing_leg() -> None:
    """The share of the reference that is missing is the area of the leg below the top, but for 0.02."""
    result = compare_surfaces(_TOP, _union(_TOP, _LEG), 50_000)
    lost = 4 * 0.1 * (0.33 + 0.35) + 0.01  # the sides below y = 0.33, and the sole
    assert result.missing == pytest.approx(lost / (_TOP.area + _LEG.area), rel=0.05)
    assert result.debris == 0 and result.f_scores[0.01] < 0.97


def test_debris_of_floating_lump_and_loose_leg() -> None:
    """Debris is the share of area of a lump, and of a leg that is loose only in the reconstruction."""
    lump, loose = _box((0, -0.3, 0), (0.1, 0.1, 0.1)), _box((0.4, -0.05, 0.4), (0.1, 0.7, 0.1))
    loose.vertices[:, 1] -= 0.02  # its upper end is 0.02 below the top
    table = _union(_TOP, _box((0.4, 0.0, 0.4), (0.1, 0.7, 0.1)))
    result = compare_surfaces(_union(_TOP, loose, lump), table, 50_000)
    assert (result.pieces, result.reference_pieces) == (3, 1)
    share = (loose.area + lump.area) / (_TOP.area + loose.area + lump.area)
    assert result.debris == pytest.approx(share, rel=0.05)


def test_two_pieces_of_reference() -> None:
    """Pieces of the reference that are separate as well are not debris."""
    pair = _union(_TOP, _box((0, -0.4, 0), (0.5, 0.1, 0.5)))
    result = compare_surfaces(pair, pair, 20_000)
    assert (result.pieces, result.reference_pieces, result.debris) == (2, 2, 0.0)
