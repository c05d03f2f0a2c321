"""Signed distance field of one shape from one point cloud."""
