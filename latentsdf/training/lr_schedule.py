"""How learning rates and weights change over a run: pure functions of how far it is."""

import math

from latentsdf.config.training import TrainConfig


def learning_rate(config: TrainConfig, step: int, progress: float, epoch: float) -> float:
    """Factor of every learning rate after `step` steps, the share `progress` of the budget and `epoch` passes."""
    halve = config.halve_epochs
    decay = 0.5 ** (epoch // halve) if halve else cosine(progress, config.lr_final)
    return decay * warm_up(step, config.warmup_steps)


def cosine(progress: float, final: float) -> float:
    """Half a cosine from 1 down to `final` over the run, then `final`."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def warm_up(step: int, steps: int) -> float:
    """Rises to 1 over the first `steps` steps; 1 where there are none."""
    return min(1.0, (step + 1) / max(1, steps))


def ramp(epoch: float, epochs: int) -> float:
    """Rises from 0 to 1 over the first `epochs` passes (METHODS 1.2); 1 where there are none."""
    return min(1.0, epoch / epochs) if epochs else 1.0
