"""Train a space with a loss and a callback of your own.

The loss makes the surfaces of all training shapes mirror-symmetric in x, as most furniture is. It sees the points of
the step, the codes and, through `step.distance` and `step.gradient`, the signed distances of the model.

Run it: python examples/own_loss.py OUT
"""

import sys
from pathlib import Path

import torch

import latentsdf as ls
from latentsdf.data.furniture import furniture

SAMPLING = ls.SamplingConfig(
    resolution=64, band_voxels=3.0, sparse_resolution=32, near=4000, uniform=4000, surface=1000
)
SMALL = ls.Config(
    model=ls.ModelConfig(
        code_dim=8, general=ls.BranchConfig(width=32, depth=3), grid=ls.GridConfig(resolution=32, channels=4)
    ),
    train=ls.TrainConfig(steps=60, shapes_per_batch=3, points_per_shape=256, log_every=10),
)


def mirror_symmetry(step: ls.TrainStep) -> torch.Tensor:
    """Return the mean difference of the distances at points and at their mirror images; a scalar tensor."""
    points = step.band_points[:, :64]
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0], device=points.device)
    return (step.distance(points) - step.distance(mirrored)).abs().mean()


class Progress(ls.Callback):
    """Prints the own loss; `run.stop()` would end the run early."""

    def on_step(self, run, metrics):
        """Print every 20th step."""
        if run.step % 20 == 0:
            print(f"step {run.step}: loss {metrics['loss']:.3f}, mirror symmetry {metrics['mirror']:.4f}")


def main(out: Path) -> ls.ShapeSpace:
    """Train on three tables; the loss has the weight 0.5 in the first half of the run and falls to 0.1."""
    tables = {f"table_{seed}": furniture("table", seed) for seed in range(3)}
    store = ls.preprocess(tables, out / "tables.zarr", SAMPLING)
    space = ls.train(
        store,
        SMALL,
        out=out / "space",
        losses={"mirror": (mirror_symmetry, (0.5, 0.5, 0.5, 0.1))},
        callbacks=[Progress()],
    )
    print(f"{len(space.ids)} shapes; the metrics are in {space.folder / 'metrics.jsonl'}")
    return space


if __name__ == "__main__":
    main(Path(sys.argv[1]))
