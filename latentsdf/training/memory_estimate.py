"""Estimate of the memory of a training run, made before the model is allocated.

Parameters are float32. A network parameter takes 16 bytes: value, gradient and two Adam moments. The grid and the codes
take 8 bytes per value (value and first moment) and 8 per row (second moment and step count), or 16 per value with
`table_optimizer: adam`; a grid row also has an entry in the table of the rows that a batch reads.
"""

import math
from dataclasses import dataclass

import psutil
import torch

from latentsdf.config.training import Config
from latentsdf.data.custom_source import SourcePool
from latentsdf.data.importance_sampling import heat_point_count
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.models.custom_model import ModelLike
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.devices import without_values
from latentsdf.utils.memory_limit import require_memory


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of the parts of a run: parameters with moments and gradients, samples, and activations of one step."""

    networks: int
    grid: int
    codes: int
    samples: int
    step: int

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.networks + self.grid + self.codes + self.samples + self.step


def estimate_memory(config: Config, pool: ShapeSamplePool | SourcePool) -> MemoryEstimate:
    """Estimate the memory of a run.

    The activations are the outputs of all layers at all points of a part of a batch, which the backward pass needs.

    Args:
        config: Configuration of the run.
        pool: Samples of the run.
    """
    with without_values():
        model = LatentSDF(config.model)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    grid = sizes.pop("grid.table", 0)
    settings, layers = config.train, config.model
    rows = (layers.grid.resolution + 1) ** 3 if grid else 0
    free = round(settings.points_per_shape * settings.free_share)
    # A linear layer and an activation each store an output; a grid lookup stores 8 weights, rows and features per
    # point.
    per_general, per_overfit, per_warp = (2 * b.width * b.depth for b in (layers.general, layers.overfit, layers.warp))
    band = settings.points_per_shape
    # With `lattice`, the general branch is not evaluated in the band.
    values = (1 if settings.lattice else 2) * free * per_general
    values += band * (per_overfit + (24 + 4 * layers.grid.channels if grid else 0))
    values += (free + band) * per_warp
    if settings.samples == "points":
        # The spatial gradients need as many activations as the values.
        box = config.loss.regularizer_points + heat_point_count(config.loss)
        values = 2 * (2 * band + box) * (per_general + per_warp)
    codes = 8 * layers.code_size + (16 if layers.local_size else 8)
    grid_bytes = 8 * grid + 12 * rows
    if settings.table_optimizer == "adam":
        codes, grid_bytes = 16 * layers.code_size, 16 * grid + 4 * rows
    return MemoryEstimate(
        networks=16 * sum(sizes.values()),
        grid=grid_bytes,
        codes=len(pool.keys) * codes,
        samples=pool.nbytes,
        step=4 * math.ceil(pool.batch_shapes / settings.batch_split) * values,
    )


def describe_run(config: Config, pool: ShapeSamplePool | SourcePool, model: ModelLike | None = None) -> str:
    """Return a line with the size of the run, its estimated memory by part, and the free memory.

    The memory of a model of the user's own is not estimated.
    """
    shapes = len(pool.keys)
    if model is not None:
        return f"preset {config.preset}: {shapes} shapes, codes of {config.model.code_size}, a model of your own"
    estimate = estimate_memory(config, pool)
    names = ("networks", "grid", "codes", "samples", "step")
    parts = ", ".join(f"{name} {getattr(estimate, name) / 1e9:.2f}" for name in names)
    available = psutil.virtual_memory().available
    streamed = f", {pool.slots} of them resident with {100 * pool.share:.0f} % of their samples" if pool.streams else ""
    short = " (exceeds free memory: lower train.memory_gb, the grid or the batch)" if estimate.total > available else ""
    return (
        f"preset {config.preset}: {shapes} shapes{streamed}, codes of {config.model.code_size}; about "
        f"{estimate.total / 1e9:.2f} GB ({parts}), {available / 1e9:.1f} GB free{short}"
    )


def require_enough_memory(
    config: Config, pool: ShapeSamplePool | SourcePool, device: torch.device, model: ModelLike | None = None
) -> None:
    """Raise ConfigError if networks, grid and codes of a run exceed the memory of the device.

    The memory of a model of the user's own is not estimated.
    """
    if model is None:
        estimate = estimate_memory(config, pool)
        parts = estimate.networks + estimate.grid + estimate.codes
        require_memory(parts, "the model", device, "lower the settings of the section model, such as the grid")
