"""Normals of analytic fields."""

import numpy as np
import torch
from helpers.fields import sphere

from latentsdf.extraction.extract import extract
from latentsdf.extraction.normals import finite_difference_normals, gradient_normals


def test_gradient_and_difference_normals_of_sphere() -> None:
    """Both methods give the unit radial direction away from the center."""
    points = torch.nn.functional.normalize(torch.randn(100, 3, generator=torch.Generator().manual_seed(0)), dim=1) * 0.6
    radial = torch.nn.functional.normalize(points, dim=1)
    torch.testing.assert_close(gradient_normals(sphere, points), radial, atol=1e-5, rtol=0)
    torch.testing.assert_close(finite_difference_normals(sphere, points), radial, atol=1e-3, rtol=0)


def test_normals_of_non_differentiable_field():
    """A field that converts its points to NumPy gets normals by central differences."""

    def measured(points):
        return torch.from_numpy(np.linalg.norm(points.numpy(), axis=1) - 0.7)

    mesh = extract(measured, resolution=64, normals=True)
    radial = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    np.testing.assert_allclose(mesh.vertex_normals, radial, atol=1e-3)


def test_normals_of_cap():
    """Cap vertices have the normal of the box's side, other vertices the radial gradient."""
    mesh = extract(lambda p: sphere(p, 1.2), resolution=32, normals=True)
    inner = (np.abs(mesh.vertices) < 0.999).all(axis=1)
    top = (mesh.vertices[:, 1] > 0.999) & (np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 2]) < 0.5)
    assert inner.any() and top.any()
    np.testing.assert_allclose(mesh.vertex_normals[top], np.tile([0.0, 1, 0], (top.sum(), 1)), atol=1e-6)
    radial = mesh.vertices[inner] / np.linalg.norm(mesh.vertices[inner], axis=1, keepdims=True)
    np.testing.assert_allclose(mesh.vertex_normals[inner], radial, atol=1e-5)
