"""`latentsdf.train`, which trains a shape space and opens it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentsdf.config.arguments import check_arguments
from latentsdf.config.training import Config
from latentsdf.data.custom_source import BatchSource
from latentsdf.data.sdf_samples import Sampler
from latentsdf.data.store import SampleStore
from latentsdf.models.custom_model import ModelLike
from latentsdf.space import ShapeSpace, load
from latentsdf.training import checkpoint
from latentsdf.training.callbacks import CallbackLike
from latentsdf.training.custom_losses import LossFunction, with_losses
from latentsdf.training.train import train as train_to_folder
from latentsdf.utils.arrays import describe
from latentsdf.utils.errors import ConfigError


@check_arguments
def train(
    data: SampleStore | Path | str | None = None,
    config: Config | None = None,
    *,
    out: Path | str,
    source: BatchSource | str | None = None,
    sampler: Sampler | None = None,
    losses: Mapping[str, LossFunction | tuple[LossFunction, float | Sequence[float]]] | None = None,
    callbacks: Sequence[CallbackLike] = (),
    model: ModelLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
) -> ShapeSpace:
    """Train a shape space, write its checkpoint folder, and open it.

    With the same data, settings and seed, the result equals that of `latentsdf train`, bit for bit. Ctrl-C finishes
    the step, writes a checkpoint and raises KeyboardInterrupt.

    Args:
        data: A sample store, or its folder. None with a source.
        config: Settings, by default `Config()`; with `resume`, by default those of the run in `out`.
        out: Checkpoint folder to write.
        source: Source of batches instead of a store (`BatchSource`), or the name of one in an installed package, which
            then reads `data`.
        sampler: Chooses the samples of a shape in a batch instead of `train.draw`: a function of their signed distances
            (N,) as a tensor, the number of samples to choose, and a NumPy random generator, which returns indices.
        losses: Loss terms of your own by name: a function of a `TrainStep` that returns a scalar tensor, or a pair of
            such a function and its weight, a number or a schedule. Without it, the weight is that of `loss.extra`, or
            1. They are added to the loss and logged under their names.
        callbacks: Objects with methods of `Callback`, or functions of the run and the metrics, called after each step.
        model: A `torch.nn.Module` that maps points (S, P, 3) and codes (S, L) to signed distances (S, P), a
            subclass of `LatentSDF`, or a function of the section `model` of the settings that builds one. A module is
            copied, not changed. Pass it again to `load` to open the space.
        resume: Continue the run in `out`; only the budget (steps, epochs, minutes) may differ.
        overwrite: Replace the space in `out`.
        device: `cpu`, `cuda`, `cuda:N`, or `auto` for a GPU if there is one.

    Returns:
        The trained space. Metrics are in `out/metrics.jsonl`.

    Raises:
        ConfigError: A setting, source, sampler, loss, callback or model cannot be used.
        CheckpointError: `out` holds a space or other files, or the run to resume has another configuration.
        FileNotFoundError: There is no store `data`.
        StoreError: `data` is not a sample store, or lacks samples that the settings need.
        TrainingError: A loss or parameter is not finite, or a source, loss or callback raised an exception. The last
            checkpoint is kept.

    Example:
        >>> import latentsdf as ls
        >>> def small_codes(step):
        ...     return step.codes.square().mean()
        >>> space = ls.train("chairs.zarr", out="checkpoints/chairs", losses={"small_codes": (small_codes, 1e-3)})
    """
    if sampler is not None and not callable(sampler):
        raise ConfigError(f"sampler must be a function that chooses samples, got {describe(sampler)}")
    if config is None:
        config = checkpoint.load_config(Path(out)) if resume else Config()
    if isinstance(source, str):
        config, source = dataclasses.replace(config, train=dataclasses.replace(config.train, source=source)), None
    elif source is not None and data is not None:
        raise ConfigError("data and source were both given; a source of your own replaces the store, so leave data out")
    config, functions = with_losses(config, {} if losses is None else losses)
    options: dict[str, Any] = {"source": source, "sampler": sampler, "callbacks": callbacks, "model": model}
    train_to_folder(data, out, config, resume=resume, overwrite=overwrite, device=device, losses=functions, **options)
    return load(out, device, model=model)
