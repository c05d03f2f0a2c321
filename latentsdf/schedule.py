"""How learning rates and weights change over a run: pure functions of how far it is."""

import math

from latentsdf.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, progress: float, epoch: float) -> float:
    """Factor of every learning rate after `step` steps, the share `progress` of the budget and `epoch` passes."""
    if config.schedule == "halving":
        decay = 0.5 ** (epoch // config.halve_epochs)
    else:
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        decay = config.lr_final + (1 - config.lr_final) * cosine
    return decay * min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else decay


def ramp(epoch: float, epochs: int) -> float:
    """Rises from 0 to 1 over the first `epochs` passes (METHODS 1.2); 1 where there are none."""
    return min(1.0, epoch / epochs) if epochs else 1.0
