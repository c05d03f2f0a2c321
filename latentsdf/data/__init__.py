"""Sample stores, datasets, exchange formats, and batches of training samples."""
