"""Shared helpers of the tests: paths, settings, trainers, point sets, meshes, fields and assertions."""
