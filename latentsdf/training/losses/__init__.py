"""Loss terms as pure functions of tensors, grouped by the quantities that they depend on."""
