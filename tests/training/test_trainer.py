"""One optimization step: code bound, weight decay, split batches, Adam, and losses that are not finite."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.settings import small_config
from helpers.training import new_trainer

import latentsdf as ls
from latentsdf.config.model import Branch
from latentsdf.config.training import LossConfig
from latentsdf.training.checkpoint import Checkpoint
from latentsdf.training.lr_schedule import learning_rate_factor


def test_code_bound(store_path: Path) -> None:
    """Codes are projected onto the ball of radius `code_bound`."""
    run = new_trainer(store_path, small_config(code_std=2.0, code_bound=0.5, lr_code=0.0))
    assert run.codes.table.norm(dim=1).min() > 0.5
    run.train_step()
    torch.testing.assert_close(run.codes.table.norm(dim=1), torch.full((4,), 0.5))


def test_code_decay_of_conditioning_weights(store_path: Path) -> None:
    """Weight decay applies to the weights that multiply codes, and to no others."""
    plain, decayed = (new_trainer(store_path, small_config(code_decay=decay)) for decay in (0.0, 100.0))
    start = {name: value.clone() for name, value in plain.model.named_parameters()}
    for run in (plain, decayed):
        run.train_step()
    rate = small_config().train.lr_network * learning_rate_factor(small_config().train, 0, 0.0, 0)
    by_code = {id(weight) for layer in decayed.model.conditioned_layers() for weight in layer.code_weights()}
    without = dict(plain.model.named_parameters())
    for name, value in decayed.model.named_parameters():
        lost = 100 * rate * start[name] if id(value) in by_code else 0.0
        torch.testing.assert_close(value, without[name] - lost)
    assert len(by_code) == 2 * len(decayed.model.conditioned_layers())


def test_shape_with_nonfinite_samples(store_path: Path) -> None:
    """The error names the one shape whose samples are not finite."""
    run = new_trainer(store_path, small_config())
    run.train_step()
    run.pool._parts[2].offsurface[:, 3] = np.nan
    with pytest.raises(ls.TrainingError, match="step 1: the general term is not finite for table/table_0002. The last"):
        run.train_step()


@pytest.mark.slow
@pytest.mark.parametrize("branch", ["general", "overfit"])
def test_shape_with_nonfinite_code(branch: Branch, store_path: Path) -> None:
    """The error names the one shape whose code is not finite."""
    loss = LossConfig(code=1e-4, feature=1e-4, eikonal=0.01, regularizer_branch=branch, agreement=0.1)
    run = new_trainer(store_path, replace(small_config(), loss=loss))
    run.train_step()
    run.codes.table.data[2, 1] = np.nan
    with pytest.raises(
        ls.TrainingError, match=r"step 1: the .*code and .*general.* not finite for table/table_0002\. The"
    ):
        run.train_step()


@pytest.mark.slow
def test_shapes_affected_by_nonfinite_network(store_path: Path) -> None:
    """A weight that is not finite makes the terms of every shape not finite."""
    run = new_trainer(store_path, small_config())
    run.train_step()
    assert run.model.warp is not None
    next(run.model.warp.parameters()).data.view(-1)[0] = np.nan
    expected = r"the general and overfit term is not finite for (table/table_000\d(, )?){4}\. The last"
    with pytest.raises(ls.TrainingError, match=expected):
        run.train_step()


@pytest.mark.parametrize("optimizer", ["row_adam", "adam"])
def test_split_batch(store_path: Path, optimizer: str) -> None:
    """A batch in parts gives the terms and the step of the whole batch, up to rounding."""
    config = small_config(bf16=False)
    loss = LossConfig(code=1e-3, feature=1e-4, eikonal=0.01, regularizer_points=8)
    config = replace(config, loss=loss, train=replace(config.train, table_optimizer=optimizer))  # type: ignore[arg-type]
    whole = new_trainer(store_path, config)
    split = new_trainer(store_path, replace(config, train=replace(config.train, batch_split=3)))
    for _ in range(2):
        assert split.train_step() == pytest.approx(whole.train_step(), rel=1e-3)
    moved = whole.config.train.lr_grid
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(split.model.state_dict()[name], value, atol=0.05 * moved, rtol=1e-3)
    torch.testing.assert_close(split.codes.table, whole.codes.table, atol=1e-4, rtol=1e-3)


def test_codes_by_adam(store_path: Path) -> None:
    """With `table_optimizer: adam`, codes move as torch's Adam moves them, also those that a step does not read."""
    config = small_config(bf16=False, shapes_per_batch=2, lr_code=0.01, beta2=0.999, warmup_steps=0)
    run = new_trainer(store_path, replace(config, train=replace(config.train, table_optimizer="adam")))
    reference = run.codes.table.detach().clone().requires_grad_()
    adam = torch.optim.Adam([reference], lr=0.01, betas=(0.9, 0.999))
    step = run.code_adam.step

    def recorded(rows: torch.Tensor, gradient: torch.Tensor) -> None:
        reference.grad = torch.zeros_like(reference).index_copy(0, rows, gradient)
        adam.param_groups[0]["lr"] = run.code_adam.lr
        adam.step()
        step(rows, gradient)

    run.code_adam.step = recorded  # type: ignore[method-assign]
    for _ in range(4):
        run.train_step()
    torch.testing.assert_close(run.codes.table.detach(), reference.detach())


def test_resumed_adam_tables(store_path: Path) -> None:
    """A run with Adam of the tables continues from its state as if it had not been interrupted."""
    config = small_config(bf16=False)
    config = replace(config, train=replace(config.train, table_optimizer="adam"))
    whole = new_trainer(store_path, config)
    whole.train_step()
    model, codes = deepcopy(whole.model), whole.codes().detach().clone()
    trained = Checkpoint(model, codes, whole.keys, whole.similarities, whole.normalization, config)
    state = deepcopy(whole.state_dict())
    resumed = new_trainer(store_path, config)
    resumed.load(trained, state)
    assert resumed.train_step() == whole.train_step()
    assert torch.equal(resumed.codes.table, whole.codes.table)
