"""Checkpoint folder of a shape space.

| file | content |
|---|---|
| `model.safetensors` | networks and feature grid |
| `codes.safetensors` | one latent code per training shape |
| `shapes.json` | for each code: key, similarity to the frame of the shape, `augmented` if so; class of an own model |
| `config.yaml` | the whole configuration |
| `state.pt` | step, elapsed time and optimizer moments, needed only for resuming; read with `weights_only` |
| `metrics.jsonl` | one line per logged step |
| `README.md` | model card |

Saving is atomic. All files but `metrics.jsonl` are written to `<folder>/.next`, which is marked as complete and then
moved into `<folder>` file by file. After a crash before the mark, the previous checkpoint is intact; after a later
crash, the next reader completes the move. No file requires unrestricted unpickling.
"""

import json
import os
import pickle
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latentsdf.config import loader
from latentsdf.config.sampling import Normalization
from latentsdf.config.training import Config
from latentsdf.geometry.similarity import Similarity
from latentsdf.models.custom_model import ModelLike, build_model, custom_name
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import CheckpointError
from latentsdf.utils.output_folders import find_other_output
from latentsdf.utils.safetensors_io import save_tensors

FORMAT = 2
"""Version of the file formats."""

_STAGING = ".next"
_MARK = "complete"
_STATELESS = "without a state"
_FILES = ("shapes.json", "config.yaml", "README.md", "state.pt", "codes.safetensors", "model.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        model: The model, in evaluation mode and without gradients.
        codes: Latent codes of the training shapes, (T, L).
        keys: Key of the shape of each row of `codes`.
        similarities: Similarity transform of each shape from the user's frame to model space.
        normalization: Normalization that maps new shapes to model space: sphere, cube or none.
        config: Configuration of the training run.
        augmented: Keys of the shapes that are deformed copies of others.
    """

    model: LatentSDF
    codes: Tensor
    keys: list[str]
    similarities: list[Similarity]
    normalization: Normalization
    config: Config
    augmented: frozenset[str] = frozenset()


def save(
    folder: Path,
    model: LatentSDF,
    codes: Tensor,
    keys: Sequence[str],
    similarities: Sequence[Similarity],
    normalization: Normalization,
    config: Config,
    state: Mapping[str, Any] | None,
    *,
    steps: int | None,
    augmented: Collection[str] = (),
) -> None:
    """Replace the checkpoint in a folder; after a crash the previous one can be loaded.

    Args:
        folder: Checkpoint folder; created if missing.
        model: Networks and feature grid.
        codes: Latent codes, (T, L).
        keys: Keys of the T shapes.
        similarities: Similarity transform of each shape from the user's frame to model space.
        normalization: Normalization that maps new shapes to model space.
        config: Configuration of the run.
        state: State for resuming, of tensors and plain values; None for a checkpoint that cannot be resumed.
        steps: Number of completed steps, for the model card; None if unknown.
        augmented: Keys of the shapes that are deformed copies of others.

    Raises:
        CheckpointError: The disk has no space for the new checkpoint besides the previous one.
    """
    staging = folder / _STAGING
    _move_staged(folder)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    _require_disk_space(folder, _nbytes((codes, model.state_dict(), state)))
    shapes = [
        {"key": k, "center": list(s.center), "scale": s.scale} | ({"augmented": True} if k in augmented else {})
        for k, s in zip(keys, similarities, strict=True)
    ]
    listing: dict[str, Any] = {"format": FORMAT, "normalization": normalization, "shapes": shapes}
    if custom_name(model) is not None:
        listing["model"] = custom_name(model)
    (staging / "shapes.json").write_text(json.dumps(listing, indent=1))
    (staging / "config.yaml").write_text(loader.to_yaml(config))
    (staging / "README.md").write_text(_model_card(config, len(keys), steps))
    if state is not None:
        torch.save(dict(state), staging / "state.pt")
    save_tensors({"codes": codes}, staging / "codes.safetensors")
    save_tensors(model.state_dict(), staging / "model.safetensors")
    with atomic_write(staging / _MARK) as mark:
        mark.write_text(_STATELESS if state is None else "")
    _move_staged(folder)


def _require_disk_space(folder: Path, needed: int) -> None:
    """Check the disk space in advance, because a full disk raises the same errors as other failures of the writers."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(
            f"{folder}: the disk is full: this checkpoint takes {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; "
            "the previous one is intact: free space and train with --resume, or write to another disk"
        )


