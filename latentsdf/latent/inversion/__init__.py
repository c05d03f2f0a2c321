"""Fitting of codes and of refined detail to observations of a shape."""
