"""Utilities without knowledge of shapes or models."""
