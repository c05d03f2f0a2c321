"""Shapes of a store as meshes and points."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from latentsdf.explorer.stored_shapes import Layer, band_mesh, lattice_distance, sample_points, sign_remark
from latentsdf.utils.errors import StoreError

if TYPE_CHECKING:
    from latentsdf.data.store import SampleStore

_KEY = "lamp/a"


def test_mesh_of_the_band_is_closed_and_at_distance_zero(lamp_store: "SampleStore") -> None:
    """The band contains the whole surface."""
    mesh = band_mesh(lamp_store, _KEY)
    assert mesh.is_watertight
    assert mesh.area == pytest.approx(lamp_store.info(_KEY).area, rel=0.1)
    near = lattice_distance(lamp_store, _KEY)(torch.from_numpy(np.float32(mesh.vertices)))
    assert near.abs().mean() < 2 / lamp_store.config.sparse_resolution


@pytest.mark.parametrize("layer", ["band", "near", "uniform", "surface"])
def test_points_and_colors(lamp_store: "SampleStore", layer: Layer) -> None:
    """Every layer has colored points in model space, a limited number of them."""
    found = sample_points(lamp_store, _KEY, layer)
    assert 0 < len(found.points) <= 40_000
    assert found.points.shape == found.colors.shape
    assert found.colors.dtype == np.uint8
    assert np.abs(found.points).max() <= 1 + 1e-6


def test_inside_is_blue_and_outside_orange(lamp_store: "SampleStore") -> None:
    """Colors tell the sign."""
    found = sample_points(lamp_store, _KEY, "near")
    inside = lattice_distance(lamp_store, _KEY)(torch.from_numpy(found.points)).numpy() < -0.02
    assert inside.any()
    red, blue = (found.colors[inside, channel].mean() for channel in (0, 2))
    assert blue > red


def test_sign_in_a_sentence(lamp_store: "SampleStore") -> None:
    """The sentence states the confidence."""
    text = sign_remark(lamp_store.info(_KEY))
    assert f"confidence {lamp_store.info(_KEY).sign.confidence:.3f}" in text
    assert "closed mesh" in text


def test_unknown_shape(lamp_store: "SampleStore") -> None:
    """A missing shape is an error of the store."""
    with pytest.raises(StoreError):
        band_mesh(lamp_store, "lamp/unknown")
