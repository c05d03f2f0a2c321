"""Fit a code to a silhouette by differentiable rendering.

    python examples/fit_to_silhouette.py checkpoints/chairs --id kenney_chair

The target is the silhouette of a training shape seen along the z axis; the fit starts at the mean code. Each pixel has
a ray of points. The smallest distance along a ray determines whether the ray meets the shape (negative) or passes it
(positive), so a sigmoid of it is a soft silhouette with gradients by the code (compare Liu et al. 2020, DIST).
"""

import argparse

import torch
from torch import Tensor

import latentsdf as ls

_SOFTNESS = 0.02  # distance in model space over which a pixel turns from covered to empty


def rays(size: int, steps: int) -> Tensor:
    """Points (size, size, steps, 3) along parallel rays through the box [-1, 1]^3 of model space."""
    axis = torch.linspace(-0.95, 0.95, size)
    y, x, z = torch.meshgrid(-axis, axis, torch.linspace(1, -1, steps), indexing="ij")
    return torch.stack((x, y, z), dim=-1)


def silhouette(space: ls.ShapeSpace, code: Tensor, points: Tensor) -> Tensor:
    """Soft coverage (size, size) of the pixels, 0 to 1."""
    return torch.sigmoid(-space.sdf(code, points).amin(dim=-1) / _SOFTNESS)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit a code to a silhouette.")
    parser.add_argument("checkpoint", help="folder of the space")
    parser.add_argument("--id", help="training shape that casts the silhouette; default: the first one")
    parser.add_argument("--size", type=int, default=32, help="pixels per side")
    parser.add_argument("--steps", type=int, default=60, help="steps of the optimizer")
    arguments = parser.parse_args()

    space = ls.load(arguments.checkpoint)
    points = rays(arguments.size, steps=32).to(space.device)
    with torch.no_grad():
        target = silhouette(space, space.code(arguments.id or space.ids[0]), points)

    code = torch.as_tensor(space.mean(), device=space.device).requires_grad_()
    optimizer = torch.optim.Adam([code], lr=0.01)
    for step in range(arguments.steps):
        loss = (silhouette(space, code, points) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in (0, arguments.steps - 1):
            print(f"step {step}: squared error of the silhouette {loss.item():.6f}")

    found, wanted = silhouette(space, code, points) > 0.5, target > 0.5
    overlap = (found & wanted).sum() / (found | wanted).sum().clamp(min=1)
    print(f"overlap of the silhouettes (IoU): {overlap.item():.3f}")


if __name__ == "__main__":
    main()
