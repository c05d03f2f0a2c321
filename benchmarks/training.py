"""Speed of a training step, against a reference implementation with the same model and batches.

The reference uses a channel-first grid with F.grid_sample and a dense gradient, torch's Adam on all values, and samples
in one flat batch with the code concatenated to every point. Ours uses a vertex-major grid, lazy Adam on the rows that
the batch reads, and codes per shape. Both implementations alternate in one process. The output is the samples per
second of both with their range, and the ratio.

With a store, the time to a given error is measured as well: the seconds of training steps until the mean error of the
overfit branch on fixed band samples is at most --target. Both use the same constant learning rates.

python benchmarks/training.py [--resolution 128] [--channels 32] [--shapes 64] [--points 256] [--rounds 7]
    [--data chairs.zarr [--target 0.002] [--minutes 10]]
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.store import SampleStore
from latentsdf.models.decoder import ConditionedLinear, Decoder
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training.losses.data import data_term, norm_term
from latentsdf.training.row_adam import RowAdam
from latentsdf.utils.malloc import keep_freed_memory

Batch = tuple[Tensor, Tensor, Tensor]
"""Rows of the shapes (S,), points (S, P, 3), distances (S, P)."""

_RATES = {"network": 1e-3, "grid": 1e-2, "code": 1e-3}
_BETAS = (0.9, 0.99)


def small_model(resolution: int, channels: int, width: int = 64) -> LatentSDF:
    """Create a dual-branch model that both implementations support: concatenated codes, no warp, no encoding."""
    branch = BranchConfig(width=width, depth=3, conditioning="concat", frequencies=0)
    grid = GridConfig(resolution, channels)
    return LatentSDF(
        ModelConfig(code_dim=32, warp=BranchConfig(width=0), general=branch, overfit=branch, grid=grid, residual=False)
    )


def batches(count: int, shapes: int, points: int, known: int) -> list[Batch]:
    """Draw batches of points near spheres of different radii, with their distances."""
    radius = torch.linspace(0.3, 0.8, known)
    drawn = []
    for _ in range(count):
        rows = torch.randperm(known)[:shapes]
        direction = F.normalize(torch.randn(shapes, points, 3), dim=-1)
        distance = 0.02 * torch.randn(shapes, points)
        drawn.append((rows, direction * (radius[rows, None] + distance)[..., None], distance))
    return drawn


class ReferenceTrainer:
    """Training step with the operations of published code, initialized from a model."""

    def __init__(self, model: LatentSDF, codes: Tensor) -> None:
        grid = model.require_grid()
        side = grid.resolution + 1
        self.volume = nn.Parameter(grid.table.detach().T.reshape(1, grid.channels, side, side, side).clone())
        self.codes = nn.Embedding.from_pretrained(codes.clone(), freeze=False)
        assert model.overfit is not None
        self.general, self.overfit = (_joined(branch) for branch in (model.general, model.overfit))
        networks = [*self.general.parameters(), *self.overfit.parameters()]
        groups = [
            {"params": networks, "lr": _RATES["network"]},
            {"params": [self.volume], "lr": _RATES["grid"]},
            {"params": list(self.codes.parameters()), "lr": _RATES["code"]},
        ]
        self.adam = torch.optim.Adam(groups, betas=_BETAS, eps=1e-12)

    def loss(self, batch: Batch) -> Tensor:
        """Compute the data terms and the code prior."""
        rows, points, distance = (x.flatten(0, 1) if x.dim() > 1 else x for x in batch)
        code = self.codes(rows.repeat_interleave(len(points) // len(rows)))
        general = self.general(torch.cat((points, code), dim=1)).squeeze(1)
        overfit = self._detailed(points, code)
        return data_term(general, distance) + data_term(overfit, distance) + 1e-4 * norm_term(code)

    def error(self, batch: Batch) -> float:
        """Compute the mean error of the overfit branch."""
        rows, points, distance = (x.flatten(0, 1) if x.dim() > 1 else x for x in batch)
        with torch.no_grad():
            return data_term(
                self._detailed(points, self.codes(rows.repeat_interleave(len(points) // len(rows)))), distance
            ).item()

    def _detailed(self, points: Tensor, code: Tensor) -> Tensor:
        features = F.grid_sample(self.volume, points.flip(-1).view(1, -1, 1, 1, 3), align_corners=True)
        return self.overfit(torch.cat((points, features.view(len(self.volume[0]), -1).T, code), dim=1)).squeeze(1)

    def step(self, batch: Batch) -> float:
        """Take an optimization step and return the loss."""
        self.adam.zero_grad()
        loss = self.loss(batch)
        loss.backward()
        self.adam.step()
        return loss.item()


class RowTrainer:
    """Training step with the operations of `latentsdf.training.trainer`, initialized from the same model."""

    def __init__(self, model: LatentSDF, codes: Tensor) -> None:
        self.model, self.codes = model, codes.clone()
        networks = [p for name, p in model.named_parameters() if name != "grid.table"]
        self.adam = torch.optim.Adam(networks, lr=_RATES["network"], betas=_BETAS, eps=1e-12, fused=True)
        self.grid_adam = RowAdam(model.require_grid().table.data, _RATES["grid"], _BETAS)
        self.code_adam = RowAdam(self.codes, _RATES["code"], _BETAS)

    def step(self, batch: Batch) -> float:
        """Take an optimization step and return the loss."""
        rows, points, distance = batch
        codes = self.codes[rows].requires_grad_()
        self.adam.zero_grad(set_to_none=True)
        touched = self.model.require_grid().select_rows(points.reshape(-1, 3))
        general = self.model.decode_general(points, codes)
        overfit = self.model.decode_overfit(points, codes, touched)
        loss = data_term(general, distance) + data_term(overfit, distance) + 1e-4 * norm_term(codes)
        loss.backward()
        self.adam.step()
        assert touched.features.grad is not None and codes.grad is not None
        self.grid_adam.step(touched.rows, touched.features.grad)
        self.code_adam.step(rows, codes.grad)
        return loss.item()

    def error(self, batch: Batch) -> float:
        """Compute the mean error of the overfit branch."""
        rows, points, distance = batch
        with torch.no_grad():
            return data_term(self.model.decode_overfit(points, self.codes[rows]), distance).item()


def _joined(decoder: Decoder) -> nn.Sequential:
    """Convert a decoder to a plain network on points concatenated with the code."""
    layers: list[nn.Module] = []
    for layer in decoder.layers:
        if isinstance(layer, ConditionedLinear):
            weight = torch.cat((layer.linear.weight, layer.shift.weight), dim=1).detach()
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.weight.data.copy_(weight)
            linear.bias.data.copy_(layer.linear.bias)
        else:
            assert isinstance(layer, nn.Linear)
            linear = nn.Linear(layer.in_features, layer.out_features)
            linear.load_state_dict(layer.state_dict())
        layers += [linear, nn.ReLU()]
    last = nn.Linear(decoder.last.in_features, decoder.last.out_features)
    last.load_state_dict(decoder.last.state_dict())
    return nn.Sequential(*layers, last)


def both_trainers(arguments: argparse.Namespace, shapes: int) -> dict[str, ReferenceTrainer | RowTrainer]:
    """Create both implementations with the same weights and codes, the reference first."""
    torch.manual_seed(0)
    codes = 0.1 * torch.randn(shapes, 32)
    model = small_model(arguments.resolution, arguments.channels, arguments.width)
    reference = ReferenceTrainer(model, codes)
    return {"F.grid_sample, dense Adam, flat": reference, "rows, lazy Adam, S x P": RowTrainer(model, codes)}


def store_batches(path: Path, shapes: int, points: int, seed: int) -> Callable[[int], Batch]:
    """Return a function from a step to a batch of band samples of a store."""
    store = SampleStore.open(path)
    settings = TrainConfig(shapes_per_batch=shapes, points_per_shape=points, free_share=0, seed=seed)
    pool = ShapeSamplePool(store, store.keys(), settings, LossConfig())

    def draw(step: int) -> Batch:
        batch = pool.batch(step)
        return batch.shape_index, batch.band_points, batch.band_distance

    return draw


def seconds_to_error(
    trainers: dict[str, "ReferenceTrainer | RowTrainer"],
    draw: Callable[[int], Batch],
    held: Batch,
    target: float,
    minutes: float,
    every: int = 25,
) -> dict[str, tuple[float, int, float]]:
    """Train each implementation until the target error or its time is reached; return seconds, steps and error."""
    done: dict[str, tuple[float, int, float]] = {name: (0.0, 0, math.inf) for name in trainers}
    while running := [name for name, (spent, _, error) in done.items() if error > target and spent < 60 * minutes]:
        # The implementation with the least time continues, so that changes in machine load affect both.
        name = min(running, key=lambda name: done[name][0])
        spent, first, _ = done[name]
        for step in range(first, first + every):
            batch = draw(step)
            started = time.perf_counter()
            trainers[name].step(batch)
            spent += time.perf_counter() - started
        done[name] = (spent, first + every, trainers[name].error(held))
    return done


def main() -> None:
    """Print both rates and their ratio, as text and as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = (("resolution", 128), ("channels", 32), ("shapes", 64), ("points", 256), ("rounds", 7), ("width", 64))
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--data", type=Path, help="store with which the time to a given error is measured")
    parser.add_argument("--target", type=float, default=2e-3, help="target error in model space (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="time limit of each implementation (default: %(default)s)"
    )
    arguments = parser.parse_args()
    keep_freed_memory()
    trainers = both_trainers(arguments, 2 * arguments.shapes)
    drawn = batches(arguments.rounds + 1, arguments.shapes, arguments.points, 2 * arguments.shapes)
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for number, batch in enumerate(drawn):
        for name, trainer in trainers.items():
            started = time.perf_counter()
            trainer.step(batch)
            if number > 0:  # the first round compiles
                seconds[name].append(time.perf_counter() - started)
    reference, ours = seconds.values()
    ratios = sorted(slow / fast for slow, fast in zip(reference, ours, strict=True))
    samples = arguments.shapes * arguments.points
    rates = {name: samples / statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        spread = f"{samples / max(times):,.0f} to {samples / min(times):,.0f}"
        sys.stdout.write(f"{name:32s} {rates[name]:12,.0f} samples/s  ({spread})\n")
    middle = statistics.median(ratios)
    threads = torch.get_num_threads()
    sys.stdout.write(f"ratio {middle:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}), {threads} threads\n")
    result = {"samples_per_second": rates, "ratio": middle, "ratios": ratios, "threads": threads}
    if arguments.data is not None:
        draw, held = (store_batches(arguments.data, arguments.shapes, arguments.points, seed) for seed in (0, 1))
        trainers = both_trainers(arguments, len(SampleStore.open(arguments.data)))
        found = seconds_to_error(trainers, draw, held(0), arguments.target, arguments.minutes)
        for name, (spent, steps, error) in found.items():
            sys.stdout.write(f"{name:32s} {spent:8.1f} s, {steps:,} steps to an error of {error:.2e}\n")
        result["to_error"] = found
    sys.stdout.write(json.dumps(result | {name: str(value) for name, value in vars(arguments).items()}) + "\n")


if __name__ == "__main__":
    main()
