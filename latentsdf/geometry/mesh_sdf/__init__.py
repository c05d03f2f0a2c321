"""Signed distance of triangle meshes: at points, in a narrow band of a lattice, and on a whole lattice."""
