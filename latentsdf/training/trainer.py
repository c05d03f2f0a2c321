"""What a training run holds, and one optimization step of it."""

import hashlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latentsdf.config.training import Config
from latentsdf.data.point_batches import PointBatch
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.sdf_batches import SdfBatch
from latentsdf.models.feature_grid import SparseGridRows
from latentsdf.models.latent_sdf import LatentCodes, LatentSDF
from latentsdf.training import checkpoint
from latentsdf.training.distributed import DistributedContext
from latentsdf.training.lr_schedule import learning_rate, ramp
from latentsdf.training.objective import Objective
from latentsdf.training.row_adam import RowAdam
from latentsdf.utils.errors import CheckpointError, TrainingError


class Trainer:
    """Model, codes, samples, optimizers, step and clock.

    A step follows from the seed, its number and the state, so a run continues as if never stopped. Without
    `trains_model` networks and grid are frozen, and only codes are learned. As a context it stops reading samples at
    the end.
    """

    def __init__(
        self,
        pool: ShapeSamplePool,
        config: Config,
        device: torch.device,
        context: DistributedContext | None = None,
        *,
        trains_model: bool = True,
    ) -> None:
        settings = config.train
        self.config, self.device, self.trains_model = config, device, trains_model
        self.context = context or DistributedContext()
        self.pool = pool
        self.keys = pool.keys
        self.normalization = pool.store.config.normalization
        self.similarities = [pool.store.info(key).similarity for key in self.keys]
        torch.manual_seed(settings.seed)
        self.model = LatentSDF(config.model).to(device)
        self.codes = LatentCodes(len(self.keys), config.model.code_dim, settings.code_std).to(device)
        self.model.requires_grad_(trains_model).train(trains_model)
        self.objective = Objective(self.model, config.loss, settings)
        betas = (0.9, settings.beta2)
        self.networks = [p for name, p in self.model.named_parameters() if name != "grid.table"]
        by_code = {weight: None for layer in self.model.conditioned_layers() for weight in layer.code_weights()}
        rest = [p for p in self.networks if p not in by_code]
        groups = [{"params": rest, "weight_decay": 0.0}, {"params": [*by_code], "weight_decay": settings.code_decay}]
        self.network_adam = torch.optim.AdamW(groups, lr=settings.lr_network, betas=betas, fused=True)
        grid = self.model.grid
        self.grid_adam = (
            RowAdam(grid.table.data, settings.lr_grid, betas) if grid is not None and trains_model else None
        )
        self.code_adam = RowAdam(self.codes.table.data, settings.lr_code, betas)
        self.step = 0
        self.seconds = 0.0

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close()

    def progress(self) -> float:
        """Share of the budget spent, in [0, 1]: the largest of steps and passes done and time used."""
        settings = self.config.train
        spent = self.step / settings.steps
        if settings.epochs > 0:
            spent = max(spent, self.pool.epoch(self.step) / settings.epochs)
        return max(spent, self.seconds / (60 * settings.minutes)) if settings.minutes > 0 else spent

    def train_step(self) -> dict[str, float]:
        """One optimization step; returns the value of each loss term, the mean over all processes."""
        # Dropout and random codes draw from torch's own generator.
        torch.manual_seed(_mixed(self.config.train.seed, self.step, self.context.rank))
        batch = self.pool.batch(self.step).to(self.device)
        epoch = self.pool.epoch(self.step)
        self._set_learning_rates(epoch)
        rising = ramp(epoch, self.config.loss.ramp_epochs)
        self._bound_codes(batch.shape_index)
        codes = self.codes.table.detach()[batch.shape_index].requires_grad_()
        self.network_adam.zero_grad(set_to_none=True)
        terms, touched = self.objective(batch, codes, rising, self.progress())
        loss = torch.stack(list(terms.values())).sum()
        values = torch.stack([loss, *terms.values()]).detach()
        self.context.average([values])
        if not torch.isfinite(values[0]):
            self._raise_nonfinite_loss(batch, rising)
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(batch.shape_index, codes, touched)
        self.step += 1
        return dict(zip(("loss", *terms), values.tolist(), strict=True))

    def _update(self, shape: Tensor, codes: Tensor, touched: SparseGridRows | None) -> None:
        assert codes.grad is not None
        self.code_adam.step(*self.context.average_rows(shape, codes.grad))
        if not self.trains_model:
            return
        self.context.average([p.grad for p in self.networks if p.grad is not None])
        self.network_adam.step()
        if touched is not None and self.grid_adam is not None:
            assert touched.features.grad is not None
            self.grid_adam.step(*self.context.average_rows(touched.rows, touched.features.grad))

    def _bound_codes(self, rows: Tensor) -> None:
        """Pull the codes of the batch back to the largest norm allowed, where there is one (DeepSDF)."""
        bound = self.config.train.code_bound
        if bound > 0:
            table = self.codes.table.data
            table[rows] = torch.renorm(table[rows], 2, 0, bound)

    def _set_learning_rates(self, epoch: float) -> None:
        settings = self.config.train
        factor = learning_rate(settings, self.step, self.progress(), epoch)
        for group in self.network_adam.param_groups:
            group["lr"] = settings.lr_network * factor
        if self.grid_adam is not None:
            self.grid_adam.lr = settings.lr_grid * factor
        self.code_adam.lr = settings.lr_code * factor

    def _raise_nonfinite_loss(self, batch: SdfBatch | PointBatch, rising: float) -> None:
        """Raise TrainingError naming the terms that are not finite and the shapes that make them so."""
        bad: set[str] = set()
        shapes = []
        # The spread of codes is that of several, and nobody's alone.
        loss = self.config.loss
        loss = replace(loss, code=(0.0,)) if loss.code_prior == "kl" else loss
        objective = Objective(self.model, loss, self.config.train)
        # Not without gradients: some terms are made of them.
        for position in range(len(batch.shape_index)):
            one = batch.one(position)
            values, _ = objective(one, self.codes.table.detach()[one.shape_index], rising, self.progress())
            names = [name for name, value in values.items() if not torch.isfinite(value)]
            bad.update(names)
            if names:
                shapes.append(self.keys[int(one.shape_index)])
        more = f" and {len(shapes) - 8} more" if len(shapes) > 8 else ""
        named = f"for {', '.join(shapes[:8])}{more}" if shapes else "for another process's shapes, or for no single one"
        terms = " and ".join(sorted(bad)) or "total"
        raise TrainingError(
            f"step {self.step}: the {terms} term is not finite {named}. The last checkpoint is kept; lower "
            "train.lr_network or train.lr_grid, or check these shapes"
        )

    def require_finite(self) -> None:
        """Raise TrainingError when a parameter is not finite."""
        for name, value in (*self.model.named_parameters(), ("codes", self.codes.table)):
            if not torch.isfinite(value).all():
                raise TrainingError(
                    f"step {self.step}: {name} is not finite; the last checkpoint is kept. Lower train.lr_network or "
                    "train.lr_grid"
                )

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs beside the configuration, the weights and the codes, as tensors and plain values."""
        state: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "world": self.context.world,
            "network_adam": self.network_adam.state_dict(),
            "code_adam": self.code_adam.state_dict(),
        }
        return state | ({"grid_adam": self.grid_adam.state_dict()} if self.grid_adam is not None else {})

    def load(self, trained: checkpoint.Checkpoint, state: dict[str, Any]) -> None:
        """Continue as if never stopped; CheckpointError when the shapes or the number of processes are other ones."""
        if trained.keys != self.keys:
            raise CheckpointError(
                f"the checkpoint was trained on {len(trained.keys)} shapes, the store now holds {len(self.keys)}, and "
                f"not the same, for example {min(set(trained.keys) ^ set(self.keys))}; resume needs them all"
            )
        if state["world"] != self.context.world:
            raise CheckpointError(
                f"the checkpoint was trained by {state['world']} processes, now there are {self.context.world}; resume "
                "with as many"
            )
        self.model.load_state_dict(trained.model.state_dict())
        self.codes.table.data.copy_(trained.codes)
        self.network_adam.load_state_dict(state["network_adam"])
        self.code_adam.load_state_dict(state["code_adam"])
        if self.grid_adam is not None:
            self.grid_adam.load_state_dict(state["grid_adam"])
        self.step, self.seconds = state["step"], state["seconds"]


def _mixed(*numbers: int) -> int:
    """One seed from several numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "big")
