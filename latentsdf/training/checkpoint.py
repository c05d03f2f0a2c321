"""A trained space as a folder: weights, codes, shapes, configuration. Written aside and renamed, never a pickle.

| file | what |
|---|---|
| `model.safetensors` | networks and grid |
| `codes.safetensors` | one code per training shape |
| `shapes.json` | row of `codes` -> shape key and its similarity to the user's frame |
| `config.yaml` | the whole configuration |
| `state.pt` | step, clock and optimizer moments; with weights and codes all that resuming needs (`weights_only`) |
| `metrics.jsonl` | one line per logged step |
| `README.md` | model card |

The training loop writes all but `metrics.jsonl` under `<folder>/.next`, marks that folder complete, and moves its files
up. A crash before the mark leaves the old checkpoint; after it, the next reader finishes the move.
"""

import json
import os
import pickle
import shutil
from collections.abc import Mapping, Sequence
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
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import CheckpointError
from latentsdf.utils.output_folders import find_other_output
from latentsdf.utils.safetensors_io import save_tensors

FORMAT = 2
"""Version of the files and of what settings that they leave out mean."""

_ASIDE = ".next"
_MARK = "complete"
_STATELESS = "without a state"
_FILES = ("shapes.json", "config.yaml", "README.md", "state.pt", "codes.safetensors", "model.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A loaded folder. `keys[i]` and `similarities[i]` belong to row i of `codes` (T, L).

    `normalization` is how meshes of the space were brought to model space.
    """

    model: LatentSDF
    codes: Tensor
    keys: list[str]
    similarities: list[Similarity]
    normalization: Normalization
    config: Config


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
    steps: int,
) -> None:
    """Replace the checkpoint in `folder`; a crash on the way leaves the old one loadable. Without a state there is
    nothing to resume from. Raises CheckpointError when the disk has no room for both.
    """
    aside = folder / _ASIDE
    _finish(folder)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    _require_room(folder, _bytes((codes, model.state_dict(), state)))
    shapes = [{"key": k, "center": list(s.center), "scale": s.scale} for k, s in zip(keys, similarities, strict=True)]
    listing = {"format": FORMAT, "normalization": normalization, "shapes": shapes}
    (aside / "shapes.json").write_text(json.dumps(listing, indent=1))
    (aside / "config.yaml").write_text(loader.to_yaml(config))
    (aside / "README.md").write_text(_card(config, len(keys), steps))
    if state is not None:
        torch.save(dict(state), aside / "state.pt")
    save_tensors({"codes": codes}, aside / "codes.safetensors")
    save_tensors(model.state_dict(), aside / "model.safetensors")
    with atomic_write(aside / _MARK) as mark:
        mark.write_text(_STATELESS if state is None else "")
    _finish(folder)


def _require_room(folder: Path, needed: int) -> None:
    """Before the first file: writers of tensors do not tell a full disk from other failures."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(
            f"{folder}: the disk is full: this checkpoint takes {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; "
            "one written before is whole: free space and train with --resume, or write to another disk"
        )


def _bytes(value: Any) -> int:
    """Size of the tensors in nested mappings and sequences."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(_bytes(part) for part in value.values())
    return sum(_bytes(part) for part in value) if isinstance(value, (list, tuple)) else 0


def _finish(folder: Path) -> None:
    """Move a complete checkpoint up, whether written just now or before a crash."""
    aside = folder / _ASIDE
    if (aside / _MARK).is_file():
        # The mark says so, because a state that was moved up before a crash is missing too. First, because the state
        # of older weights must at no moment stand beside new ones.
        if (aside / _MARK).read_text() == _STATELESS:
            (folder / "state.pt").unlink(missing_ok=True)
        for name in _FILES:
            if (aside / name).is_file():
                os.replace(aside / name, folder / name)
        shutil.rmtree(aside)


def load(folder: Path | str, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint folder for use; raises CheckpointError naming what is missing or does not fit."""
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
            f"{folder}: checkpoint format {listing.get('format')}, this version reads {FORMAT}; train the space again"
        )
    model = LatentSDF(config.model).to(device)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        names = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        raise CheckpointError(
            f"{folder}: model.safetensors does not fit config.yaml (preset '{config.preset}'): {names[0]} is "
            f"{found.get(names[0])} but the configuration needs {expected.get(names[0])}; "
            "the files come from different runs"
        )
    model.load_state_dict(weights)
    model.eval().requires_grad_(False)
    if codes.shape != (len(shapes), config.model.code_dim):
        raise CheckpointError(
            f"{folder}: {len(shapes)} shapes with codes of {config.model.code_dim} are expected, "
            f"but codes.safetensors has {tuple(codes.shape)}; the files come from different runs"
        )
    similarities = [Similarity(tuple(s["center"]), s["scale"]) for s in shapes]
    return Checkpoint(model, codes, [s["key"] for s in shapes], similarities, normalization, config)


def load_config(folder: Path) -> Config:
    """The configuration of a checkpoint folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such checkpoint folder; train one with `latentsdf train --out {folder}`")
    _finish(folder)
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
    """The optimizer state to resume from; only tensors and plain values are read."""
    path = folder / "state.pt"
    if not path.is_file():
        raise CheckpointError(f"{folder}: state.pt is missing, so training cannot resume from here")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: damaged, so training cannot resume from here ({error})") from error
    return state


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl; a line cut by a crash is left out."""
    path = folder / "metrics.jsonl"
    lines: list[dict[str, float]] = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def _card(config: Config, shapes: int, steps: int) -> str:
    return (
        "---\nlibrary_name: latentsdf\ntags: [signed-distance-function, shape-space]\n---\n"
        f"# latentsdf shape space, preset `{config.preset}`\n\n"
        f"{shapes} shapes, {config.model.code_dim} values a code, {steps:,} steps.\n\n"
        "```python\nimport latentsdf as ls\nspace = ls.load('path/to/this/folder')\n"
        "mesh = space.extract(space.ids[0], resolution=256)\n```\n"
    )
