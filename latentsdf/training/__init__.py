"""Training of shape spaces: loop, step, objective, optimizers and checkpoints."""
