"""Memory estimate of a run."""

from dataclasses import replace
from pathlib import Path

from helpers.settings import small_config
from helpers.training import new_trainer

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
