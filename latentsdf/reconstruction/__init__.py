"""Reconstruction of the signed distance field of one shape from one point cloud."""
