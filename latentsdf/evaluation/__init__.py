"""Evaluation of spaces against reference meshes, and reports."""
