"""Batch preprocessing of a dataset: mesh files to a sample store. Run it as `latentsdf-preprocess`."""
