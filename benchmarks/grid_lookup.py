"""Training step of the feature grid: row lookup with RowAdam against `F.grid_sample` with dense Adam, alternating.

python benchmarks/grid_lookup.py [--resolution 128] [--channels 16] [--points 16384] [--rounds 7]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from latentsdf.models.feature_grid import FeatureGrid
from latentsdf.training.row_adam import RowAdam


def reference_step(resolution: int, channels: int, points: torch.Tensor) -> Callable[[], float]:
    """Create a step with a channel-first volume, F.grid_sample, and torch's Adam on all values."""
    side = resolution + 1
    volume = torch.zeros(1, channels, side, side, side, requires_grad=True)
    adam = torch.optim.Adam([volume], lr=0.01)
    where = points.flip(-1).reshape(1, -1, 1, 1, 3)

    def step() -> float:
        adam.zero_grad()
        loss = (F.grid_sample(volume, where, align_corners=True) - 1).square().mean()
        loss.backward()
        adam.step()
        return loss.item()

    return step


def our_step(resolution: int, channels: int, points: torch.Tensor) -> Callable[[], float]:
    """Create a step that reads and updates only the rows of the batch."""
    grid = FeatureGrid(resolution, channels)
    adam = RowAdam(grid.table.data, lr=0.01)

    def step() -> float:
        touched = grid.select_rows(points)
        loss = (touched(points) - 1).square().mean()
        loss.backward()
        assert touched.features.grad is not None
        adam.step(touched.rows, touched.features.grad)
        return loss.item()

    return step


def main() -> None:
    """Print samples per second of both and their ratio, median and spread over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("resolution", 128), ("channels", 16), ("points", 16384), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    points = torch.rand(arguments.points, 3) * 2 - 1
    steps = {
        "F.grid_sample + Adam": reference_step(arguments.resolution, arguments.channels, points),
        "rows + RowAdam": our_step(arguments.resolution, arguments.channels, points),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(arguments.rounds + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if round_number > 0:
                seconds[name].append(time.perf_counter() - started)
    reference, ours = (statistics.median(seconds[name]) for name in steps)
    for name, times in seconds.items():
        rate = arguments.points / statistics.median(times)
        sys.stdout.write(f"{name:22s} {rate:12,.0f} points/s  (spread {min(times):.4f} to {max(times):.4f} s)\n")
    sys.stdout.write(f"ratio {reference / ours:.1f}x, {torch.get_num_threads()} threads, {torch.__version__}\n")


if __name__ == "__main__":
    main()
