"""Train a space on a dataset of your own, without meshes and without a store.

The source computes exact samples of capsules when a batch is drawn, so nothing has to fit on disk. For
data that you already have, `SampleStore.add` is shorter: it takes meshes, points and signed samples.

Run it: python examples/own_dataset.py OUT
"""

import sys
from pathlib import Path

import numpy as np

import latentsdf as ls

CONFIG = ls.Config(
    model=ls.ModelConfig(
        code_dim=4, general=ls.BranchConfig(width=32, depth=3), grid=ls.GridConfig(resolution=16, channels=4)
    ),
    train=ls.TrainConfig(steps=150, points_per_shape=256, log_every=50),
)


class Capsules:
    """Capsules: points within a radius of a segment on the z axis; their signed distance is exact.

    `ids`, `batch` and optionally `normalization`, `similarities` and `close` are the interface `ls.BatchSource`.
    """

    normalization = "none"  # the shapes are defined in model space, the box [-1, 1]^3

    def __init__(self, half_lengths: list[float], radius: float = 0.2, count: int = 256) -> None:
        self.half, self.radius, self.count = np.array(half_lengths), radius, count
        self.ids = [f"capsule_{length:.2f}" for length in half_lengths]

    def from_segment(self, row: int, points: np.ndarray) -> np.ndarray:
        """Vectors (N, 3) from the closest points of the segment to points (N, 3)."""
        return points - [0, 0, 1] * np.clip(points[:, 2:], -self.half[row], self.half[row])

    def distance(self, row: int, points: np.ndarray) -> np.ndarray:
        """Signed distance (N,) of points (N, 3), negative inside."""
        return np.linalg.norm(self.from_segment(row, points), axis=1) - self.radius

    def batch(self, step: int, rng: np.random.Generator) -> ls.SourceBatch:  # noqa: ARG002
        """Return samples near the surface and anywhere in the box, of up to 8 shapes."""
        rows = rng.permutation(len(self.ids))[:8]
        band, box = [], []
        for row in rows:
            anywhere = rng.uniform(-1, 1, (self.count, 3))
            offset = self.from_segment(row, anywhere)
            normal = offset / np.linalg.norm(offset, axis=1, keepdims=True)
            near = anywhere - offset + normal * rng.normal(self.radius, 0.01, (self.count, 1))
            band.append(np.column_stack((near, self.distance(row, near))))
            box.append(np.column_stack((anywhere, self.distance(row, anywhere))))
        return ls.SourceBatch(rows, band=np.stack(band), offsurface=np.stack(box))


def main(out: Path) -> ls.ShapeSpace:
    """Train on capsules of several lengths and print how far the decoded surfaces are from the exact ones."""
    source = Capsules([0.1, 0.3, 0.5])
    space = ls.train(source=source, config=CONFIG, out=out / "space")
    for row, name in enumerate(space.ids):
        vertices = space.extract(name, resolution=64).vertices
        print(f"{name}: mean error {np.abs(source.distance(row, vertices)).mean():.4f}")
    return space


if __name__ == "__main__":
    main(Path(sys.argv[1]))
