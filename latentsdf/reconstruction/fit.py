"""Training of one field on one point cloud."""

import math
from typing import Any, NoReturn

import torch
from torch import nn

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.config.schedules import schedule_value
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.models.factory import build_network
from latentsdf.reconstruction.fit_checkpoint import FitCheckpoint
from latentsdf.reconstruction.history import LossHistory
from latentsdf.reconstruction.objective import WeightedTerm, weighted_terms
from latentsdf.reconstruction.optimizer import FieldOptimizer
from latentsdf.reconstruction.sampling import CloudBatch, CloudSampler
from latentsdf.training.lr_schedule import cosine, halving, warm_up
from latentsdf.training.training_loop import run_training_loop
from latentsdf.utils.errors import CheckpointError, TrainingError
from latentsdf.utils.interrupts import defer_interrupts
from latentsdf.utils.malloc import keep_freed_memory

_LOWER_RATES = "lower train.lr_network, train.lr_matrices or train.lr_grid"


class FieldTrainer:
    """Fits a network to a cloud.

    Each step draws points, evaluates the field and its derivatives, and updates the network by the weighted loss terms.

    Args:
        cloud: The cloud in the frame of the fit (`config.normalization`).
        config: Network, losses, sampling and optimization.
        device: Device of the network and the batches.
    """

    def __init__(self, cloud: PointCloud, config: ReconstructConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        torch.manual_seed(config.train.seed)
        self.network: nn.Module = build_network(config.model, cloud.dim, config.extent).to(device)
        self.optimizer = FieldOptimizer(self.network, cloud.dim, config.train)
        self.sampler = CloudSampler(cloud, config, device)
        self.history = LossHistory()
        self.step = 0
        """Number of completed steps."""
        self.seconds = 0.0
        """Wall-clock time of the steps in seconds, including those before resuming."""

    def run(self, checkpoint: FitCheckpoint | None = None) -> None:
        """Train until the budget is spent or the surface term stalls.

        Args:
            checkpoint: File from which training continues if it exists, and to which the state is saved every two
                minutes and on Ctrl-C; None for no checkpoints.

        Raises:
            TrainingError: The loss or a parameter is not finite.
            CheckpointError: The checkpoint is damaged, or of another cloud or configuration.
            KeyboardInterrupt: On Ctrl-C, after the current step.
        """
        keep_freed_memory()
        if checkpoint is not None and (state := checkpoint.load()) is not None:
            try:
                self.load_state_dict(state)
            # torch raises exceptions of many types for a state of another form.
            except Exception as error:
                raise CheckpointError(
                    f"{checkpoint.path}: damaged ({error!s:.200}); remove it to start again"
                ) from error

        def save() -> None:
            if checkpoint is not None:
                checkpoint.save(self.state_dict())

        with defer_interrupts() as stopped:
            run_training_loop(
                self,
                self.config.method,
                should_continue=lambda: not (stopped.is_set() or self.history.has_stalled(self.config.train.patience)),
                on_step=self._record,
                save=save,
            )
        if stopped.is_set():
            save()
            raise KeyboardInterrupt
        self.history.close_window(self.step, self.seconds)
        for name, value in self.network.named_parameters():
            if not torch.isfinite(value).all():
                raise TrainingError(f"step {self.step}: {name} is not finite; {_LOWER_RATES}")

    def progress(self) -> float:
        """Return the share of the budget spent: the maximum over steps and wall-clock time."""
        train = self.config.train
        spent = self.step / train.steps
        return max(spent, self.seconds / (60 * train.minutes)) if train.minutes > 0 else spent

    def train_step(self) -> dict[str, float]:
        """Take one optimization step.

        Returns:
            Unweighted loss terms by name.

        Raises:
            TrainingError: The loss is not finite.
        """
        progress = min(1.0, self.progress())
        loss_config = self.config.loss
        guided = any(schedule_value(weight, progress) for weight in (loss_config.guide, loss_config.hkr))
        batch = self.sampler.draw(guided=guided)
        terms = self._terms(batch, progress)
        loss = torch.stack([term.weight * term.value for term in terms.values()]).sum()
        values = torch.stack([loss.detach(), *(term.value.detach() for term in terms.values())])
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        total, *numbers = values.tolist()  # a GPU is waited for only here, when all work but the update is queued
        if not math.isfinite(total):
            self._raise_nonfinite_loss(terms)
        self._update(self._learning_rate_scale(progress))
        self.step += 1
        return dict(zip(terms, numbers, strict=True))

    def _terms(self, batch: CloudBatch, progress: float) -> dict[str, WeightedTerm]:
        return weighted_terms(self.network, batch, self.sampler, self.config, progress)

    def _update(self, learning_rate_scale: float) -> None:
        self.optimizer.step(learning_rate_scale)

    def _learning_rate_scale(self, progress: float) -> float:
        """Return the linear warm-up times the half-cosine decay to `lr_final`, or times the halving."""
        train = self.config.train
        decay = halving(self.step, train.halve_steps) if train.halve_steps else cosine(progress, train.lr_final)
        return decay * warm_up(self.step, train.warmup_steps)

    def _record(self, terms: dict[str, float], _: float) -> str | None:
        """Add the terms to the history; returns the text of the progress bar at the end of a window."""
        if not self.history.add(terms, self.step, self.seconds):
            return None
        surface = self.history.entries[-1].get("surface")
        return f"step {self.step:,}" + ("" if surface is None else f"  |u| on the cloud {surface:.2e}")

    def _raise_nonfinite_loss(self, terms: dict[str, WeightedTerm]) -> NoReturn:
        bad = " and ".join(name for name, term in terms.items() if not torch.isfinite(term.value))
        raise TrainingError(
            f"step {self.step}: the {bad or 'summed'} term is not finite; {_LOWER_RATES}, or remove outliers"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state needed to continue training, as tensors and plain values."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history.state_dict(),
            "generator": self.sampler.generator.get_state(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.step, self.seconds = state["step"], state["seconds"]
        self.history.load_state_dict(state["history"])
        self.sampler.generator.set_state(state["generator"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
