"""What fits one field to one cloud, step by step: draw, differentiate, weigh, update."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.config.validation import require_in_range
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.models.factory import build
from latentsdf.models.feature_pyramid import FeaturePyramid
from latentsdf.reconstruction.resume import Unfinished
from latentsdf.reconstruction.sampling import Batch, Sampler
from latentsdf.training.losses import (
    Jet,
    data_term,
    directional_divergence_term,
    divergence_term,
    eikonal_squared_term,
    eikonal_term,
    heat_term,
    jet,
    normal_term,
    off_surface_term,
    schedule_value,
    sign_agnostic_normal_term,
    sign_agnostic_term,
    singular_hessian_term,
    surface_term,
)
from latentsdf.training.lr_schedule import cosine, warm_up
from latentsdf.training.row_adam import RowAdam
from latentsdf.training.training_loop import run_training_loop
from latentsdf.utils.errors import ConfigError, TrainingError
from latentsdf.utils.interrupts import defer_interrupts
from latentsdf.utils.malloc import keep_freed_memory

_WINDOW = 100
_SECOND_ORDER: dict[str, Callable[[Jet], Tensor]] = {
    "divergence": divergence_term,
    "directional": directional_divergence_term,
    "singular_hessian": singular_hessian_term,
}


class Fit:
    """A field on its way: network, optimizers, samples, step and clock."""

    def __init__(self, cloud: PointCloud, config: ReconstructConfig, device: torch.device) -> None:
        _require_valid(config)
        self.config, self.device = config, device
        torch.manual_seed(config.seed)
        self.network: nn.Module = build(config.network, cloud.dim, config.extent).to(device)
        dense = [p for name, p in self.network.named_parameters() if name != "table"]
        matrices = [p for p in dense if p.ndim == 2 and min(p.shape) > cloud.dim and config.lr_matrices > 0]
        rest = [p for p in dense if not any(p is matrix for matrix in matrices)]
        self.adam = torch.optim.Adam(rest, lr=config.lr, betas=(0.9, config.beta2), fused=True)
        self.muon = torch.optim.Muon(matrices, config.lr_matrices, weight_decay=0.0) if matrices else None
        self.rows: RowAdam | None = None
        if isinstance(self.network, FeaturePyramid):
            self.rows = RowAdam(self.network.table.data, config.lr_rows)
        self.sampler = Sampler(cloud, config, device)
        self.step = 0
        self.history: list[dict[str, float]] = []
        self._window: list[dict[str, float]] = []
        self.seconds = 0.0

    def run(self, unfinished: Unfinished | None = None) -> None:
        """Steps until the budget is spent or patience is; a loss that is not finite raises TrainingError.

        With `unfinished` the state is kept there every two minutes and on Ctrl-C, and taken up from there.
        """
        keep_freed_memory()
        if unfinished is not None and (state := unfinished.load()) is not None:
            self.load_state_dict(state)

        def keep() -> None:
            if unfinished is not None:
                unfinished.save(self.state_dict())

        with defer_interrupts() as stopped:
            run_training_loop(
                self,
                self.config.method,
                should_continue=lambda: not stopped.is_set() and not self._out_of_patience(),
                on_step=self._on_step,
                save=keep,
            )
        if stopped.is_set():
            keep()
            raise KeyboardInterrupt
        if self._window:
            self._note()
        for name, value in self.network.named_parameters():
            if not torch.isfinite(value).all():
                raise TrainingError(f"step {self.step}: {name} is not finite; lower lr, lr_matrices or lr_rows")

    def state_dict(self) -> dict[str, Any]:
        """All that going on takes, as tensors and plain values."""
        state: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "window": self._window,
            "draws": self.sampler.generator.get_state(),
            "network": self.network.state_dict(),
            "adam": self.adam.state_dict(),
        }
        others = {"rows": self.rows, "muon": self.muon}
        return state | {name: other.state_dict() for name, other in others.items() if other is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.step, self.history, self._window = state["step"], state["history"], state["window"]
        self.seconds = state["seconds"]
        self.sampler.generator.set_state(state["draws"])
        self.network.load_state_dict(state["network"])
        self.adam.load_state_dict(state["adam"])
        if self.rows is not None:
            self.rows.load_state_dict(state["rows"])
        if self.muon is not None:
            self.muon.load_state_dict(state["muon"])

    def _on_step(self, terms: dict[str, float], _: float) -> str | None:
        self._window.append(terms)
        if len(self._window) < _WINDOW:
            return None
        return f"step {self.step:,}  |u| on the cloud {self._note()['surface']:.2e}"

    def _note(self) -> dict[str, float]:
        """Add the means of the last steps' terms to the history; a term whose weight fell to zero is left out."""
        names = [name for name in self._window[0] if all(name in terms for terms in self._window)]
        mean = {name: sum(terms[name] for terms in self._window) / len(self._window) for name in names}
        self.history.append({"step": self.step, "seconds": self.seconds} | mean)
        self._window = []
        return mean

    def progress(self) -> float:
        """Share of the budget spent: the larger of steps done and time used."""
        spent = self.step / self.config.steps
        if self.config.minutes > 0:
            spent = max(spent, self.seconds / (60 * self.config.minutes))
        return spent

    def train_step(self) -> dict[str, float]:
        """One optimization step; returns each term before its weight."""
        progress = min(1.0, self.progress())
        batch = self.sampler.draw(guided=schedule_value(self.config.loss.guide, progress) > 0)
        terms = self._terms(batch, progress)
        loss = torch.stack([weight * value for weight, value in terms.values()]).sum()
        if not torch.isfinite(loss):
            bad = " and ".join(name for name, (_, value) in terms.items() if not torch.isfinite(value))
            raise TrainingError(
                f"step {self.step}: the {bad or 'summed'} term is not finite; lower lr, lr_matrices or lr_rows, or "
                "look for outliers in the cloud"
            )
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(progress)
        self.step += 1
        return {name: value.item() for name, (_, value) in terms.items()}

    def _terms(self, batch: Batch, progress: float) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of every term that counts now; `surface` always, because it is watched."""
        config = self.config.loss
        surface, off = slice(0, len(batch.surface)), slice(len(batch.surface), len(batch.surface) + len(batch.off))
        whole = jet(self.network, torch.cat((batch.surface, batch.off, batch.guide)))
        on, away = whole[surface], whole[off]
        nearest = cache(lambda: self.sampler.unsigned(away.points))
        values: dict[str, Callable[[], Tensor]] = {
            "surface": lambda: surface_term(on.distance),
            "eikonal": lambda: (eikonal_squared_term if config.eikonal_squared else eikonal_term)(whole.gradient),
            "off_surface": lambda: off_surface_term(away.distance),
            "heat": lambda: heat_term(
                away.distance,
                away.gradient,
                schedule_value(config.heat_lambda, progress),
                self.sampler.mixture.density(away.points),
            ),
            "sign_agnostic": lambda: sign_agnostic_term(away.distance, nearest()[0]),
            "sign_agnostic_normals": lambda: sign_agnostic_normal_term(away.gradient, nearest()[1]),
            "guide": lambda: data_term(whole.distance[off.stop :], batch.guide_distance),
        }
        if batch.normals is not None:
            normals = batch.normals
            values["normals"] = lambda: normal_term(on.gradient, normals, cosine=config.normals_cosine)
        weights = {name: schedule_value(getattr(config, name), progress) for name in (*values, *_SECOND_ORDER)}
        if any(weights[name] for name in _SECOND_ORDER):
            apart = jet(self.network, batch.off)
            values |= {name: lambda term=term: term(apart) for name, term in _SECOND_ORDER.items()}  # type: ignore[misc]
        return {name: (weights[name], value()) for name, value in values.items() if weights[name] or name == "surface"}

    def _update(self, progress: float) -> None:
        """Step by the gradients at hand."""
        decay = self._decay(progress)
        if self.config.clip > 0:
            nn.utils.clip_grad_norm_(self.adam.param_groups[0]["params"], self.config.clip)
        self.adam.param_groups[0]["lr"] = self.config.lr * decay
        self.adam.step()
        if self.muon is not None:
            self.muon.param_groups[0]["lr"] = self.config.lr_matrices * decay
            self.muon.step()
        if self.rows is not None:
            assert isinstance(self.network, FeaturePyramid)
            self.rows.lr = self.config.lr_rows * decay
            self.rows.step(*self.network.take_row_gradients())

    def _decay(self, progress: float) -> float:
        """Share of the learning rates in use: a warm-up, then half a cosine down to `lr_final`."""
        return cosine(progress, self.config.lr_final) * warm_up(self.step, self.config.warmup_steps)

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        if patience == 0 or self.step % _WINDOW or len(self.history) <= patience:
            return False
        errors = [entry["surface"] for entry in self.history]
        return min(errors[-patience:]) > 0.99 * min(errors[:-patience])


def _require_valid(config: ReconstructConfig) -> None:
    """ConfigError for settings with which nothing could be fitted."""
    # The cloud reaches to 1 / 1.03.
    least = {
        "steps": 1,
        "surface_points": 1,
        "off_points": 2,
        "extent": 1,
        "network.depth": 1,
        "network.resolutions": 1,
        "network.channels": 1,
    }
    require_in_range(config, least, positive=("gaussian_std",), shares=("lr_final", "nearby_share"))
    if config.nearby == "local" and any(config.loss.heat):
        raise ConfigError(
            "the heat term is an integral over the box and needs to know how densely points lie: "
            "nearby must be gaussian or uniform, got local"
        )
    if config.network.kind == "pyramid" and not config.network.resolutions:
        raise ConfigError("network.resolutions must name the cells per axis of at least one grid, such as '[8, 32]'")
    second_order = [name for name in _SECOND_ORDER if any(getattr(config.loss, name))]
    if config.network.kind == "pyramid" and second_order:
        raise ConfigError(f"a pyramid has no pure second derivatives; leave out {' and '.join(second_order)}")
    for schedule in vars(config.loss).values():
        if isinstance(schedule, tuple):
            schedule_value(schedule, 0.0)
