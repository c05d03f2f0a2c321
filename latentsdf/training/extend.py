"""Extension of a trained space by new shapes of a sample store."""

import dataclasses
from pathlib import Path

import torch

from latentsdf.config.training import Config
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.sampling_faults import note_known_faults
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
    """Add the shapes of a sample store to a space and write the larger space.

    Shapes of the space keep their rows and ids. Without fine-tuning, networks, grid and existing codes are unchanged
    bit for bit, and only the codes of the new shapes are trained.

    Args:
        space: Checkpoint folder of the space.
        data: Sample store with shapes that the space does not have.
        out: Checkpoint folder to write.
        config: Configuration of the space, possibly with other training settings.
        fine_tune: Train networks, grid and the codes of all shapes of the store.
        overwrite: Replace the space in `out`.
        device: `cpu`, `cuda`, `cuda:N`, or `auto` for a GPU if there is one.

    Returns:
        Loss terms of the last step, with its number (`step`) and the training time (`seconds`).

    Raises:
        ConfigError: There are no new shapes, the model settings differ from those of the space, or several processes
            were started.
        CheckpointError: `out` is not empty, the store has another normalization than the space, or the space was packed
            with only some of its training codes.
    """
    if distributed.world_size() > 1:
        raise ConfigError("a space is extended by one process; run `latentsdf train --extend` without torchrun")
    space, out = Path(space), Path(out)
    keep_freed_memory()
    require_writable_output(out, "space", overwrite=overwrite)
    where = devices.resolve(device)
    trained = checkpoint.load(space, where)
    if trained.prior is not None:
        raise CheckpointError(
            f"{space}: holds only {len(trained.keys)} of its training shapes, so the distribution of all of them would "
            "be lost; extend the space that it was packed from, or start a run on other shapes from it (--start-from)"
        )
    store = SampleStore.open(data)
    if config.model != trained.config.model:
        raise ConfigError(f"{space}: extending does not change the model; leave out settings of the section model")
    trained.require_normalization(store.config.normalization, data, space)
    known = set(trained.keys)
    new = [key for key in store if key not in known]
    if not new:
        raise ConfigError(f"{data}: all of its {len(store)} shapes are already in {space}; there is nothing to add")
    pool = ShapeSamplePool(store, store.keys() if fine_tune else new, config.train, config.loss, device=where)
    absent = len(known - set(store.keys()))
    if fine_tune and absent:
        show_note("note", f"{data} has no samples of {absent} old shapes, so fine-tuning may make them worse")
    console.print(memory_estimate.describe_run(config, pool))
    note_known_faults(store.path, pool.known_faults)
    memory_estimate.require_enough_memory(config, pool, where)
    trainer = Trainer(pool, config, where, freeze_model=not fine_tune)
    trainer.start_from(trained)
    return fit(trainer, out, lambda: _save_extended(trainer, out, trained))


def _save_extended(trainer: Trainer, out: Path, trained: checkpoint.Checkpoint) -> None:
    """Save the space of old and new shapes without a state, because resuming needs all shapes in one store."""
    trainer.require_finite_parameters()
    learned = dict(zip(trainer.keys, trainer.codes().detach(), strict=True))
    similarity = dict(zip(trainer.keys, trainer.similarities, strict=True))
    new = [key for key in trainer.keys if key not in set(trained.keys)]
    old = [learned.get(key, code) for key, code in zip(trained.keys, trained.codes, strict=True)]
    checkpoint.save(
        out,
        trainer.model,
        torch.stack(old + [learned[key] for key in new]),
        trained.keys + new,
        trained.similarities + [similarity[key] for key in new],
        trained.normalization,
        dataclasses.replace(trained.config, train=trainer.config.train),
        None,
        steps=trainer.step,
        augmented=trained.augmented | trainer.augmented,
    )
