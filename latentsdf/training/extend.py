"""Shapes added to a trained space: new codes for the shapes of another store, networks and grid as they are."""

import dataclasses
from pathlib import Path

import torch

from latentsdf.config.training import Config
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.store import SampleStore
from latentsdf.training import checkpoint, distributed, memory_estimate
from latentsdf.training.train import fit
from latentsdf.training.trainer import Trainer
from latentsdf.utils import devices
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import CheckpointError, ConfigError
from latentsdf.utils.malloc import keep_freed_memory
from latentsdf.utils.output_folders import require_writable_output


def extend(
    space: Path | str,
    data: Path | str,
    out: Path | str,
    config: Config,
    *,
    fine_tune: bool = False,
    overwrite: bool = False,
    device: str = "auto",
) -> dict[str, float]:
    """Add the shapes of a store that a space does not know yet and write the larger space; returns the last metrics.

    Old shapes keep rows, ids and codes, bit for bit. With `fine_tune` networks and grid learn too, from all shapes of
    the store, and the codes of old shapes that are in it move with them. `config` is the space's, with another budget
    where wanted. Raises ConfigError when there is nothing to add or another model is asked for, CheckpointError when
    `out` holds a space already, or anything else, and when the store's frame is another one.
    """
    if distributed.processes() > 1:
        raise ConfigError("a space is extended by one process; run `latentsdf train --extend` without torchrun")
    space, out = Path(space), Path(out)
    keep_freed_memory()
    require_writable_output(out, "space", overwrite=overwrite)
    where = devices.resolve(device)
    trained = checkpoint.load(space, where)
    store = SampleStore.open(data)
    if config.model != trained.config.model:
        raise ConfigError(f"{space}: extending keeps the model as it is; leave the settings of model out")
    if store.config.normalization != trained.normalization:
        raise CheckpointError(
            f"{data}: its shapes were brought to model space by '{store.config.normalization}', those of {space} by "
            f"'{trained.normalization}'; preprocess with --normalization {trained.normalization}"
        )
    known = set(trained.keys)
    new = [key for key in store if key not in known]
    if not new:
        raise ConfigError(f"{data}: all of its {len(store)} shapes are in {space} already; there is nothing to add")
    pool = ShapeSamplePool(store, store.keys() if fine_tune else new, config.train, config.loss, device=where)
    absent = len(known - set(store.keys()))
    if fine_tune and absent:
        show_note("note", f"fine-tuning sees no samples of {absent} old shapes, which may get worse: {data} lacks them")
    console.print(memory_estimate.describe(config, pool))
    run = _start(pool, config, where, trained, fine_tune)
    metrics = fit(run, out, lambda: _write(run, out, trained))
    return metrics


def _start(
    pool: ShapeSamplePool, config: Config, device: torch.device, trained: checkpoint.Checkpoint, fine_tune: bool
) -> Trainer:
    """A run on the trained model; new codes start at the mean of the trained ones."""
    run = Trainer(pool, config, device, trains_model=fine_tune)
    run.model.load_state_dict(trained.model.state_dict())
    row = {key: number for number, key in enumerate(trained.keys)}
    mean = trained.codes.mean(0)
    run.codes.table.data.copy_(torch.stack([trained.codes[row[k]] if k in row else mean for k in pool.keys]))
    return run


def _write(run: Trainer, out: Path, trained: checkpoint.Checkpoint) -> None:
    """The space of old and new shapes; it has no state to resume from, as its rows are of two stores."""
    run.require_finite()
    learned = dict(zip(run.keys, run.codes.table.detach(), strict=True))
    similarity = dict(zip(run.keys, run.similarities, strict=True))
    new = [key for key in run.keys if key not in set(trained.keys)]
    old = [learned.get(key, code) for key, code in zip(trained.keys, trained.codes, strict=True)]
    checkpoint.save(
        out,
        run.model,
        torch.stack(old + [learned[key] for key in new]),
        trained.keys + new,
        trained.similarities + [similarity[key] for key in new],
        trained.normalization,
        dataclasses.replace(trained.config, train=run.config.train),
        None,
        steps=run.step,
    )
