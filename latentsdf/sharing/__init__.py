"""Spaces that are shared: where they are, small files, model cards."""
