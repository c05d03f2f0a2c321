"""Settings of each reconstruction method, one module per method."""
