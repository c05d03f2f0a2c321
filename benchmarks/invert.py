"""Inversion of unseen meshes: DeepSDF's optimization against ours, on the same space, samples and truncation.

python benchmarks/invert.py CHECKPOINT MESH [MESH ...] [--align] [--one-code] [--batch 16] [--recipe-steps 800]

DeepSDF (Park et al. 2019, Eq. 10): z ~ N(0, 0.01), 800 Adam steps with learning rate 5e-3, reduced to a tenth after
half of the steps, 4,000 samples per step for each branch, mean absolute errors truncated at 0.1 plus 1e-4 mean z^2. The
error is the sum of both branches' mean absolute errors (truncated; s_o's within 0.05 of the surface) on held-out
samples. Both methods alternate. `--batch` also times our inversion of that many observations in one batch against a
single one. Our inversion ends with one code per conditioned layer; with `--one-code` it fits a single code, like
DeepSDF. `reached` is the time of our shortest inversion (at most 3, 6, 12, 24 or 40 steps) whose error is no larger
than DeepSDF's, over DeepSDF's time; inf if there is none.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
import torch

import latentsdf as ls
from latentsdf.config.inversion import InvertConfig
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.observation import NEAR, Observation, observe
from latentsdf.models.latent_sdf import LatentSDF

CLAMP = 0.1
BUDGETS = (3, 6, 12, 24, 40)


def loss(model: LatentSDF, code: torch.Tensor, points: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """Sum of both branches' mean absolute errors, for points (P, 3) and distances (P,)."""
    near = distance.abs() < NEAR
    wanted = distance.clamp(-CLAMP, CLAMP)
    general, overfit = ((d[0].clamp(-CLAMP, CLAMP) - wanted).abs() for d in model(points[None], code[None]))
    return general.mean() + overfit[near].mean()


def recipe(model: LatentSDF, seen: Observation, steps: int, dim: int) -> tuple[torch.Tensor, float]:
    """Code (L,) fitted by DeepSDF's optimization, and its seconds."""
    draw = torch.Generator().manual_seed(0)
    code = (0.01 * torch.randn(dim, generator=draw)).requires_grad_()
    adam = torch.optim.Adam([code], lr=5e-3)
    points, distance = torch.from_numpy(seen.points), torch.from_numpy(seen.low)
    started = time.perf_counter()
    for step in range(steps):
        adam.param_groups[0]["lr"] = 5e-3 if step < steps // 2 else 5e-4
        pick = torch.randint(len(points), (4000,), generator=draw)
        adam.zero_grad()
        (loss(model, code, points[pick], distance[pick]) + 1e-4 * code.square().mean()).backward()
        adam.step()
    return code.detach(), time.perf_counter() - started


def held_out(model: LatentSDF, code: torch.Tensor, unseen: Observation, placed: Similarity) -> float:
    """Error on held-out samples, evaluated in the frame of the fit."""
    points = placed.to_model(unseen.similarity.to_user(unseen.points)).astype(np.float32)
    scale = placed.scale / unseen.similarity.scale
    with torch.no_grad():
        branches = model(torch.from_numpy(points)[None], code[None])
    distance = torch.from_numpy(unseen.low)
    near, wanted = distance.abs() < NEAR, distance.clamp(-CLAMP, CLAMP)
    general, overfit = (((d[0] / scale).clamp(-CLAMP, CLAMP) - wanted).abs() for d in branches)
    return float(general.mean() + overfit[near].mean())


def main() -> None:
    """Print a line per shape and the quartiles of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("meshes", type=Path, nargs="+")
    parser.add_argument("--align", action="store_true")
    parser.add_argument("--one-code", action="store_true")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--recipe-steps", type=int, default=800)
    arguments = parser.parse_args()
    space = ls.load(arguments.checkpoint, "cpu")
    config = InvertConfig(align=arguments.align, by_layer=not arguments.one_code, assess=False)
    seen = [observe(path, space.normalization) for path in arguments.meshes]
    space.invert(seen[0], dataclasses.replace(config, steps=2))  # compiles kernels
    ratios = []
    for path, one in zip(arguments.meshes, seen, strict=True):
        unseen = observe(path, space.normalization, seed=1)
        code, slow = recipe(space.model, one, arguments.recipe_steps, space.codes.shape[1])
        published = held_out(space.model, code, unseen, one.similarity)
        reached = np.inf
        for steps in BUDGETS:
            started = time.perf_counter()
            fit = space.invert(one, dataclasses.replace(config, steps=steps))
            quick = time.perf_counter() - started
            ours = held_out(space.model, space.decoded_code(fit), unseen, fit.similarity)
            reached = min(reached, quick) if ours <= published else reached
        ratios.append((reached / slow, quick / slow, ours / published))
        sys.stdout.write(
            f"{path.stem[-32:]:32s} recipe {slow:6.1f} s {published:.4f}   ours {quick:5.2f} s {ours:.4f}   "
            f"reached {reached / slow:.3f}   time {quick / slow:.3f}   error {ours / published:.3f}\n"
        )
        sys.stdout.flush()
    for name, column in zip(("reached", "time", "error"), np.array(ratios).T, strict=True):
        low, middle, high = np.quantile(column, (0.25, 0.5, 0.75))
        sys.stdout.write(f"{name} of ours / recipe's: median {middle:.3f}, quartiles {low:.3f} to {high:.3f}\n")
    if arguments.batch:
        many = [seen[i % len(seen)] for i in range(arguments.batch)]
        seconds = []
        for batch in (seen[:1], many):
            started = time.perf_counter()
            space.invert_many(batch, config)
            seconds.append(time.perf_counter() - started)
        sys.stdout.write(f"{arguments.batch} at once cost {seconds[1] / seconds[0]:.1f} x one ({seconds[0]:.2f} s)\n")


if __name__ == "__main__":
    main()
