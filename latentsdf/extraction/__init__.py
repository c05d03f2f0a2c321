"""Mesh extraction from signed distance fields."""
