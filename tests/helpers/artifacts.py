"""Tiny artifacts of every kind, which are written and read in milliseconds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh

from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.config.reconstruction import NetworkConfig, ReconstructConfig
from latentsdf.config.training import Config
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.latent.inversion.delta import Delta
from latentsdf.latent.inversion.fit_folder import Inversion, load_fit
from latentsdf.latent.saved_index import SavedIndex
from latentsdf.models.factory import build_network
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.reconstruction.fit_checkpoint import FitCheckpoint
from latentsdf.reconstruction.result import Reconstruction, load_field
from latentsdf.training import checkpoint

MODEL = ModelConfig(
    code_dim=3,
    warp=BranchConfig(width=0),
    general=BranchConfig(width=4, depth=1, conditioning="concat", frequencies=0),
    overfit=BranchConfig(width=4, depth=1, conditioning="concat", frequencies=0),
    grid=GridConfig(2, 2),
)
CONFIG = Config(preset="tiny", model=MODEL)
KEYS = ["chair/a", "chair/b"]
FIELD = ReconstructConfig(model=NetworkConfig(width=3, depth=2))
CODES = np.arange(8, dtype=np.float32).reshape(4, 2)
IDS = ["a", "b", "c", "d"]


@dataclass(frozen=True)
class TinyArtifact:
    """An artifact with an older and a newer version.

    Attributes:
        write_old: Writes the older version to a folder.
        write_new: Replaces it by the newer one.
        read: Reads the folder into values that can be compared.
    """

    write_old: Callable[[Path], object]
    write_new: Callable[[Path], object]
    read: Callable[[Path], Any]


def plain_fit(value: float = 1.0) -> Inversion:
    """Fit without codes by layer and without detail."""
    code = np.full(3, value, np.float32)
    return Inversion(code, np.array([0.5, value], np.float32), value, Similarity((1.0, 2.0, 3.0), 0.5), space="s")


def refined_fit(value: float = 2.0) -> Inversion:
    """Fit with codes by layer and detail."""
    numbers = np.array([0, 5, 9])
    delta = Delta(
        f"model {value}", numbers[:2], np.full((2, 4), value, np.float16), 8, numbers, np.full(3, value, np.float16)
    )
    return replace(plain_fit(value), delta=delta, layers=np.full((2, 3), value, np.float32))


def read_fit(folder: Path) -> Any:
    """Values of a fit, and of its mesh if there is one."""
    fit = load_fit(folder)
    delta = fit.delta and (fit.delta.base_fingerprint, fit.delta.features.tolist(), fit.delta.correction.tolist())
    layers = None if fit.layers is None else fit.layers.tolist()
    return fit.code.tolist(), fit.history.tolist(), fit.residual, fit.similarity, fit.space, delta, layers


def _model(seed: int) -> LatentSDF:
    torch.manual_seed(seed)
    return LatentSDF(MODEL)


def write_space(folder: Path, seed: int, *, with_state: bool = True) -> None:
    """Write a space of two shapes, with random weights."""
    model = _model(seed)
    codes = torch.full((2, 3), float(seed))
    similarities = [Similarity((float(seed), 0.0, 0.0), 1.0 + seed), IDENTITY]
    state = {"step": seed, "seconds": 0.5, "moments": torch.full((6,), float(seed))} if with_state else None
    checkpoint.save(folder, model, codes, KEYS, similarities, "sphere", CONFIG, state, steps=seed)


def read_space(folder: Path) -> Any:
    """Values of a space and of its state."""
    loaded = checkpoint.load(folder)
    weights = {name: value.tolist() for name, value in loaded.model.state_dict().items()}
    try:
        state = checkpoint.load_state(folder)
        state["moments"] = state["moments"].tolist()
    except checkpoint.CheckpointError as error:
        if "state.pt is missing" not in str(error):
            raise
        state = None
    return weights, loaded.codes.tolist(), loaded.keys, loaded.similarities, loaded.config, state


def field(seed: int) -> Reconstruction:
    """Field with random weights."""
    torch.manual_seed(seed)
    return Reconstruction(build_network(FIELD.model, 3, 1.1), Similarity((float(seed), 0.0, 0.0), 1.0), FIELD)


def read_field(folder: Path) -> Any:
    """Values of a field."""
    loaded = load_field(folder, "cpu")
    weights = {name: value.tolist() for name, value in loaded.network.state_dict().items()}
    return weights, loaded.similarity, loaded.config, loaded.history


def index(folder: Path) -> SavedIndex:
    """Index of four codes."""
    return SavedIndex(folder, CODES, IDS, "l2", "here")


def change_index(folder: Path, add: dict[str, float], remove: list[str], kind: Any = None) -> None:
    """Change an index; as in a command, the changes are made again when it is repeated."""
    index(folder).update({name: np.full(2, value, np.float32) for name, value in add.items()}, remove, kind)


def read_index(folder: Path) -> Any:
    """Ids, kind and neighbors of an index."""
    found = index(folder).index
    return sorted(found.ids), found.kind, found.nearest(np.array([7.0, 7.1], np.float32), 3).ids


def unfinished(folder: Path) -> FitCheckpoint:
    """Checkpoint of an unfinished reconstruction."""
    folder.mkdir(parents=True, exist_ok=True)
    return FitCheckpoint(folder / "unfinished.pt", PointCloud(np.zeros((4, 3)), None, IDENTITY), FIELD)


def save_unfinished(folder: Path, value: float) -> None:
    """Write a checkpoint of an unfinished reconstruction."""
    unfinished(folder).save({"step": 3, "values": torch.full((5,), value)})


def read_unfinished(folder: Path) -> Any:
    """Values of a checkpoint of an unfinished reconstruction."""
    state = unfinished(folder).load()
    return state and (state["step"], state["values"].tolist())


ARTIFACTS: dict[str, TinyArtifact] = {
    "refined fit over plain": TinyArtifact(plain_fit().save, refined_fit().save, read_fit),
    "plain fit over refined": TinyArtifact(
        lambda folder: refined_fit().save(folder, mesh=trimesh.creation.box()), plain_fit().save, read_fit
    ),
    "refined fit over refined": TinyArtifact(refined_fit(3.0).save, refined_fit(4.0).save, read_fit),
    "space": TinyArtifact(lambda f: write_space(f, 1), lambda f: write_space(f, 2), read_space),
    "space without state": TinyArtifact(
        lambda f: write_space(f, 1), lambda f: write_space(f, 2, with_state=False), read_space
    ),
    "field": TinyArtifact(lambda f: field(1).save(f), lambda f: field(2).save(f), read_field),
    "index": TinyArtifact(
        lambda f: change_index(f, {"x": 9.0}, ["a"]), lambda f: change_index(f, {"y": 7.0}, ["b", "x"]), read_index
    ),
    "exact index": TinyArtifact(
        lambda f: change_index(f, {"x": 9.0}, []), lambda f: change_index(f, {}, ["x"]), read_index
    ),
    "hnsw index": TinyArtifact(
        lambda f: change_index(f, {"x": 9.0}, ["a"]), lambda f: change_index(f, {"y": 7.0}, [], "hnsw"), read_index
    ),
    "unfinished reconstruction": TinyArtifact(
        lambda f: save_unfinished(f, 1.0), lambda f: save_unfinished(f, 2.0), read_unfinished
    ),
}
"""Artifacts by name."""
