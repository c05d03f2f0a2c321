"""Metrics of reconstructed surfaces and signed distances."""
