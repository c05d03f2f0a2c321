"""Training a shape space, from a store to a checkpoint: what is stepped, logged, pictured and written."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import Any

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
    """Train a shape space on a sample store and write its checkpoint folder; returns the last logged metrics.

    Under `torchrun` every process takes `shapes_per_batch` shapes a step, and the first one writes. Ctrl-C ends the
    step, writes a checkpoint and raises KeyboardInterrupt. A loss that is not finite raises TrainingError naming the
    term and the shapes, and keeps the last good checkpoint. Raises ConfigError for settings out of range,
    CheckpointError where `out` holds a space already, or anything else.
    """
    config = config or Config()
    out = Path(out)
    keep_freed_memory()
    _check_output(out, config, resume=resume, overwrite=overwrite)
    store = SampleStore.open(data)
    where = devices.resolve(distributed.local_device(device))
    with distributed.distributed_context(where) as context:
        pool = ShapeSamplePool(
            store, store.keys(), config.train, config.loss, device=where, rank=context.rank, world=context.world
        )
        if context.is_main_process:
            console.print(memory_estimate.describe(config, pool))
        run = Trainer(pool, config, where, context)
        if resume:
            run.load(checkpoint.load(out), checkpoint.load_state(out))
        return fit(run, out, lambda: save(run, out))


def fit(run: Trainer, out: Path, write: Callable[[], None]) -> dict[str, float]:
    """Run the loop in its context, writing the checkpoint now and then and at the end; returns the last metrics."""
    out.mkdir(parents=True, exist_ok=True)
    with run, defer_interrupts() as stopped:
        run.pool.fill(run.step)
        if run.context.is_main_process:
            with open_training_logger(out, run.config.train, run.step) as logger:
                metrics = _loop(run, stopped, logger, write)
            write()
        else:
            metrics = _loop(run, stopped)
        run.context.wait()
    if stopped.is_set():
        raise KeyboardInterrupt
    return metrics


def save(run: Trainer, out: Path) -> None:
    """Write the checkpoint folder; raises TrainingError instead when a parameter is not finite."""
    run.require_finite()
    checkpoint.save(
        out,
        run.model,
        run.codes.table,
        run.keys,
        run.similarities,
        run.normalization,
        run.config,
        run.state_dict(),
        steps=run.step,
    )


def _loop(
    run: Trainer, stopped: Event, logger: TrainingLogger | None = None, write: Callable[[], None] | None = None
) -> dict[str, float]:
    """Steps until the budget is spent or the event is set; the process with the logger logs and checkpoints."""
    settings = run.config.train
    per_step = run.pool.batch_shapes * run.context.world * settings.points_per_shape
    metrics: dict[str, float] = {}

    def on_step(terms: dict[str, float], seconds: float) -> str | None:
        metrics.update({"step": run.step, "seconds": round(run.seconds, 3)} | terms)
        if logger is None:
            return None
        logger.picture(run)
        if run.step % settings.log_every:
            return None
        logger.note(metrics)
        values = "  ".join(f"{name} {value:.2e}" for name, value in terms.items())
        return f"step {run.step:,}  {values}  {per_step / seconds:,.0f} samples/s"

    run_training_loop(
        run,
        "training",
        should_continue=lambda: not _agreed(run, stopped),
        on_step=on_step,
        save=write,
        save_seconds=60 * settings.checkpoint_minutes,
    )
    return metrics


def _agreed(run: Trainer, stopped: Event) -> bool:
    """Has the leader been told to stop? Its clock is everybody's, so that all schedules and ends agree."""
    run.seconds, stop = run.context.follow([run.seconds, float(stopped.is_set())], run.device)
    if stop:
        stopped.set()
    return bool(stop)


def _check_output(out: Path, config: Config, *, resume: bool, overwrite: bool) -> None:
    """Refuse to lose a trained space or anything else, or to resume another one."""
    if resume:
        trained = checkpoint.load_config(out)
        # A longer budget is the point of resuming; everything else must be the same run.
        changed = _differences(asdict(trained), asdict(config))
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
    changed: list[str] = []
    for name, value in new.items():
        if isinstance(value, dict):
            changed += _differences(old[name], value, f"{prefix}{name}.")
        elif value != old[name] and name not in ("steps", "epochs", "minutes"):
            changed.append(f"{prefix}{name} ({old[name]} -> {value})")
    return changed
