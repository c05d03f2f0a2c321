"""The training loop, top to bottom: draw a batch, compute the losses, step, log, checkpoint."""

import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentsdf import checkpoint, devices
from latentsdf.config import Config, LossConfig
from latentsdf.dataset import Batch, Samples
from latentsdf.errors import CheckpointError, ConfigError, TrainingError
from latentsdf.losses import data_term, eikonal_term, gradient, heat_term, norm_term
from latentsdf.memory import keep_freed_memory
from latentsdf.model.field import LatentCodes, LatentSDF
from latentsdf.model.grid import Touched
from latentsdf.optim import RowAdam
from latentsdf.progress import console, track
from latentsdf.store import SampleStore

_BOX_VOLUME = 8.0


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

    Ctrl-C ends the step, writes a checkpoint and raises KeyboardInterrupt. A loss that is not finite raises
    TrainingError naming the term and the shapes of the batch, and keeps the last good checkpoint. Raises ConfigError
    for settings out of range.
    """
    config = config or Config()
    require_valid(config)
    out = Path(out)
    keep_freed_memory()
    store = SampleStore.open(data)
    _check_output(out, config, resume=resume, overwrite=overwrite)
    run = Run(store, config, devices.resolve(device))
    if resume:
        run.load_state_dict(checkpoint.load_state(out))
    console.print(run.summary())
    out.mkdir(parents=True, exist_ok=True)
    with _stop_between_steps() as stopped:
        metrics = _loop(run, out, stopped)
    run.save(out)
    if stopped.is_set():
        raise KeyboardInterrupt
    return metrics


def require_valid(config: Config) -> None:
    """ConfigError for a setting with which nothing could be trained."""
    settings, model = config.train, config.model
    counts = (
        ("train.steps", settings.steps, 1),
        ("train.shapes_per_batch", settings.shapes_per_batch, 1),
        ("train.points_per_shape", settings.points_per_shape, 2),
        ("train.log_every", settings.log_every, 1),
        ("model.code_dim", model.code_dim, 1),
        ("model.grid.resolution", model.grid.resolution, 1),
        ("model.grid.channels", model.grid.channels, 1),
        ("model.general.width", model.general.width, 1),
        ("model.general.depth", model.general.depth, 1),
        ("model.overfit.width", model.overfit.width, 1),
        ("model.overfit.depth", model.overfit.depth, 1),
    )
    for name, value, least in counts:
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, got {value}")


@contextmanager
def _stop_between_steps() -> Iterator[Event]:
    """An event that Ctrl-C sets; a second Ctrl-C interrupts at once."""
    stopped = Event()
    if current_thread() is not main_thread():
        yield stopped
        return

    def stop(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, previous)
        console.print("stopping after this step; Ctrl-C again to stop now")

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, previous)


def _loop(run: "Run", out: Path, stopped: Event) -> dict[str, float]:
    """Steps until the budget is spent or the event is set; writes `metrics.jsonl` and checkpoints on the way."""
    settings = run.config.train
    per_step = settings.shapes_per_batch * settings.points_per_shape
    last_save = time.monotonic()
    metrics: dict[str, float] = {}
    # Lines after the checkpoint that is resumed from will be written again.
    kept = [line for line in checkpoint.read_metrics(out) if line["step"] <= run.step] if run.step else []
    (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    with (
        (out / "metrics.jsonl").open("a") as log,
        track("training", total=1000, unit="‰") as advance,
    ):
        shown = 0.0
        while run.progress() < 1 and not stopped.is_set():
            started = time.monotonic()
            terms = run.train_step()
            run.seconds += time.monotonic() - started
            metrics = {"step": run.step, "seconds": round(run.seconds, 3)} | terms
            if run.step % settings.log_every == 0:
                log.write(json.dumps(metrics) + "\n")
                log.flush()
                note = f"step {run.step:,}  loss {terms['loss']:.2e}  band error {terms['overfit']:.2e}  "
                advance(0, note + f"{per_step / (time.monotonic() - started):,.0f} samples/s")
            fraction = min(1.0, run.progress())
            advance(1000 * (fraction - shown))
            shown = fraction
            if time.monotonic() - last_save > 60 * settings.checkpoint_minutes:
                run.save(out)
                last_save = time.monotonic()
    return metrics


class Run:
    """Everything a training run holds: model, codes, samples, optimizers, random state, step and clock."""

    def __init__(self, store: SampleStore, config: Config, device: torch.device) -> None:
        settings = config.train
        self.config = config
        self.device = device
        self.keys = store.keys()
        self.similarities = [store.info(key).similarity for key in self.keys]
        self.normalization = store.config.normalization
        self.samples = Samples(store, self.keys, settings.memory_gb)
        torch.manual_seed(settings.seed)
        self.model = LatentSDF(config.model).to(device)
        self.codes = LatentCodes(len(self.keys), config.model.code_dim, settings.code_std).to(device)
        networks = [p for name, p in self.model.named_parameters() if name != "grid.table"]
        self.network_adam = torch.optim.Adam(networks, lr=settings.lr_network, betas=(0.9, 0.99), fused=True)
        self.grid_adam = RowAdam(self.model.grid.table.data, settings.lr_grid)
        self.code_adam = RowAdam(self.codes.table.data, settings.lr_code)
        self.rng = np.random.default_rng(settings.seed)
        self.order = np.empty(0, dtype=np.int64)
        self.step = 0
        self.seconds = 0.0

    def summary(self) -> str:
        """What is about to be trained, and the memory it takes."""
        grid = self.model.grid.table
        networks = sum(p.numel() for p in self.model.parameters()) - grid.numel()
        memory = (grid.nbytes * 2 + len(grid) * 8 + networks * 16 + self.samples.nbytes) / 1e9
        return (
            f"preset {self.config.preset}: {len(self.keys)} shapes, codes of {self.config.model.code_dim}, "
            f"networks {networks:,} values, grid {grid.shape[0]:,} x {grid.shape[1]}, "
            f"about {memory:.1f} GB with samples and optimizer"
        )

    def progress(self) -> float:
        """Share of the budget spent, in [0, 1]: the larger of steps done and time used."""
        settings = self.config.train
        spent = self.step / settings.steps
        return max(spent, self.seconds / (60 * settings.minutes)) if settings.minutes > 0 else spent

    def train_step(self) -> dict[str, float]:
        """One optimization step; returns the value of each loss term."""
        rows = self._next_shapes()
        batch = self.samples.draw(rows, self.config.train.points_per_shape, self.rng).to(self.device)
        self._set_learning_rates()
        codes = self.codes.table.detach()[batch.shape].requires_grad_()
        self.network_adam.zero_grad(set_to_none=True)
        terms, touched = self._terms(batch, codes)
        loss = torch.stack(list(terms.values())).sum()
        self._require_finite(loss, terms, rows)
        loss.backward()  # type: ignore[no-untyped-call]
        self.network_adam.step()
        assert touched.features.grad is not None and codes.grad is not None
        self.grid_adam.step(touched.rows, touched.features.grad)
        self.code_adam.step(batch.shape, codes.grad)
        self.step += 1
        return {"loss": loss.item()} | {name: value.item() for name, value in terms.items()}

    def _terms(self, batch: Batch, codes: Tensor) -> tuple[dict[str, Tensor], Touched]:
        """Weighted loss terms by name, and the part of the grid they depend on."""
        weights, model = self.config.loss, self.model
        # The general branch sees as many band samples as free-space ones, half of what the overfit branch sees.
        free = batch.free_points.shape[1]
        canonical = model.canonical(torch.cat((batch.free_points, batch.band_points), dim=1), codes)
        in_band = canonical[:, free:]
        touched = model.grid.touch(in_band.reshape(-1, 3))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.train.bf16):
            general = model.decode_general(canonical[:, : 2 * free], codes).float()
            overfit = model.decode_overfit(in_band, codes, touched).float()
        off_surface = data_term(general[:, :free], batch.free_distance, weights.clamp)
        near_surface = data_term(general[:, free:], batch.band_distance[:, :free])
        terms = {
            "general": weights.general * (off_surface + near_surface),
            "overfit": weights.overfit * data_term(overfit, batch.band_distance),
        }
        if weights.code > 0:
            terms["code"] = weights.code * norm_term(codes)
        if weights.feature > 0:
            terms["feature"] = weights.feature * norm_term(touched(in_band.reshape(-1, 3)))
        return terms | self._regularizers(weights, batch, codes, touched), touched

    def _regularizers(self, weights: LossConfig, batch: Batch, codes: Tensor, touched: Touched) -> dict[str, Tensor]:
        """Eikonal and heat terms: the general branch on uniform points of the box, the overfit branch in its band."""
        terms: dict[str, Tensor] = {}
        for name, weight, branch in (
            ("eikonal", weights.eikonal, weights.eikonal_branch),
            ("heat", weights.heat, weights.heat_branch),
        ):
            if weight == 0:
                continue
            if branch == "general":
                size = (len(codes), weights.regularizer_points, 3)
                points = torch.from_numpy(self.rng.uniform(-1, 1, size).astype(np.float32)).to(self.device)
            else:
                points = batch.band_points
            field = partial(self.model.branch, branch, codes=codes, lookup=touched)
            slope = gradient(field, points)
            if name == "eikonal":
                terms[name] = weight * eikonal_term(slope)
            else:
                density = 1 / _BOX_VOLUME if branch == "general" else 1.0
                terms[name] = weight * heat_term(field(points), slope, weights.heat_lambda, density)
        return terms

    def _require_finite(self, loss: Tensor, terms: dict[str, Tensor], rows: np.ndarray) -> None:
        if torch.isfinite(loss):
            return
        bad = [name for name, value in terms.items() if not torch.isfinite(value)]
        names = ", ".join(self.keys[row] for row in rows[:8])
        raise TrainingError(
            f"step {self.step}: the {' and '.join(bad)} term is not finite; shapes in the batch: {names}. "
            "The last checkpoint is kept; lower train.lr_network or train.lr_grid, or check these shapes"
        )

    def _next_shapes(self) -> np.ndarray:
        """Rows of the next batch: every shape once an epoch, in random order."""
        count = min(self.config.train.shapes_per_batch, len(self.keys))
        if len(self.order) < count:
            self.order = self.rng.permutation(len(self.keys))
        rows, self.order = self.order[:count], self.order[count:]
        return rows

    def _set_learning_rates(self) -> None:
        settings = self.config.train
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress())))
        decay = settings.lr_final + (1 - settings.lr_final) * cosine
        decay *= min(1.0, (self.step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
        self.network_adam.param_groups[0]["lr"] = settings.lr_network * decay
        self.grid_adam.lr = settings.lr_grid * decay
        self.code_adam.lr = settings.lr_code * decay

    def save(self, out: Path) -> None:
        """Write the checkpoint folder; raises TrainingError instead when a parameter is not finite."""
        for name, value in (*self.model.named_parameters(), ("codes", self.codes.table)):
            if not torch.isfinite(value).all():
                raise TrainingError(
                    f"step {self.step}: {name} is not finite; the last checkpoint is kept. Lower train.lr_network or "
                    "train.lr_grid"
                )
        checkpoint.save(
            out,
            self.model,
            self.codes.table,
            self.keys,
            self.similarities,
            self.normalization,
            self.config,
            self.state_dict(),
        )

    def state_dict(self) -> dict[str, Any]:
        """All that resuming needs beside the configuration, as tensors and plain values."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "codes": self.codes.state_dict(),
            "network_adam": self.network_adam.state_dict(),
            "grid_adam": self.grid_adam.state_dict(),
            "code_adam": self.code_adam.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "order": self.order.tolist(),
            "keys": self.keys,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue as if never stopped."""
        if state["keys"] != self.keys:
            raise CheckpointError(
                f"the checkpoint was trained on {len(state['keys'])} shapes, the store now holds {len(self.keys)}, "
                f"and not the same, for example {min(set(state['keys']) ^ set(self.keys))}; resume needs them all"
            )
        for name in ("model", "codes", "network_adam", "grid_adam", "code_adam"):
            getattr(self, name).load_state_dict(state[name])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.order = np.array(state["order"], dtype=np.int64)
        self.step = state["step"]
        self.seconds = state["seconds"]


def _check_output(out: Path, config: Config, *, resume: bool, overwrite: bool) -> None:
    """Refuse to lose a trained space, or to resume another one."""
    exists = (out / "model.safetensors").is_file()
    if resume:
        trained = checkpoint.load_config(out)
        # A longer budget is the point of resuming; everything else must be the same run.
        changed = _differences(asdict(trained), asdict(config))
        if changed:
            raise CheckpointError(
                f"{out}: was trained with preset '{trained.preset}', which differs from this configuration "
                f"('{config.preset}') in {', '.join(changed)}; pass the same --config, or another --out"
            )
    elif exists and not overwrite:
        raise CheckpointError(f"{out}: holds a trained space already; pass --resume, --overwrite, or another --out")


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    changed: list[str] = []
    for name, value in new.items():
        if isinstance(value, dict):
            changed += _differences(old[name], value, f"{prefix}{name}.")
        elif value != old[name] and name not in ("steps", "minutes"):
            changed.append(f"{prefix}{name} ({old[name]} -> {value})")
    return changed
