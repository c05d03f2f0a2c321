"""Assertions about meshes, and dense reference lattices."""

import numpy as np
import torch
from scipy.spatial import KDTree
from skimage.measure import marching_cubes as dense_marching_cubes


def dense(field, resolution):
    """Field values on the vertices of the dense lattice, (R + 1)^3."""
    axis = torch.linspace(-1, 1, resolution + 1, dtype=torch.float64).float()
    points = torch.cartesian_prod(axis, axis, axis)
    return field(points).reshape((resolution + 1,) * 3).numpy()


def dense_vertices(values):
    """Zero crossings of dense values by scikit-image's marching cubes, in model space."""
    vertices = dense_marching_cubes(values, 0.0, method="lorensen")[0].astype(np.float64)
    return vertices * (2 / (len(values) - 1)) - 1


def assert_same_points(a, b, tolerance):
    """Assert that two point sets have the same size and are within a tolerance of each other."""
    assert len(a) == len(b)
    assert KDTree(a).query(b)[0].max() < tolerance
    assert KDTree(b).query(a)[0].max() < tolerance


def assert_closed(mesh):
    """Assert that a mesh is closed, oriented and edge-manifold, without unused vertices or faces of zero area."""
    edges = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    forward = np.sort(edges[:, 0] * len(mesh.vertices) + edges[:, 1])
    backward = np.sort(edges[:, 1] * len(mesh.vertices) + edges[:, 0])
    assert np.all(np.diff(forward) > 0) and np.array_equal(forward, backward)
    assert len(np.unique(mesh.faces)) == len(mesh.vertices)
    assert mesh.area_faces.min() > 0
