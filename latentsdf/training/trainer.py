"""Training of a shape space: state of a run, and one optimization step.

`Trainer.train_step` and `objective.Objective` implement a step. It updates the networks by AdamW, and the feature grid
and the latent codes, of which a batch reads few rows, by row-wise Adam or, as in published methods, by Adam.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentsdf.config.training import Config
from latentsdf.data.custom_source import SourcePool
from latentsdf.data.point_batches import PointBatch
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.sdf_batches import SdfBatch
from latentsdf.models.custom_model import ModelLike, build_model
from latentsdf.models.latent_sdf import LatentCodes
from latentsdf.training import checkpoint
from latentsdf.training.custom_losses import LossFunction, find_losses
from latentsdf.training.distributed import DistributedContext
from latentsdf.training.lr_schedule import learning_rate_factor, ramp_up
from latentsdf.training.objective import Objective
from latentsdf.training.row_adam import RowAdam, sum_rows
from latentsdf.training.table_adam import TableAdam
from latentsdf.utils.errors import CheckpointError, TrainingError

_NAMED_SHAPES = 8
"""Maximum number of shapes that an error message lists."""


class _Evaluated(NamedTuple):
    """Weighted loss terms of a part of a batch, and its gradients of codes and grid; those of networks add up."""

    terms: dict[str, Tensor]
    codes: Tensor
    """(S, L)"""
    local: Tensor | None
    """(S, K) if the codes have a local part."""
    grid: tuple[Tensor, Tensor] | None
    """Rows (U,) of the grid that the part reads, and their gradients (U, C)."""


class Trainer:
    """Model, codes, samples, optimizers, step count and elapsed time of a training run.

    A step depends only on the seed, the step number and the state, so a resumed run equals an uninterrupted one. As a
    context manager, the trainer closes its sample pool on exit.

    Args:
        pool: Samples of the training shapes.
        config: Configuration of the run.
        device: Device of the model and the batches.
        context: Rank of this process and its collective operations; a single process by default.
        freeze_model: If True, networks and grid are frozen and only the codes are trained.
        losses: Functions of the losses in `loss.extra` that no installed package provides.
        model: Model of the user's own; None for `LatentSDF`.

    Raises:
        ConfigError: There is no function for a loss in `loss.extra`, or the model cannot be used.
    """

    def __init__(
        self,
        pool: ShapeSamplePool | SourcePool,
        config: Config,
        device: torch.device,
        context: DistributedContext | None = None,
        *,
        freeze_model: bool = False,
        losses: Mapping[str, LossFunction] | None = None,
        model: ModelLike | None = None,
    ) -> None:
        settings = config.train
        self.config, self.device, self.freeze_model = config, device, freeze_model
        self.context = context or DistributedContext()
        self.pool = pool
        self.keys = pool.keys
        self.normalization, self.similarities, self.augmented = pool.normalization, pool.similarities, pool.augmented
        functions = find_losses(config.loss.extra, losses or {})
        torch.manual_seed(settings.seed)
        self.model = build_model(config.model, model).to(device)
        sizes = config.model.code_dim, config.model.local_size
        self.codes = LatentCodes(len(self.keys), *sizes, settings.code_std).to(device)
        self.model.requires_grad_(not freeze_model).train(not freeze_model)
        self.objective = Objective(self.model, config.loss, settings, functions, self.keys)
        betas = (0.9, settings.beta2)
        self.networks = [p for name, p in self.model.named_parameters() if name != "grid.table"]
        # A dictionary as an ordered set: layers may share weights.
        code_weights = {weight: None for layer in self.model.conditioned_layers() for weight in layer.code_weights()}
        groups = [
            {"params": [p for p in self.networks if p not in code_weights], "weight_decay": 0.0},
            {"params": [*code_weights], "weight_decay": settings.code_decay},
        ]
        self.network_adam = torch.optim.AdamW(groups, lr=settings.lr_network, betas=betas, fused=True)
        grid = self.model.grid
        table_adam = TableAdam if settings.table_optimizer == "adam" else RowAdam
        self.grid_adam = (
            table_adam(grid.table.data, settings.lr_grid, betas) if grid is not None and not freeze_model else None
        )
        self.code_adam = table_adam(self.codes.table.data, settings.lr_code, betas)
        self.local_adam = table_adam(self.codes.local.data, settings.lr_local, betas) if sizes[1] else None
        self.step = 0
        self.seconds = 0.0
        self.stopped = False

    def __enter__(self) -> "Trainer":
        """Return the trainer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the sample pool."""
        self.pool.close()

    def stop(self) -> None:
        """End the run after the current step."""
        self.stopped = True

    def progress(self) -> float:
        """Return the share of the budget spent: the maximum over steps, epochs and wall-clock time."""
        settings = self.config.train
        spent = self.step / settings.steps
        if settings.epochs > 0:
            spent = max(spent, self.pool.epoch(self.step) / settings.epochs)
        return max(spent, self.seconds / (60 * settings.minutes)) if settings.minutes > 0 else spent

    def train_step(self) -> dict[str, float]:
        """Take one optimization step.

        Returns:
            The total loss (`loss`) and the weighted value of each term, averaged over all processes.

        Raises:
            TrainingError: The loss is not finite.
        """
        # Dropout and the random codes of some terms use torch's global generator.
        torch.manual_seed(_combine_seeds(self.config.train.seed, self.step, self.context.rank))
        batch = self.pool.batch(self.step).to(self.device)
        epoch, progress = self.pool.epoch(self.step), self.progress()
        self._set_learning_rates(epoch, progress)
        ramp = ramp_up(epoch, self.config.loss.ramp_epochs)

        self._bound_codes(batch.shape_index)
        self.network_adam.zero_grad(set_to_none=True)
        count = len(batch.shape_index)
        parts = batch.split(self.config.train.batch_split)
        evaluated = [self._evaluate(part, len(part.shape_index) / count, ramp, progress) for part in parts]
        terms = {name: torch.stack([part.terms[name] for part in evaluated]).sum(0) for name in evaluated[0].terms}

        values = torch.stack([torch.stack(list(terms.values())).sum(), *terms.values()])
        self.context.all_reduce_mean([values])
        numbers = dict(zip(("loss", *terms), values.tolist(), strict=True))  # a GPU is waited for only here
        if not math.isfinite(numbers["loss"]):
            self._raise_nonfinite_loss(batch, ramp, terms)
        self._update(batch.shape_index, evaluated)
        self.step += 1
        return numbers

    def _evaluate(self, batch: SdfBatch | PointBatch, share: float, ramp: float, progress: float) -> "_Evaluated":
        """Evaluate the loss of a part of the batch, times its share of the batch, and add its gradients."""
        codes = self.codes.table.detach()[batch.shape_index].requires_grad_()
        local = self.codes.local.detach()[batch.shape_index].requires_grad_()
        terms, grid_rows = self.objective(batch, torch.cat((codes, local), dim=1), ramp, progress)
        terms = {name: share * value for name, value in terms.items()}
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        assert codes.grad is not None
        rows = None
        if grid_rows is not None and self.grid_adam is not None:
            assert grid_rows.features.grad is not None
            rows = grid_rows.rows, grid_rows.features.grad
        return _Evaluated({name: value.detach() for name, value in terms.items()}, codes.grad, local.grad, rows)

    def _update(self, shape_index: Tensor, evaluated: "list[_Evaluated]") -> None:
        """Average the gradients over the processes and step the optimizers."""
        codes = torch.cat([part.codes for part in evaluated])
        self.code_adam.step(*self.context.all_reduce_rows(shape_index, codes))
        local = [part.local for part in evaluated if part.local is not None]
        if self.local_adam is not None and local:
            self.local_adam.step(*self.context.all_reduce_rows(shape_index, torch.cat(local)))
        if self.freeze_model:
            return
        self.context.all_reduce_mean([p.grad for p in self.networks if p.grad is not None])
        self.network_adam.step()
        rows = [part.grid for part in evaluated if part.grid is not None]
        if rows and self.grid_adam is not None:
            read = rows[0] if len(rows) == 1 else sum_rows(*(torch.cat(parts) for parts in zip(*rows, strict=True)))
            self.grid_adam.step(*self.context.all_reduce_rows(*read))

    def _bound_codes(self, shape_index: Tensor) -> None:
        """Project the codes of the batch into the ball of radius `train.code_bound`, if it is above 0 (DeepSDF)."""
        bound = self.config.train.code_bound
        if bound > 0:
            table = self.codes.table.data
            table[shape_index] = torch.renorm(table[shape_index], 2, 0, bound)

    def _set_learning_rates(self, epoch: float, progress: float) -> None:
        settings = self.config.train
        factor = learning_rate_factor(settings, self.step, progress, epoch)
        for group in self.network_adam.param_groups:
            group["lr"] = settings.lr_network * factor
        if self.grid_adam is not None:
            self.grid_adam.lr = settings.lr_grid * factor
        self.code_adam.lr = settings.lr_code * factor
        if self.local_adam is not None:
            self.local_adam.lr = settings.lr_local * factor

    def _raise_nonfinite_loss(self, batch: SdfBatch | PointBatch, ramp: float, found: Mapping[str, Tensor]) -> None:
        """Raise TrainingError with the loss terms that are not finite and the shapes that cause them."""
        # Losses of the user's own may need the whole batch; the other terms are evaluated for each shape below.
        terms = {name for name in self.objective.losses if name in found and not torch.isfinite(found[name])}
        shapes = []
        # The KL prior is a statistic of the whole batch; it is undefined for a single shape.
        loss = self.config.loss
        loss = replace(loss, code=(0.0,)) if loss.code_prior == "kl" else loss
        objective = Objective(self.model, loss, self.config.train)
        # Gradients stay enabled: some terms are functions of spatial gradients.
        for position in range(len(batch.shape_index)):
            one = batch.single(position)
            values, _ = objective(one, self.codes().detach()[one.shape_index], ramp, self.progress())
            nonfinite = [name for name, value in values.items() if not torch.isfinite(value)]
            terms.update(nonfinite)
            if nonfinite:
                shapes.append(self.keys[int(one.shape_index)])
        more = f" and {len(shapes) - _NAMED_SHAPES} more" if len(shapes) > _NAMED_SHAPES else ""
        cause = (
            f"for {', '.join(shapes[:_NAMED_SHAPES])}{more}"
            if shapes
            else "for shapes of another process, or only for the batch as a whole"
        )
        raise TrainingError(
            f"step {self.step}: the {' and '.join(sorted(terms)) or 'total'} term is not finite {cause}. The last "
            "checkpoint is kept; lower train.lr_network or train.lr_grid, or check these shapes"
        )

    def require_finite_parameters(self) -> None:
        """Raise TrainingError if a parameter or code is not finite."""
        for name, value in (*self.model.named_parameters(), ("codes", self.codes.table)):
            if not torch.isfinite(value).all():
                raise TrainingError(
                    f"step {self.step}: {name} is not finite; the last checkpoint is kept. Lower train.lr_network or "
                    "train.lr_grid"
                )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for resuming besides configuration, weights and codes, as tensors and plain values."""
        state: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "world": self.context.world_size,
            "network_adam": self.network_adam.state_dict(),
            "code_adam": self.code_adam.state_dict(),
        }
        optional = {"grid_adam": self.grid_adam, "local_adam": self.local_adam}
        return state | {name: adam.state_dict() for name, adam in optional.items() if adam is not None}

    def start_from(self, trained: checkpoint.Checkpoint) -> None:
        """Start from the networks, the grid and the codes of a space; shapes that it lacks start from its mean code.

        Args:
            trained: The space, with the same model settings.
        """
        self.model.load_state_dict(trained.model.state_dict())
        row = {key: number for number, key in enumerate(trained.keys)}
        mean = trained.codes.mean(0)
        self.codes.replace(torch.stack([trained.codes[row[key]] if key in row else mean for key in self.keys]))

    def load(self, trained: checkpoint.Checkpoint, state: dict[str, Any]) -> None:
        """Continue the run of a checkpoint.

        Args:
            trained: Checkpoint with the weights and codes.
            state: The state that `state_dict` returned.

        Raises:
            CheckpointError: The checkpoint has other shapes or another number of processes, or the state is damaged.
        """
        if trained.keys != self.keys:
            difference = set(trained.keys) ^ set(self.keys)
            raise CheckpointError(
                f"the checkpoint was trained on {len(trained.keys)} shapes and the store now has {len(self.keys)}; "
                f"they differ, for example in {min(difference)}, but resuming needs the same shapes"
            )
        if state.get("world") != self.context.world_size:
            raise CheckpointError(
                f"the checkpoint was trained by {state.get('world')} processes, now there are "
                f"{self.context.world_size}; resume with the same number of processes"
            )
        self.model.load_state_dict(trained.model.state_dict())
        self.codes.replace(trained.codes)
        optimizers: dict[str, torch.optim.Optimizer | RowAdam | TableAdam | None] = {
            "network_adam": self.network_adam,
            "code_adam": self.code_adam,
            "local_adam": self.local_adam,
            "grid_adam": self.grid_adam,
        }
        try:
            for name, adam in optimizers.items():
                if adam is not None:
                    adam.load_state_dict(state[name])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        # torch's optimizers raise exceptions of many types for a state of another form.
        except Exception as error:
            raise CheckpointError(
                f"the training state is damaged or of another model ({error!s:.200}); restore state.pt from a copy, or "
                "train again"
            ) from error


def _combine_seeds(*numbers: int) -> int:
    """Combine several numbers to one seed by hashing."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "big")
