"""A folder with small stand-ins for the data that the examples of the documentation name."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trimesh
from helpers import hub_server
from helpers.preprocessing import tasks_in_this_process
from helpers.settings import SMALL_SAMPLING, small_config

from latentsdf.config.arguments import with_options
from latentsdf.config.inversion import InvertConfig

if TYPE_CHECKING:
    from latentsdf.space import ShapeSpace

IDS = ("kenney_chair", "A", "B", "C")


@pytest.fixture
def workplace(tmp_path: Path, space: "ShapeSpace", monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Current folder with a space, a store, meshes, scans and splits under the names of the documentation.

    Training without settings takes three steps.
    """
    import latentsdf as ls
    from latentsdf.data.furniture import furniture
    from latentsdf.training import checkpoint

    monkeypatch.chdir(tmp_path)
    keys = [f"chair/{name}" for name in IDS]
    similarities = [space.similarity(row) for row in range(len(IDS))]
    content = (space.model, space.codes, keys, similarities, space.normalization, space.config)
    for name in ("chairs", "furniture"):
        checkpoint.save(Path("checkpoints") / name, *content, None, steps=0)
    for number, name in enumerate(IDS):
        for folder in ("meshes/furniture/chair", "meshes/train/sofa"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            furniture("table", number).export(f"{folder}/{name}.obj")
    for name in (
        "new_chair.obj",
        "chair.obj",
        "a.obj",
        "b.obj",
        "c.obj",
        "new.obj",
        "thing.stl",
        "mesh.ply",
        "mine.obj",
    ):
        furniture("table", 9).export(name)
    ls.preprocess("meshes/furniture", "chairs.zarr", SMALL_SAMPLING)
    Path("splits").mkdir()
    Path("splits/chair_train.json").write_text(json.dumps({"furniture": {"chair": list(IDS)}}))
    Path("splits/chair_test.json").write_text(json.dumps({"furniture": {"chair": ["C"]}}))
    points = trimesh.sample.sample_surface(furniture("table", 8), 400, seed=0)[0]
    trimesh.PointCloud(points).export("scan.ply")
    np.savetxt("truth.xyz", points)
    np.save("points.npy", np.asarray(points))
    np.save("scan.npy", np.asarray(points))
    monkeypatch.setattr("latentsdf.space.Config", lambda: small_config(steps=3))
    monkeypatch.setattr("latentsdf.reconstruction.sampling._GUIDE_POINTS", 2000)
    monkeypatch.setattr("latentsdf.space.with_options", _small_options)
    monkeypatch.setattr("latentsdf.cli.view.time", SimpleNamespace(sleep=_interrupt))
    with tasks_in_this_process(), hub_server.serve() as hub:
        hub_server.log_in(hub, tmp_path / "hf", monkeypatch)
        yield tmp_path


def _small_options(kind: type[Any], config: Any, options: dict[str, Any]) -> Any:
    """Return settings as `with_options`, where fits without settings take a few steps."""
    if kind is InvertConfig and config is None:
        options = {"steps": 3, "starts": 1, "points": 256} | options
    return with_options(kind, config, options)


def _interrupt(_: float) -> None:
    """Press Ctrl-C, which ends `latentsdf view` once it serves its page."""
    raise KeyboardInterrupt


@pytest.fixture
def given_names(workplace: Path, space: "ShapeSpace") -> dict[str, Any]:  # noqa: ARG001
    """What the examples call the reader's own data."""
    import torch

    from latentsdf.data.furniture import furniture

    class MyNetwork(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, points: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
            return points.norm(dim=-1) * self.scale - 0.5 + codes.mean(dim=-1, keepdim=True)

    class MySource:
        ids = ("one", "two")

        def batch(self, step: int, rng: np.random.Generator) -> Any:  # noqa: ARG002
            import latentsdf as ls

            points = rng.uniform(-1, 1, (2, 64, 3))
            samples = np.concatenate((points, np.linalg.norm(points, axis=2, keepdims=True) - 0.5), axis=2)
            return ls.SourceBatch(np.arange(2), band=samples, offsurface=samples)

    mesh = furniture("table", 0)
    points = np.load("points.npy")
    signed = np.random.default_rng(0).uniform(-1, 1, (500, 4))
    signed[:, 3] = np.linalg.norm(signed[:, :3], axis=1) - 0.5
    signed[:100, :3] *= (0.5 + signed[:100, :1] * 0.01) / np.linalg.norm(signed[:100, :3], axis=1, keepdims=True)
    signed[:100, 3] = np.linalg.norm(signed[:100, :3], axis=1) - 0.5
    return {
        "scan": points,
        "normals": points,
        "points": points,
        "mesh_b": mesh,
        "original": mesh,
        "samples": signed,
        "z": space.codes[0],
        "x": torch.zeros(5, 3),
        "my_sampler": lambda distance, count, rng: rng.integers(len(distance), size=count),
        "MyNetwork": MyNetwork,
        "my_source": MySource(),
    }
