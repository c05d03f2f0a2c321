"""Learning-rate schedules as factors of the peak learning rate.

With step k (from 0), W warm-up steps, progress p in [0, 1] through the budget, final share f, epoch e and H epochs per
halving:

    warm-up   w(k) = min(1, (k + 1) / W)
    cosine    c(p) = f + (1 - f) (1 + cos(pi p)) / 2
    halving   h(e) = 2^-floor(e / H)
    factor    w(k) c(p), or w(k) h(e) where H > 0

Progress depends on wall-clock budgets, so `torch.optim.lr_scheduler`, which counts steps, does not apply.
"""

import math

from latentsdf.config.training import TrainConfig


def learning_rate_factor(config: TrainConfig, step: int, progress: float, epoch: float) -> float:
    """Return the factor by which every peak learning rate is multiplied at a step.

    Args:
        config: Settings of the schedule.
        step: Number of completed steps.
        progress: Share of the budget spent.
        epoch: Number of passes over the shapes, with fractions.
    """
    halve = config.halve_epochs
    decay = halving(epoch, halve) if halve else cosine(progress, config.lr_final)
    return decay * warm_up(step, config.warmup_steps)


def cosine(progress: float, final: float) -> float:
    """Return the half-cosine decay from 1 at progress 0 to `final` at progress 1 and beyond."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def halving(count: float, interval: int) -> float:
    """Return 1 / 2 to the number of whole intervals, of steps or epochs, in `count`."""
    return 0.5 ** (count // interval)


def warm_up(step: int, steps: int) -> float:
    """Return the linear warm-up over the first `steps` steps; 1 without warm-up."""
    return min(1.0, (step + 1) / max(1, steps))


def ramp_up(epoch: float, epochs: int) -> float:
    """Return the linear increase from 0 to 1 over the first `epochs` epochs; 1 if `epochs` is 0.

    DeepSDF and Compact-SDF ramp their code and feature penalties this way, over 100 epochs.
    """
    return min(1.0, epoch / epochs) if epochs else 1.0
