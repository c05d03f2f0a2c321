"""Validated evaluation of fields on lattice vertices."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers.fields import sphere

from latentsdf.extraction.extract import extract
from latentsdf.extraction.field import Field, FieldSampler, SignedDistance, in_frame_of
from latentsdf.extraction.sparse_lattice import allocate
from latentsdf.geometry.similarity import Similarity
from latentsdf.rendering.render import render
from latentsdf.utils.errors import ConfigError, LatentSDFError


def _sampler(field: SignedDistance, level: float = 0.0) -> FieldSampler:
    return FieldSampler("test", field, level, 1000, "cpu")


def test_lattice_values_and_padding() -> None:
    """Vertices inside the box get exact values, padding gets +inf, and vertices outside the mask stay absent."""
    lattice = allocate(16)
    mask = lattice.vertex_mask()
    mask[0] = False
    _sampler(sphere, level=0.1).evaluate(lattice, mask)
    inside = mask & ~lattice.padding_mask()
    points = torch.from_numpy(lattice.vertex_indices(inside)).float() / 8 - 1
    np.testing.assert_allclose(lattice.value[inside], sphere(points).numpy() - 0.1, atol=1e-6)
    assert np.isinf(lattice.value[mask & lattice.padding_mask()]).all()
    assert np.isnan(lattice.value[0]).all() and np.array_equal(lattice.exact, mask)


def test_chunk_size_and_recorded_range() -> None:
    """No call receives more points than the chunk, and the range covers all values."""
    sizes = []

    def field(points: torch.Tensor) -> torch.Tensor:
        sizes.append(len(points))
        return sphere(points)

    sampler = _sampler(field)
    values = sampler(np.array(list(np.ndindex(17, 17, 17)), dtype=np.int32), 16)
    assert max(sizes) == 1000 and sum(sizes) == 17**3
    assert (sampler.low, sampler.high) == (values.min(), values.max())


def test_wrong_shapes_and_non_finite_values() -> None:
    """Errors name the field, the expected shape and the first invalid point."""
    index = np.zeros((4, 3), dtype=np.int32)
    with pytest.raises(ValueError, match=r"the test field must return .* shape \(4,\), got shape \(4, 1\)"):
        _sampler(lambda p: sphere(p)[:, None])(index, 16)
    with pytest.raises(LatentSDFError, match=r"test field is not finite at 4 of 4 points, the first at \(-1.0000, -1"):
        _sampler(lambda p: sphere(p) * torch.nan)(index, 16)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda points: points[:, :1], r"signed distances \(N,\), here \(\d+,\), got shape \(\d+, 1\)"),
        (lambda points: points[:, 0] > 0, "got a tensor of torch.bool"),
        (lambda points: points[:, 0].numpy() > 0, "got bool array"),
        (lambda points: points[:, 0] * 1j, "got a tensor of torch.complex64"),
        (lambda _: 1.0, r"got shape \(\)"),
        (lambda _: None, "got None"),
        (lambda _: "inside", "got str 'inside'"),
    ],
)
def test_functions_that_return_no_distances(returned: Callable[..., Any], message: str) -> None:
    """A function must return one real number per point, wherever it is used."""
    uses: tuple[Callable[..., Any], ...] = (extract, lambda shape: render(shape, size=8))
    for use in uses:
        with pytest.raises(ConfigError, match=f"a function of points .* {message}"):
            use(returned)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((2, 3)), r"got float64 array of shape \(2, 3\); convert with torch.as_tensor"),
        (None, "got None"),
        (torch.zeros(2, 3, dtype=torch.int64), "got a tensor of torch.int64"),
        (torch.zeros(3), r"got Tensor of shape \(3,\)"),
        (torch.zeros(2, 2), r"got Tensor of shape \(2, 2\)"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_points_of_a_field(points: Any, message: str) -> None:
    """A field refuses what is no table of points, and says how to convert it."""
    with pytest.raises(ConfigError, match=message):
        Field(sphere)(points)


@pytest.mark.parametrize(("radius", "side"), [(-0.5, "outside"), (3.0, "inside"), (0.7, "on either side")])
def test_side_in_empty_level_set_error(radius: float, side: str) -> None:
    """The error states on which side of the level all evaluated values are."""
    sampler = _sampler(lambda p: sphere(p, radius))
    sampler(np.array([[0, 0, 0], [8, 8, 8]], dtype=np.int32), 16)
    assert f", {side} of level 0, " in str(sampler.empty_level_set_error())


def test_field_in_frame_of_shape() -> None:
    """A field placed by a similarity has distances in units of that frame, gradients that are rotated, and its box."""
    similarity = Similarity((100.0, 0.0, -5.0), 0.1, 0.7)
    field = in_frame_of(sphere, similarity, "cpu")
    points = np.random.default_rng(0).uniform(-10, 10, (50, 3)) + similarity.center
    away = points - similarity.center
    expected = np.linalg.norm(away, axis=1) - 7
    at = torch.from_numpy(points).requires_grad_()
    found = field(at)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)
    found.sum().backward()
    np.testing.assert_allclose(at.grad.numpy(), away / np.linalg.norm(away, axis=1, keepdims=True), atol=1e-6)
    model = torch.from_numpy(similarity.to_model(points))
    torch.testing.assert_close(field.in_model_space()(model), sphere(model), atol=1e-6, rtol=0)


def test_normals_and_level_in_frame_of_shape() -> None:
    """A placed field is extracted at a level of its own unit, with outward normals in its own frame."""
    similarity = Similarity((100.0, 0.0, -5.0), 0.1, 0.7)
    slanted = in_frame_of(lambda points: points[:, 0] - 0.2, similarity, "cpu")
    mesh = extract(slanted, resolution=32, level=1.0, normals=True)
    inner = np.abs(similarity.to_model(mesh.vertices)).max(1) < 0.9
    np.testing.assert_allclose(similarity.to_model(mesh.vertices)[inner][:, 0], 0.3, atol=1e-6)
    np.testing.assert_allclose(mesh.vertex_normals[inner], similarity.rotation()[[0]].repeat(inner.sum(), 0), atol=1e-5)
