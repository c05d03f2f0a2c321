"""Training of a shape space from a sample store to a checkpoint folder: set-up, loop, logs, checkpoints.

`trainer` and `objective` implement a single step.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import torch

from latentsdf.config.loader import to_dict
from latentsdf.config.training import Config
from latentsdf.data.custom_source import BatchSource, SourcePool
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.sampling_faults import note_known_faults
from latentsdf.data.sdf_samples import Sampler
from latentsdf.data.store import SampleStore
from latentsdf.models.custom_model import ModelLike
from latentsdf.training import checkpoint, distributed, memory_estimate
from latentsdf.training.callbacks import CallbackLike, Callbacks
from latentsdf.training.custom_losses import LossFunction
from latentsdf.training.logger import TrainingLogger, open_training_logger
from latentsdf.training.trainer import Trainer
from latentsdf.training.training_loop import run_training_loop
from latentsdf.utils import devices
from latentsdf.utils.artifacts import holds_artifact
from latentsdf.utils.atomic_files import full_disk_named
from latentsdf.utils.console import console, show_note
from latentsdf.utils.entry_points import load_entry_point
from latentsdf.utils.errors import CheckpointError, ConfigError
from latentsdf.utils.interrupts import defer_interrupts
from latentsdf.utils.malloc import keep_freed_memory
from latentsdf.utils.output_folders import require_writable_output

_FREE = ("steps", "epochs", "minutes", "log", "tensorboard")
"""Settings that may differ when a run is resumed: its budget and its logs."""


def train(
    data: SampleStore | Path | str | None,
    out: Path | str,
    config: Config | None = None,
    *,
    resume: bool = False,
    start_from: Path | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    source: BatchSource | None = None,
    sampler: Sampler | None = None,
    losses: Mapping[str, LossFunction] | None = None,
    callbacks: Sequence[CallbackLike] = (),
    model: ModelLike | None = None,
) -> dict[str, float]:
    """Train a shape space and write its checkpoint folder.

    Under `torchrun`, each process trains on `shapes_per_batch` shapes per step, and rank 0 writes. Ctrl-C finishes the
    step, writes a checkpoint and raises KeyboardInterrupt.

    Args:
        data: Sample store; with `train.source`, what this source reads; None if `source` is given.
        out: Checkpoint folder.
        config: Configuration; the defaults if None.
        resume: Continue the run in `out`; only the budget (steps, epochs, minutes) and the logs may differ. Under
            `torchrun`, which repeats a command after a failure, a run without a checkpoint starts from the beginning.
        start_from: Space whose networks, grid and codes the run starts from, instead of random ones. Shapes of `data`
            that it lacks start from its mean code; its shapes that `data` lacks are left out.
        overwrite: Replace the space in `out`.
        device: `cpu`, `cuda`, `cuda:N`, or `auto` for a GPU if there is one.
        source: Source of batches instead of a sample store.
        sampler: Draws the samples of a store instead of `train.draw`.
        losses: Functions of the losses in `loss.extra` that no installed package provides.
        callbacks: Called during the run, see `training.callbacks.Callback`.
        model: Model of the user's own, see `models.custom_model`; None for `LatentSDF`.

    Returns:
        Loss terms of the last step, with its number (`step`) and the training time (`seconds`).

    Raises:
        ConfigError: A source, sampler, loss, callback or model cannot be used, the model exceeds the memory, or its
            settings differ from those of `start_from`.
        CheckpointError: `out` holds a space or other files, the run to resume has another configuration, or the
            normalization of `data` is not that of `start_from`.
        StoreError: `data` is not a sample store, or lacks samples that the configuration needs.
        TrainingError: A loss or parameter is not finite, or a source, loss or callback raises an exception; the last
            checkpoint is kept. The message names the loss term and the shapes.
    """
    config = config or Config()
    out = Path(out)
    calls = Callbacks(callbacks)
    keep_freed_memory()
    if resume and distributed.is_torchrun() and not holds_artifact(out, "model.safetensors"):
        # A command that torchrun repeats after a failure has --resume from its first start.
        resume = False
        if distributed.is_main_process():
            show_note("note", f"{out}: has no checkpoint yet, so the run starts from the beginning")
    _check_output(out, config, resume=resume, overwrite=overwrite)
    where = devices.resolve(distributed.local_device(device))
    with distributed.distributed_context(where) as context:
        pool = _open_pool(data, config, where, context, source, sampler)
        if context.is_main_process:
            console.print(memory_estimate.describe_run(config, pool, model))
            if isinstance(pool, ShapeSamplePool):
                note_known_faults(pool.store.path, pool.known_faults)
        memory_estimate.require_enough_memory(config, pool, where, model)
        trainer = Trainer(pool, config, where, context, losses=losses, model=model)
        if start_from is not None and not resume:
            _start_from(trainer, Path(start_from), model)
        if resume:
            trainer.load(checkpoint.load(out, model=model), checkpoint.load_state(out))
        return fit(trainer, out, lambda: save(trainer, out), calls)


def _start_from(trainer: Trainer, space: Path, model: ModelLike | None) -> None:
    trained = checkpoint.load(space, trainer.device, model)
    if trainer.config.model != trained.config.model:
        raise ConfigError(f"{space}: a run that starts from a space has its model; leave out settings of the model")
    data = trainer.pool.store.path if isinstance(trainer.pool, ShapeSamplePool) else "the source"
    trained.require_normalization(trainer.normalization, data, space)
    trainer.start_from(trained)


def _open_pool(
    data: SampleStore | Path | str | None,
    config: Config,
    device: torch.device,
    context: distributed.DistributedContext,
    source: BatchSource | None,
    sampler: Sampler | None,
) -> ShapeSamplePool | SourcePool:
    if source is None and config.train.source:
        factory = load_entry_point("latentsdf.sources", config.train.source, "pass ls.train(source=...)")
        source = factory(data, config)
    if source is not None:
        if sampler is not None:
            raise ConfigError("a sampler draws from a sample store; with a source of your own, leave it out")
        return SourcePool(source, config.train, config.loss, rank=context.rank, world_size=context.world_size)
    if data is None:
        raise ConfigError("there is nothing to train on; pass a sample store as data, or a source")
    store = data if isinstance(data, SampleStore) else SampleStore.open(data)
    return ShapeSamplePool(
        store,
        store.keys(),
        config.train,
        config.loss,
        device=device,
        rank=context.rank,
        world_size=context.world_size,
        sampler=sampler,
    )


def fit(trainer: Trainer, out: Path, write: Callable[[], None], callbacks: Callbacks | None = None) -> dict[str, float]:
    """Run the training loop until the budget is spent, with logs and regular checkpoints.

    Args:
        trainer: The trainer; its sample pool is closed at the end.
        out: Folder for metrics and images.
        write: Writes a checkpoint; called on rank 0, regularly and at the end.
        callbacks: Called on rank 0.

    Returns:
        Loss terms of the last step, with its number (`step`) and the training time (`seconds`).

    Raises:
        KeyboardInterrupt: The run was interrupted; a checkpoint has been written.
        TrainingError: A loss or parameter is not finite, or a loss or callback raises an exception.
    """
    calls = callbacks or Callbacks()

    def write_checkpoint() -> None:
        write()
        calls("on_checkpoint", trainer, out)

    with full_disk_named(out):
        out.mkdir(parents=True, exist_ok=True)
    with trainer, defer_interrupts() as stopped:
        # Before the first step, so that reading does not count toward the wall-clock budget.
        trainer.pool.fill(trainer.step)
        if trainer.context.is_main_process:
            with open_training_logger(out, trainer.config, trainer.step) as logger:
                calls("on_start", trainer)
                metrics = _run_loop(trainer, stopped, logger, write_checkpoint, calls)
            write_checkpoint()
            calls("on_end", trainer, dict(metrics))
        else:
            metrics = _run_loop(trainer, stopped)
        trainer.context.barrier()
    if stopped.is_set():
        raise KeyboardInterrupt
    return metrics


def save(trainer: Trainer, out: Path) -> None:
    """Write the checkpoint folder of a run; raises TrainingError instead if a parameter is not finite."""
    trainer.require_finite_parameters()
    checkpoint.save(
        out,
        trainer.model,
        trainer.codes().detach(),
        trainer.keys,
        trainer.similarities,
        trainer.normalization,
        trainer.config,
        trainer.state_dict(),
        steps=trainer.step,
        augmented=trainer.augmented,
    )


def _run_loop(
    trainer: Trainer,
    stopped: Event,
    logger: TrainingLogger | None = None,
    write: Callable[[], None] | None = None,
    callbacks: Callbacks | None = None,
) -> dict[str, float]:
    """Take steps until the budget is spent or the run is stopped; the optional arguments are given on rank 0 only."""
    settings = trainer.config.train
    samples_per_step = trainer.pool.batch_shapes * trainer.context.world_size * settings.points_per_shape
    metrics: dict[str, float] = {}

    def on_step(terms: dict[str, float], seconds: float) -> str | None:
        metrics.clear()  # a term whose weight has fallen to 0 is not evaluated any more
        metrics.update({"step": trainer.step, "seconds": round(trainer.seconds, 3)} | terms)
        if callbacks is not None:
            callbacks("on_step", trainer, dict(metrics))
        if logger is None:
            return None
        logger.save_image_if_due(trainer)
        if trainer.step % settings.log_every:
            return None
        logger.log(metrics)
        values = "  ".join(f"{name} {value:.2e}" for name, value in terms.items())
        return f"step {trainer.step:,}  {values}  {samples_per_step / seconds:,.0f} samples/s"

    run_training_loop(
        trainer,
        "training",
        should_continue=lambda: not _synchronized_stop(trainer, stopped),
        on_step=on_step,
        save=write,
        save_seconds=60 * settings.checkpoint_minutes,
    )
    if logger is not None and metrics and int(metrics["step"]) % settings.log_every:
        logger.log(metrics)  # the last step, which `latentsdf info` reports
    return metrics


def _synchronized_stop(trainer: Trainer, stopped: Event) -> bool:
    """Return True if rank 0 was interrupted or a callback stopped the run.

    Synchronizes the elapsed time, on which schedules and budget depend.
    """
    here = [trainer.seconds, float(stopped.is_set()), float(trainer.stopped)]
    trainer.seconds, interrupted, ended = trainer.context.broadcast(here, trainer.device)
    if interrupted:
        stopped.set()
    return bool(interrupted or ended)


def _check_output(out: Path, config: Config, *, resume: bool, overwrite: bool) -> None:
    """Raise CheckpointError if existing files would be lost, or if the run to resume has another configuration."""
    if resume:
        trained = checkpoint.load_config(out)
        changed = _differences(to_dict(trained), to_dict(config))
        if changed:
            raise CheckpointError(
                f"{out}: was trained with preset '{trained.preset}', which differs from this configuration "
                f"('{config.preset}') in {', '.join(changed)}; pass the same --config, or another --out"
            )
    else:
        require_writable_output(
            out, "space", overwrite=overwrite, instead="pass --resume, --overwrite, or another --out"
        )


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """List the settings, other than budget and logs, that differ, with both values."""
    changed: list[str] = []
    for name, value in new.items():
        if isinstance(value, dict):
            gone = dict.fromkeys(old[name].keys() - value.keys())
            changed += _differences(old[name], value | gone, f"{prefix}{name}.")
        elif value != old.get(name) and name not in _FREE:
            changed.append(f"{prefix}{name} ({old.get(name)} -> {value})")
    return changed
