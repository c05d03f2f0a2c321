"""A tiny installed package whose entry points offer losses, sources and samplers."""

from pathlib import Path

import pytest

_CODE = """
import numpy as np
from latentsdf import SourceBatch

def small_codes(step):
    return step.codes.square().mean()

def first_samples(distance, count, rng):
    return np.arange(count) % len(distance)

class Balls:
    def __init__(self, data, config):
        self.radii = [float(line) for line in data.read_text().split()]
        self.ids = [f"ball_{i}" for i in range(len(self.radii))]
        self.count = config.train.points_per_shape

    def batch(self, step, rng):
        def samples(points):
            return np.dstack((points, np.linalg.norm(points, axis=-1) - np.array(self.radii)[:, None]))
        shape = (len(self.radii), self.count, 3)
        near = rng.normal(size=shape)
        near *= np.array(self.radii)[:, None, None] / np.linalg.norm(near, axis=-1, keepdims=True)
        box = rng.uniform(-1, 1, shape)
        return SourceBatch(range(len(self.radii)), samples(near + rng.normal(scale=0.01, size=shape)), samples(box))
"""

_ENTRY_POINTS = """
[latentsdf.losses]
small_codes = {module}:small_codes
broken = {module}:missing
[latentsdf.samplers]
first = {module}:first_samples
[latentsdf.sources]
balls = {module}:Balls
"""


def install_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str = "latentsdf_test_plugin") -> None:
    """Write the package and its metadata, as pip does, to a folder and put it on the path.

    It offers the losses `small_codes` and `broken` (which cannot be imported), the sampler `first` and the source
    `balls`, which reads radii from a text file.
    """
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(_CODE)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS.format(module=module))
    monkeypatch.syspath_prepend(folder)
