"""Memory estimate of a run."""

from dataclasses import replace
from pathlib import Path

from helpers.settings import small_config
from helpers.training import new_trainer

from latentsdf.config import loader
from latentsdf.config.model import BranchConfig
from latentsdf.config.training import Config
from latentsdf.training import memory_estimate


def test_estimate_equals_allocated_tensors(store_path: Path) -> None:
    """The estimated parts equal the sizes of the tensors of a run."""
    config = small_config()
    run = new_trainer(store_path, config)
    run.train_step()
    need = memory_estimate.estimate_memory(config, run.pool)
    grid, table = run.grid_adam, run.model.grid
    assert grid is not None and table is not None
    assert need.grid == sum(x.nbytes for x in (table.table, grid.first, grid.second, grid.count)) + 4 * len(table.table)
    codes = run.code_adam
    assert need.codes == sum(x.nbytes for x in (codes.table, codes.first, codes.second, codes.count))
    assert need.networks == 4 * sum(p.nbytes for p in run.networks)
    assert need.samples == sum(part.nbytes for part in run.pool._parts)
    assert "exceeds free memory" not in memory_estimate.describe_run(config, run.pool)
    huge = replace(config, model=replace(config.model, grid=replace(config.model.grid, resolution=2000)))
    assert "exceeds free memory: lower train.memory_gb" in memory_estimate.describe_run(huge, run.pool)


def test_estimate_of_adam_tables(store_path: Path) -> None:
    """With Adam of the whole tables, grid and codes take 16 bytes per value: value, gradient and two moments."""
    config = small_config()
    adam = replace(config, train=replace(config.train, table_optimizer="adam"))
    run = new_trainer(store_path, adam)
    need = memory_estimate.estimate_memory(adam, run.pool)
    assert run.model.grid is not None
    table = run.model.grid.table
    assert need.grid == 4 * table.nbytes + 4 * len(table)
    assert need.codes == 4 * run.codes.table.nbytes


def test_estimate_of_activations(store_path: Path) -> None:
    """The general branch is evaluated at the off-surface samples, and as many of the band unless `lattice` is set.

    A split batch takes the memory of a part.
    """
    config = small_config()
    model = replace(config.model, overfit=replace(config.model.overfit, width=0), warp=BranchConfig(width=0))
    steps = {}
    for name, changes in {"plain": {}, "lattice": {"lattice": True}, "split": {"batch_split": 2}}.items():
        changed = replace(config, model=model, train=replace(config.train, free_share=1.0, **changes))
        pool = new_trainer(store_path, changed).pool
        steps[name] = memory_estimate.estimate_memory(changed, pool).step
    general = config.model.general
    assert steps["lattice"] == 4 * 4 * 512 * 2 * general.width * general.depth
    assert steps["plain"] == 2 * steps["lattice"] and steps["split"] == steps["lattice"]


def test_estimate_of_published_igr(store_path: Path) -> None:
    """A step of the preset `igr` takes less than the 24 GB of a GPU, for 16 of its 64 shapes at a time."""
    config = loader.load(Config, loader.find_preset("igr"))
    pool = new_trainer(store_path, small_config()).pool
    pool.batch_shapes = config.train.shapes_per_batch
    step = memory_estimate.estimate_memory(config, pool).step
    assert 15e9 < step < 24e9
