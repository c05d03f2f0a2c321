"""Meshes, point clouds, signed distances and error metrics on numpy arrays, without torch."""