def _nbytes(value: Any) -> int:
    """Size of the tensors in nested mappings and sequences."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(_nbytes(part) for part in value.values())
    return sum(_nbytes(part) for part in value) if isinstance(value, (list, tuple)) else 0


def _move_staged(folder: Path) -> None:
    """Move a complete staged checkpoint, written just now or before a crash, into the checkpoint folder."""
    staging = folder / _STAGING
    if (staging / _MARK).is_file():
        # The mark records that there is no state: a state that is missing here may have been moved up before a crash.
        # The old state is removed first, so that it is never combined with new weights.
        if (staging / _MARK).read_text() == _STATELESS:
            (folder / "state.pt").unlink(missing_ok=True)
        for name in _FILES:
            if (staging / name).is_file():
                os.replace(staging / name, folder / name)
        shutil.rmtree(staging)


def load(folder: Path | str, device: torch.device | str = "cpu", model: ModelLike | None = None) -> Checkpoint:
    """Load a checkpoint folder.

    Args:
        folder: Checkpoint folder.
        device: Device of the model and the codes.
        model: The model of the user's own with which the space was trained, or a function that builds it.

    Returns:
        The checkpoint.

    Raises:
        FileNotFoundError: There is no such folder.
        CheckpointError: Files are missing, damaged, of an unsupported format, or of different runs; or the space was
            trained with a model of the user's own and `model` is missing, or vice versa.
    """
    folder = Path(folder)
    config = load_config(folder)
    try:
        listing = json.loads((folder / "shapes.json").read_text())
        codes = load_file(folder / "codes.safetensors", device=str(device))["codes"]
        weights = load_file(folder / "model.safetensors", device=str(device))
        shapes, normalization = listing["shapes"], listing["normalization"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: damaged checkpoint ({error}); restore it or train again") from error
    if listing.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder}: checkpoint format {listing.get('format')}, but this version reads {FORMAT}; train "
            "the space again"
        )
    trained = _build_trained(folder, listing.get("model"), config, model).to(device)
    expected = {name: tuple(value.shape) for name, value in trained.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        names = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        origin = f"config.yaml (preset '{config.preset}')" if model is None else "the given model"
        raise CheckpointError(
            f"{folder}: model.safetensors does not match {origin}: {names[0]} is {found.get(names[0])} but "
            f"{'the configuration' if model is None else 'the model'} needs {expected.get(names[0])}; "
            + ("the files come from different runs" if model is None else "pass the model that was trained")
        )
    trained.load_state_dict(weights)
    trained.eval().requires_grad_(False)
    if codes.shape != (len(shapes), config.model.code_size):
        raise CheckpointError(
            f"{folder}: {len(shapes)} shapes with codes of {config.model.code_size} are expected, "
            f"but codes.safetensors has {tuple(codes.shape)}; the files come from different runs"
        )
    similarities = [Similarity(tuple(s["center"]), s["scale"]) for s in shapes]
    augmented = frozenset(s["key"] for s in shapes if s.get("augmented", False))
    return Checkpoint(trained, codes, [s["key"] for s in shapes], similarities, normalization, config, augmented)


def _build_trained(folder: Path, name: str | None, config: Config, model: ModelLike | None) -> LatentSDF:
    """Build the model of a checkpoint, in which `name` is the class of a model of the user's own."""
    if name is not None and model is None:
        raise CheckpointError(
            f"{folder}: was trained with a model of your own, {name}, which the files do not contain; pass it: "
            "latentsdf.load(folder, model=...)"
        )
    if name is None and model is not None:
        raise CheckpointError(f"{folder}: was not trained with a model of your own; leave model out")
    return build_model(config.model, model)


def load_config(folder: Path) -> Config:
    """Load the configuration of a checkpoint folder; raises the errors of `load`."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such checkpoint folder; train one with `latentsdf train --out {folder}`")
    _move_staged(folder)
    needed = ("config.yaml", "shapes.json", "codes.safetensors", "model.safetensors")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        other = find_other_output(folder, "space")
        raise CheckpointError(
            f"{folder}: not a complete checkpoint, {', '.join(missing)} is missing"
            + (f"; it holds {other}" if other else "")
        )
    return loader.load(Config, folder / "config.yaml")


def load_state(folder: Path) -> dict[str, Any]:
    """Load the state for resuming; raises CheckpointError if it is missing or damaged."""
    path = folder / "state.pt"
    if not path.is_file():
        raise CheckpointError(f"{folder}: state.pt is missing, so training cannot resume from here")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: damaged, so training cannot resume from here ({error})") from error
    return state


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Return the lines of `metrics.jsonl`, without a line that a crash truncated."""
    path = folder / "metrics.jsonl"
    lines: list[dict[str, float]] = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def _model_card(config: Config, shapes: int, steps: int | None) -> str:
    trained = "" if steps is None else f", {steps:,} steps"
    return (
        "---\nlibrary_name: latentsdf\ntags: [signed-distance-function, shape-space]\n---\n"
        f"# latentsdf shape space, preset `{config.preset}`\n\n"
        f"{shapes} shapes, {config.model.code_size} values a code{trained}.\n\n"
        "```python\nimport latentsdf as ls\nspace = ls.load('path/to/this/folder')\n"
        "mesh = space.extract(space.ids[0], resolution=256)\n```\n"
    )
