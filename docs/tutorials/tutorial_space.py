"""The space of the tutorials: 24 procedural chairs and tables, trained in half a minute and kept in a folder."""

import os
from pathlib import Path

import latentsdf as ls
from latentsdf.data.furniture import furniture

SAMPLING = ls.SamplingConfig(
    resolution=128, band_voxels=4.0, sparse_resolution=32, near=8000, uniform=8000, surface=2000
)
CONFIG = ls.Config(
    model=ls.ModelConfig(
        code_dim=16,
        general=ls.BranchConfig(width=64),
        overfit=ls.BranchConfig(width=48, depth=2),
        grid=ls.GridConfig(resolution=64, channels=8),
    ),
    train=ls.TrainConfig(
        steps=int(os.environ.get("LATENTSDF_TUTORIAL_STEPS", "400")), shapes_per_batch=24, points_per_shape=256
    ),
)


def tutorial_space() -> ls.ShapeSpace:
    """Open the space, and train it first if there is none.

    The folder is that of the environment variable LATENTSDF_TUTORIAL_DATA, by default `tutorial_space`. The variable
    LATENTSDF_TUTORIAL_STEPS sets the number of training steps; 5,000 steps give finer shapes in minutes.
    """
    folder = Path(os.environ.get("LATENTSDF_TUTORIAL_DATA", "tutorial_space"))
    if not (folder / "space" / "manifest.json").is_file():
        shapes = {
            f"{family}/{family}_{n:02d}": furniture(family, n) for family in ("chair", "table") for n in range(12)
        }
        store = ls.preprocess(shapes, folder / "samples.zarr", SAMPLING)
        ls.train(store, CONFIG, out=folder / "space", overwrite=True)
    return ls.load(folder / "space")
