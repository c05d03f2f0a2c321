"""Meshes, point clouds and signed distances in numpy and numba; this package never imports torch."""
