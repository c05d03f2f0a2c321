"""Loss terms as pure functions of tensors, grouped by the quantities they need."""
