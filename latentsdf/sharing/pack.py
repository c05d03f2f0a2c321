"""Small copies of a space, for sharing: sparse grid, rounded weights, codes of some shapes only."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from torch import Tensor

from latentsdf.sharing.rounding import Rounding, measure_rounding
from latentsdf.training import checkpoint, packed_weights
from latentsdf.training.checkpoint import CARD, Checkpoint
from latentsdf.training.packed_weights import GRID, Packing
from latentsdf.utils.artifacts import MANIFEST
from latentsdf.utils.errors import ConfigError
from latentsdf.utils.json_files import is_number
from latentsdf.utils.safetensors_io import shapes_of

PICTURE = "shapes.png"
"""Name of the picture of a model card."""
_COMPARED = 4  # shapes at which the effect of rounding is measured


@dataclass(frozen=True)
class SpaceSize:
    """What the files of a space take, in bytes.

    Attributes:
        networks: Weights of the networks.
        grid: Feature grid.
        codes: Codes.
        prior: Prior of all training codes, if it is stored.
        state: State of the optimizer, needed only to resume training.
        other: List of shapes with their ids and places, settings, model card and its pictures, manifest.
    """

    networks: int
    grid: int
    codes: int
    prior: int
    state: int
    other: int

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(dataclasses.astuple(self))

    def __str__(self) -> str:
        parts = {name: value for name, value in dataclasses.asdict(self).items() if value}
        return f"{_megabytes(self.total)}: " + ", ".join(f"{name} {_megabytes(size)}" for name, size in parts.items())


def measure_size(folder: Path, *, card: bool = True) -> SpaceSize:
    """Measure the files of a space, without the log of its training and folders such as a retrieval index.

    Args:
        folder: Folder of the space.
        card: Count the model card, too.
    """
    names = {*checkpoint.FILES, MANIFEST, PICTURE} | ({CARD} if card else set())
    files = {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        grid = sum(file.get_tensor(name).nbytes for name in file.keys() if name.startswith(GRID))  # noqa: SIM118
    return SpaceSize(
        networks=files.pop("model.safetensors") - grid,
        grid=grid,
        codes=files.pop("codes.safetensors"),
        prior=files.pop("prior.safetensors", 0),
        state=files.pop("state.pt", 0),
        other=sum(files.values()),
    )


def rows_to_keep(
    keys: Sequence[str], copies: frozenset[str], count: int | None = None, ids: Sequence[int] | None = None
) -> list[int]:
    """Choose the shapes whose codes a packed space keeps.

    Args:
        keys: Keys of the training shapes.
        copies: Keys of those that are deformed copies of others, which are left out first.
        count: Number of shapes: evenly spaced in each category, in proportion to its size.
        ids: Their rows instead.

    Returns:
        Rows, ascending.
    """
    if ids is not None:
        return sorted(set(ids))
    order = sorted(range(len(keys)), key=lambda row: (keys[row] in copies, keys[row].split("/", 1)[0], row))
    own = sum(key not in copies for key in keys)
    if count is None or count >= len(keys):
        return list(range(len(keys)))
    if count >= own:
        return sorted(order[:count])
    places = ((np.arange(count) + 0.5) * own / count).astype(int)
    return sorted(order[place] for place in places)


def pack(
    space: Checkpoint,
    folder: Path,
    packing: Packing,
    rows: Sequence[int],
    prior: Mapping[str, Tensor] | None,
    details: Mapping[str, Any],
    outdated: Sequence[Path] = (),
) -> dict[str, Any]:
    """Write a small copy of a space.

    Args:
        space: The space.
        folder: Folder of the copy, which may hold an older one.
        packing: How weights and codes are stored.
        rows: Shapes to keep.
        prior: Tensors of the prior of all training codes; None if all are kept.
        details: Written to `shapes.json`, together with the changes by rounding.
        outdated: Files that describe an older space in the folder; deleted before it is replaced.

    Returns:
        All details.

    Raises:
        ConfigError: No shape is kept, or weights are too large for float16.
        CheckpointError: The disk is full.
    """
    if not rows:
        raise ConfigError("a packed space keeps at least one shape")
    keys = [space.keys[row] for row in rows]
    codes = space.codes[list(rows)]
    weights, stored_codes = packed_weights.pack(space.model.state_dict(), packing), packing.round(codes.cpu())
    change = None
    if packing.half or packing.grid_bits:
        rounded = copy.deepcopy(space.model)
        rounded.load_state_dict(packed_weights.unpack(weights, shapes_of(rounded)))
        some = [int(n) for n in np.unique(np.linspace(0, len(rows) - 1, _COMPARED).astype(int))]
        change = measure_rounding(
            (space.model, [codes[n].float() for n in some]),
            (rounded, [stored_codes[n].to(codes.device).float() for n in some]),
            space.config.model.band_voxels,
        )
    all_details = dict(details) | {
        "packing": dataclasses.asdict(packing) | {"changes": None if change is None else dataclasses.asdict(change)}
    }
    content = replace(
        space,
        codes=codes,
        keys=keys,
        similarities=[space.similarities[row] for row in rows],
        augmented=space.augmented & set(keys),
        prior=prior,
        details=all_details,
    )
    checkpoint.save_packed(folder, content, weights, stored_codes, outdated)
    return all_details


def training_of(space: Checkpoint, folder: Path) -> dict[str, Any]:
    """Return the number of training `shapes` of a space, and `steps` and `seconds` of its training; 0 if unknown.

    Args:
        space: The space; a packed one has them in its details.
        folder: Its folder, with the log of the training if there is one.
    """
    known = (space.details or {}).get("training")
    lines = checkpoint.read_metrics(folder)
    last = lines[-1] if lines else {}
    found: dict[str, Any] = (
        known if isinstance(known, dict) else {"steps": last.get("step"), "seconds": last.get("seconds")}
    )
    numbers = {name: found[name] if is_number(found.get(name)) else 0 for name in ("shapes", "steps", "seconds")}
    return numbers | {"shapes": max(int(numbers["shapes"]), len(space.keys)), "steps": int(numbers["steps"])}


def rounding_of(details: Mapping[str, Any]) -> str | None:
    """Describe the changes by rounding of a packed space; None for a space without rounding."""
    packing = details.get("packing")
    changes = packing.get("changes") if isinstance(packing, dict) else None
    names = {field.name for field in dataclasses.fields(Rounding)}
    if not isinstance(changes, dict) or changes.keys() != names or not all(map(is_number, changes.values())):
        return None
    return str(Rounding(**changes))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 10_000 else f"{size / 1e3:.1f} kB"
