"""The offline job over a dataset: mesh files -> sample store. Run it as `latentsdf-preprocess`."""
