"""Neural networks as torch modules: the dual-branch model and networks of single-shape fields."""
