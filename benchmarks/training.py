"""Training steps of one model done two ways, alternating in one run, at the same batches.

The reference way: channel-first grid through F.grid_sample with a dense gradient, torch's Adam over every value, the
shapes' samples as one flat list with the code beside every point. Ours: rows by vertex, lazy Adam on the rows touched,
the code once a shape. Prints samples/s of both with their spread, and their ratio.

python benchmarks/training.py [--resolution 128] [--channels 32] [--shapes 64] [--points 256] [--rounds 7]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentsdf.config import BranchConfig, GridConfig, ModelConfig
from latentsdf.losses import data_term, norm_term
from latentsdf.memory import keep_freed_memory
from latentsdf.model.decoder import ConditionedLinear, Decoder
from latentsdf.model.field import LatentSDF
from latentsdf.optim import RowAdam

Batch = tuple[Tensor, Tensor, Tensor]
"""Rows of the shapes (S,), points (S, P, 3), distances (S, P)."""

_RATES = {"network": 1e-3, "grid": 1e-2, "code": 1e-3}
_BETAS = (0.9, 0.99)


def small_model(resolution: int, channels: int, width: int = 64) -> LatentSDF:
    """A dual-branch model whose layers both ways can express: concatenated codes, no warp, no encoding."""
    branch = BranchConfig(width=width, depth=3, conditioning="concat", frequencies=0)
    grid = GridConfig(resolution, channels)
    return LatentSDF(ModelConfig(32, BranchConfig(width=0), branch, branch, grid))


def batches(count: int, shapes: int, points: int, known: int) -> list[Batch]:
    """Points near spheres of different radii, with their distances."""
    radius = torch.linspace(0.3, 0.8, known)
    drawn = []
    for _ in range(count):
        rows = torch.randperm(known)[:shapes]
        way = F.normalize(torch.randn(shapes, points, 3), dim=-1)
        distance = 0.02 * torch.randn(shapes, points)
        drawn.append((rows, way * (radius[rows, None] + distance)[..., None], distance))
    return drawn


class ReferenceWay:
    """What published code does, on a model's weights."""

    def __init__(self, model: LatentSDF, codes: Tensor) -> None:
        grid = model.shared_grid()
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
        """The data terms and the prior."""
        rows, points, distance = (x.flatten(0, 1) if x.dim() > 1 else x for x in batch)
        code = self.codes(rows.repeat_interleave(len(points) // len(rows)))
        features = F.grid_sample(self.volume, points.flip(-1).view(1, -1, 1, 1, 3), align_corners=True)
        general = self.general(torch.cat((points, code), dim=1)).squeeze(1)
        overfit = self.overfit(torch.cat((points, features.view(len(self.volume[0]), -1).T, code), dim=1)).squeeze(1)
        return data_term(general, distance) + data_term(overfit, distance) + 1e-4 * norm_term(code)

    def step(self, batch: Batch) -> float:
        """One optimization step."""
        self.adam.zero_grad()
        loss = self.loss(batch)
        loss.backward()
        self.adam.step()
        return loss.item()


class OurWay:
    """What `latentsdf.run` does, on the same weights."""

    def __init__(self, model: LatentSDF, codes: Tensor) -> None:
        self.model, self.codes = model, codes.clone()
        networks = [p for name, p in model.named_parameters() if name != "grid.table"]
        self.adam = torch.optim.Adam(networks, lr=_RATES["network"], betas=_BETAS, eps=1e-12, fused=True)
        self.grid_adam = RowAdam(model.shared_grid().table.data, _RATES["grid"], _BETAS)
        self.code_adam = RowAdam(self.codes, _RATES["code"], _BETAS)

    def step(self, batch: Batch) -> float:
        """One optimization step."""
        rows, points, distance = batch
        codes = self.codes[rows].requires_grad_()
        self.adam.zero_grad(set_to_none=True)
        touched = self.model.shared_grid().touch(points.reshape(-1, 3))
        general = self.model.decode_general(points, codes)
        overfit = self.model.decode_overfit(points, codes, touched)
        loss = data_term(general, distance) + data_term(overfit, distance) + 1e-4 * norm_term(codes)
        loss.backward()
        self.adam.step()
        assert touched.features.grad is not None and codes.grad is not None
        self.grid_adam.step(touched.rows, touched.features.grad)
        self.code_adam.step(rows, codes.grad)
        return loss.item()


def _joined(decoder: Decoder) -> nn.Sequential:
    """The same network on points joined with the code."""
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


def main() -> None:
    """Print both rates and their ratio, and the same as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = (("resolution", 128), ("channels", 32), ("shapes", 64), ("points", 256), ("rounds", 7), ("width", 64))
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    codes = 0.1 * torch.randn(2 * arguments.shapes, 32)
    model = small_model(arguments.resolution, arguments.channels, arguments.width)
    ways: dict[str, Callable[[Batch], float]] = {
        "F.grid_sample, dense Adam, flat": ReferenceWay(model, codes).step,
        "rows, lazy Adam, S x P": OurWay(model, codes).step,
    }
    drawn = batches(arguments.rounds + 1, arguments.shapes, arguments.points, len(codes))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number, batch in enumerate(drawn):
        for name, step in ways.items():
            started = time.perf_counter()
            step(batch)
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
    result = {"samples_per_second": rates, "ratio": middle, "ratios": ratios, "threads": threads, **vars(arguments)}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
