"""Training of a shape space from a sample store to a checkpoint folder: set-up, loop, logs, checkpoints.

`trainer` and `objective` implement a single step.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from latentsdf.config.loader import to_dict
from latentsdf.config.training import Config
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.store import SampleStore
from latentsdf.training import checkpoint, distributed, memory_estimate
from latentsdf.training.logger import TrainingLogger, open_training_logger
from latentsdf.training.trainer import Trainer
from latentsdf.training.training_loop import run_training_loop
from latentsdf.utils import devices
from latentsdf.utils.console import console
from latentsdf.utils.errors import CheckpointError
from latentsdf.utils.interrupts import defer_interrupts
from latentsdf.utils.malloc import keep_freed_memory
from latentsdf.utils.output_folders import require_writable_output


def train(
    data: Path | str,
    out: Path | str,
    config: Config | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
) -> dict[str, float]:
    """Train a shape space on a sample store and write its checkpoint folder.

    Under `torchrun`, each process trains on `shapes_per_batch` shapes per step, and rank 0 writes. Ctrl-C finishes the
    step, writes a checkpoint and raises KeyboardInterrupt.

    Args:
        data: Sample store.
        out: Checkpoint folder.
        config: Configuration; the defaults if None.
        resume: Continue the run in `out`; only the budget (steps, epochs, minutes) may differ.
        overwrite: Replace the space in `out`.
        device: `cpu`, `cuda`, `cuda:N`, or `auto` for a GPU if there is one.

    Returns:
        Loss terms of the last step, with its number (`step`) and the training time (`seconds`).

    Raises:
        CheckpointError: `out` holds a space or other files, or the run to resume has another configuration.
        StoreError: `data` is not a sample store, or lacks samples that the configuration needs.
        TrainingError: A loss or parameter is not finite; the last checkpoint is kept. The message names the loss term
            and the shapes.
    """
    config = config or Config()
    out = Path(out)
    keep_freed_memory()
    _check_output(out, config, resume=resume, overwrite=overwrite)
    store = SampleStore.open(data)
    where = devices.resolve(distributed.local_device(device))
    with distributed.distributed_context(where) as context:
        pool = ShapeSamplePool(
            store, store.keys(), config.train, config.loss, device=where, rank=context.rank, world=context.world_size
        )
        if context.is_main_process:
            console.print(memory_estimate.describe_run(config, pool))
        trainer = Trainer(pool, config, where, context)
        if resume:
            trainer.load(checkpoint.load(out), checkpoint.load_state(out))
        return fit(trainer, out, lambda: save(trainer, out))


def fit(trainer: Trainer, out: Path, write: Callable[[], None]) -> dict[str, float]:
    """Run the training loop until the budget is spent, with logs and regular checkpoints.

    Args:
        trainer: The trainer; its sample pool is closed at the end.
        out: Folder for metrics and pictures.
        write: Writes a checkpoint; called on rank 0, regularly and at the end.

    Returns:
        Loss terms of the last step, with its number (`step`) and the training time (`seconds`).

    Raises:
        KeyboardInterrupt: The run was interrupted; a checkpoint has been written.
        TrainingError: A loss or parameter is not finite.
    """
    out.mkdir(parents=True, exist_ok=True)
    with trainer, defer_interrupts() as stopped:
        # Before the first step, so that reading does not count towards the wall-clock budget.
        trainer.pool.fill(trainer.step)
        if trainer.context.is_main_process:
            with open_training_logger(out, trainer.config.train, trainer.step) as logger:
                metrics = _run_loop(trainer, stopped, logger, write)
            write()
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
        trainer.codes.table,
        trainer.keys,
        trainer.similarities,
        trainer.normalization,
        trainer.config,
        trainer.state_dict(),
        steps=trainer.step,
        augmented=trainer.augmented,
    )


def _run_loop(
    trainer: Trainer, stopped: Event, logger: TrainingLogger | None = None, write: Callable[[], None] | None = None
) -> dict[str, float]:
    """Take steps until the budget is spent or `stopped` is set. `logger` and `write` are None on ranks other than 0."""
    settings = trainer.config.train
    samples_per_step = trainer.pool.batch_shapes * trainer.context.world_size * settings.points_per_shape
    metrics: dict[str, float] = {}

    def on_step(terms: dict[str, float], seconds: float) -> str | None:
        metrics.update({"step": trainer.step, "seconds": round(trainer.seconds, 3)} | terms)
        if logger is None:
            return None
        logger.save_picture_if_due(trainer)
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
    return metrics


def _synchronized_stop(trainer: Trainer, stopped: Event) -> bool:
    """Return True if rank 0 was interrupted, and synchronize the elapsed time, on which schedules and budget depend."""
    trainer.seconds, stop = trainer.context.broadcast([trainer.seconds, float(stopped.is_set())], trainer.device)
    if stop:
        stopped.set()
    return bool(stop)


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
    """List the settings, other than the budget, that differ, with both values."""
    changed: list[str] = []
    for name, value in new.items():
        if isinstance(value, dict):
            changed += _differences(old[name], value, f"{prefix}{name}.")
        elif value != old[name] and name not in ("steps", "epochs", "minutes"):
            changed.append(f"{prefix}{name} ({old[name]} -> {value})")
    return changed
