"""What a run will hold in memory, known before any of it is allocated."""

from dataclasses import dataclass

import psutil
import torch

from latentsdf.config.training import Config
from latentsdf.data.mixture import heat_point_count
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.models.latent_sdf import LatentSDF


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of the parts of a run: parameters with their moments and gradients, samples, and one step's activations."""

    networks: int
    grid: int
    codes: int
    samples: int
    step: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.networks + self.grid + self.codes + self.samples + self.step


def memory_need(config: Config, pool: ShapeSamplePool) -> MemoryNeed:
    """The estimate; the step's part counts the outputs of all layers at all points, kept for the backward pass."""
    with torch.device("meta"):
        model = LatentSDF(config.model)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    grid = sizes.pop("grid.table", 0)
    settings, layers = config.train, config.model
    rows = (layers.grid.resolution + 1) ** 3 if grid else 0
    free = round(settings.points_per_shape * settings.free_share)
    # Linear layer and activation each leave their output; the grid's lookup eight weights, rows and the features.
    per_general, per_overfit, per_warp = (2 * b.width * b.depth for b in (layers.general, layers.overfit, layers.warp))
    band = settings.points_per_shape
    values = (2 * free) * per_general + band * (per_overfit + (24 + 4 * layers.grid.channels if grid else 0))
    values += (free + band) * per_warp
    if settings.samples == "points":
        # The gradient's own pass leaves as much as the values' does.
        box = config.loss.regularizer_points + heat_point_count(config.loss)
        values = 2 * (2 * band + box) * (per_general + per_warp)
    return MemoryNeed(
        networks=16 * sum(sizes.values()),
        grid=8 * grid + 12 * rows,
        codes=len(pool.keys) * (8 * layers.code_dim + 8),
        samples=pool.nbytes,
        step=4 * pool.batch_shapes * values,
    )


def describe(config: Config, pool: ShapeSamplePool) -> str:
    """What is about to be trained and the memory it takes, beside what is free."""
    need, shapes = memory_need(config, pool), len(pool.keys)
    names = ("networks", "grid", "codes", "samples", "step")
    parts = ", ".join(f"{name} {getattr(need, name) / 1e9:.2f}" for name in names)
    available = psutil.virtual_memory().available
    streamed = f", {pool.slots} of them resident with {100 * pool.share:.0f} % of their samples" if pool.streams else ""
    short = " MORE THAN IS FREE: lower train.memory_gb, the grid or the batch" if need.total > available else ""
    return (
        f"preset {config.preset}: {shapes} shapes{streamed}, codes of {config.model.code_dim}; about "
        f"{need.total / 1e9:.2f} GB ({parts}), {available / 1e9:.1f} GB free{short}"
    )
