"""Latent codes: prior, decoding, interpolation, inversion and retrieval."""
