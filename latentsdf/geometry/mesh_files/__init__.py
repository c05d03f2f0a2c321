"""Readers of mesh files that compare what they read with what the file declares."""
