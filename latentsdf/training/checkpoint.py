"""Checkpoint folder of a shape space.

| file | content |
|---|---|
| `model.safetensors` | networks and feature grid |
| `codes.safetensors` | one latent code per training shape |
| `shapes.json` | for each code: key, similarity to the frame of the shape, `augmented` if so; class of an own model |
| `prior.safetensors` | prior of all training codes, if the space keeps only some of them (`latent.stored_prior`) |
| `config.yaml` | the whole configuration |
| `state.pt` | step, elapsed time and optimizer moments, needed only for resuming; read with `weights_only` |
| `metrics.jsonl` | one line per logged step |
| `README.md` | model card |
| `manifest.json` | size and SHA-256 of all these files but `metrics.jsonl` |

A packed space (`latentsdf pack`) has smaller files: `training.packed_weights` describes its `model.safetensors`. It has
no `state.pt`, and `README.md` is not in its manifest, so that a model card can be edited.

All files but `metrics.jsonl` are replaced together and checked when they are read (`utils.artifacts`). No file requires
unrestricted unpickling.
"""

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latentsdf.config import loader
from latentsdf.config.sampling import Normalization
from latentsdf.config.training import Config
from latentsdf.geometry.similarity import Similarity, parse_similarity
from latentsdf.models.custom_model import ModelLike, build_model, custom_name
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training import packed_weights
from latentsdf.utils.artifacts import Artifact, complete_replacement, read_artifact, write_artifact
from latentsdf.utils.atomic_files import full_disk_named
from latentsdf.utils.console import show_note
from latentsdf.utils.devices import without_values
from latentsdf.utils.errors import CheckpointError, LatentSDFError
from latentsdf.utils.json_files import is_number, parse_object
from latentsdf.utils.output_folders import find_other_output
from latentsdf.utils.safetensors_io import save_tensors, shapes_of, tensor_shapes
from latentsdf.utils.shape_ids import RULE, is_key

T = TypeVar("T")

FORMAT = 2
"""Version of the file formats."""
PACKED_FORMAT = 3
"""Version of the file formats of packed spaces."""

CARD = "README.md"
"""Name of the model card."""
_PRIOR = "prior.safetensors"
_FILES = ("shapes.json", "config.yaml", CARD, "state.pt", _PRIOR, "codes.safetensors", "model.safetensors")
FILES = tuple(name for name in _FILES if name != CARD)
"""Names of the files that a packed space may have besides its model card."""


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
        prior: Tensors of the prior of all training codes (`latent.stored_prior`), if `codes` are only some of them.
        details: What `shapes.json` of a packed space says about it: training, rounding, license.
    """

    model: LatentSDF
    codes: Tensor
    keys: list[str]
    similarities: list[Similarity]
    normalization: Normalization
    config: Config
    augmented: frozenset[str] = frozenset()
    prior: Mapping[str, Tensor] | None = None
    details: Mapping[str, Any] | None = None

    def require_normalization(self, found: Normalization, data: object, space: Path) -> None:
        """Check that new shapes have the normalization of the space.

        Args:
            found: Their normalization.
            data: Where they come from, for the message.
            space: Folder of the space, for the message.

        Raises:
            CheckpointError: They have another one.
        """
        if found != self.normalization:
            raise CheckpointError(
                f"{data}: its shapes have normalization '{found}', but those of {space} have '{self.normalization}'; "
                f"preprocess with --normalization {self.normalization}"
            )


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
    prior: Mapping[str, Tensor] | None = None,
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
        prior: Tensors of the prior of all training codes, if `codes` are only some of them.

    Raises:
        CheckpointError: The disk has no space for the new checkpoint besides the previous one.
    """
    with full_disk_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _require_disk_space(folder, _nbytes((codes, model.state_dict(), state)))
    trained = Checkpoint(model, codes, list(keys), list(similarities), normalization, config, frozenset(augmented))
    with write_artifact(folder, "space", _FILES) as staged:
        (staged / "shapes.json").write_text(json.dumps({"format": FORMAT} | _listing(trained), indent=1))
        (staged / "config.yaml").write_text(loader.to_yaml(config))
        (staged / CARD).write_text(_model_card(config, len(keys), steps))
        if state is not None:
            torch.save(dict(state), staged / "state.pt")
        if prior is not None:
            save_tensors(prior, staged / _PRIOR)
        save_tensors({"codes": codes}, staged / "codes.safetensors")
        save_tensors(model.state_dict(), staged / "model.safetensors")


def save_packed(
    folder: Path, space: Checkpoint, weights: Mapping[str, Tensor], codes: Tensor, outdated: Sequence[Path] = ()
) -> None:
    """Write a space in small files, without a state for resuming and without a model card.

    Args:
        folder: Folder of the space; created if missing.
        space: Content; `details` are written to `shapes.json`.
        weights: Its weights as stored (`packed_weights.pack`).
        codes: Its codes as stored, float16 or float32.
        outdated: Files that describe an older space in the folder; deleted before it is replaced.

    Raises:
        CheckpointError: The disk has no space.
    """
    with full_disk_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _require_disk_space(folder, _nbytes((codes, weights, space.prior or {})))
    with suppress(OSError):
        # Of a checkpoint that is not packed, whose manifest has a model card.
        complete_replacement(folder, "space", _FILES)
    listing = {"format": PACKED_FORMAT} | _listing(space) | {"details": dict(space.details or {})}
    with write_artifact(folder, "space", FILES) as staged:
        (staged / "shapes.json").write_text(json.dumps(listing, separators=(",", ":")))
        (staged / "config.yaml").write_text(loader.to_yaml(space.config))
        if space.prior is not None:
            save_tensors(space.prior, staged / _PRIOR)
        save_tensors({"codes": codes}, staged / "codes.safetensors")
        save_tensors(weights, staged / "model.safetensors")
        for path in outdated:
            path.unlink(missing_ok=True)


def _listing(space: Checkpoint) -> dict[str, Any]:
    """Content of `shapes.json`."""
    shapes = [
        {"key": k, "center": list(s.center), "scale": s.scale} | ({"augmented": True} if k in space.augmented else {})
        for k, s in zip(space.keys, space.similarities, strict=True)
    ]
    own = custom_name(space.model)
    content: dict[str, Any] = {"manifest": True, "normalization": space.normalization, "shapes": shapes}
    return content | ({} if own is None else {"model": own})


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


def load(
    folder: Path | str, device: torch.device | str = "cpu", model: ModelLike | None = None, *, verify: bool = True
) -> Checkpoint:
    """Load a checkpoint folder.

    Args:
        folder: Checkpoint folder.
        device: Device of the model and the codes.
        model: The model of the user's own with which the space was trained, or a function that builds it.
        verify: Compare the files with the checksums of `manifest.json`.

    Returns:
        The checkpoint.

    Raises:
        FileNotFoundError: There is no such folder.
        CheckpointError: Files are missing, damaged, of an unsupported format, or of different runs; or the space was
            trained with a model of the user's own and `model` is missing, or vice versa.
    """
    return _read(Path(folder), lambda artifact: _parse(artifact, device, model), verify=verify)


def load_config(folder: Path, *, verify: bool = True) -> Config:
    """Load the configuration of a checkpoint folder; raises the errors of `load`."""
    return _read(folder, _parse_config, verify=verify)


def load_state(folder: Path, *, verify: bool = True) -> dict[str, Any]:
    """Load the state for resuming; raises CheckpointError if it is missing or damaged."""
    return _read(folder, _parse_state, verify=verify)


def open_files(folder: Path) -> Artifact:
    """Open the files of a space to copy them; raises CheckpointError if the folder has no valid manifest."""
    artifact = Artifact(folder, "space", _FILES, verify=True)
    artifact.require_manifest(True)
    return artifact


def verify_files(folder: Path) -> list[str]:
    """Compare all files of a checkpoint with the checksums of `manifest.json`, and check that weights are finite.

    Returns:
        Names of the files; none for a checkpoint of an earlier version, which has no manifest.

    Raises:
        CheckpointError: A file is missing or damaged.
    """

    def check(artifact: Artifact) -> list[str]:
        for name in artifact.files if artifact.has_manifest else []:
            artifact.path(name)
        try:
            weights = load_file(artifact.path("model.safetensors"))
        except (SafetensorError, ValueError) as error:
            raise _damaged(folder, error) from error
        damaged = next((name for name, values in weights.items() if not values.isfinite().all()), None)
        if damaged is not None:
            raise CheckpointError(f"{folder}: model.safetensors has values that are not finite ({damaged})")
        return artifact.files if artifact.has_manifest else []

    return _read(folder, check, verify=True)


def _read(folder: Path, read: Callable[[Artifact], T], *, verify: bool) -> T:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such checkpoint folder; train one with `latentsdf train --out {folder}`")
    return read_artifact(folder, "space", _FILES, read, verify=verify)


def _parse(artifact: Artifact, device: torch.device | str, model: ModelLike | None) -> Checkpoint:
    folder, config = artifact.folder, _parse_config(artifact)
    try:
        listing = parse_object(artifact.read_bytes("shapes.json"))
    except ValueError as error:
        raise _damaged(folder, error) from error
    if listing.get("format") not in (FORMAT, PACKED_FORMAT):
        raise CheckpointError(
            f"{folder}: checkpoint format {listing.get('format')!r}, but this version reads {FORMAT} and "
            f"{PACKED_FORMAT}; update latentsdf, or train the space again"
        )
    artifact.require_manifest(listing.get("manifest"))
    try:
        keys, similarities, augmented = _parse_shapes(listing.get("shapes"))
        normalization: Any = listing.get("normalization")
        name = listing.get("model")
        if normalization not in get_args(Normalization) or not isinstance(name, str | None):
            raise ValueError(f"expected a normalization and a model, got {normalization!r:.40} and {name!r:.40}")
        codes_file, model_file = artifact.path("codes.safetensors"), artifact.path("model.safetensors")
        # Compared before the model is allocated: a damaged configuration may describe one of any size.
        found = tensor_shapes(model_file)
        if model is None and name is None:
            with without_values():
                expected = shapes_of(build_model(config.model, None))
            described = packed_weights.unpacked_shapes(found, expected)
            _require_same_shapes(folder, expected, described, f"config.yaml (preset '{config.preset}')", own=False)
        stored = tensor_shapes(codes_file).get("codes")
        if stored != (len(keys), config.model.code_size):
            raise CheckpointError(
                f"{folder}: {len(keys)} shapes with codes of {config.model.code_size} are expected, "
                f"but codes.safetensors has {stored}; the files come from different runs"
            )
        trained = _build_trained(folder, name, config, model).to(device)
        needed = shapes_of(trained)
        described = packed_weights.unpacked_shapes(found, needed)
        _require_same_shapes(folder, needed, described, "the given model", own=model is not None)
        trained.load_state_dict(packed_weights.unpack(load_file(model_file, device=str(device)), needed))
        codes = load_file(codes_file, device=str(device))["codes"]
        codes = codes.float() if codes.dtype == torch.float16 else codes
        prior = load_file(artifact.path(_PRIOR)) if _PRIOR in artifact else None
        details = listing.get("details", {})
        if not isinstance(details, dict):
            raise ValueError("expected details of the space")
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, LatentSDFError):
            raise
        raise _damaged(folder, error) from error
    trained.eval().requires_grad_(False)
    if not codes.is_floating_point() or not codes.isfinite().all():
        raise CheckpointError(f"{folder}: codes.safetensors has values that are not finite; train the space again")
    return Checkpoint(trained, codes, keys, similarities, normalization, config, augmented, prior, details)


def _parse_config(artifact: Artifact) -> Config:
    needed = ("config.yaml", "shapes.json", "codes.safetensors", "model.safetensors")
    missing = [name for name in needed if name not in artifact]
    if missing:
        other = find_other_output(artifact.folder, "space")
        raise CheckpointError(
            f"{artifact.folder}: not a complete checkpoint, {', '.join(missing)} is missing"
            + (f"; it holds {other}" if other else "")
        )
    return loader.parse(Config, artifact.read_bytes("config.yaml"), str(artifact.folder / "config.yaml"))


def _parse_state(artifact: Artifact) -> dict[str, Any]:
    path = artifact.folder / "state.pt"
    if "state.pt" not in artifact:
        raise CheckpointError(
            f"{artifact.folder}: state.pt is missing, so training cannot resume from here; packed spaces and copies of "
            "spaces have none: resume in the folder in which the space was trained, or add shapes with --extend"
        )
    opened = artifact.path("state.pt")
    try:
        state = torch.load(opened, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"expected a dictionary, got {type(state).__name__}")
    # torch's reader raises exceptions of many types for damaged files.
    except Exception as error:
        raise CheckpointError(f"{path}: damaged, so training cannot resume from here ({error!s:.200})") from error
    return state


def _parse_shapes(shapes: Any) -> tuple[list[str], list[Similarity], frozenset[str]]:
    """Keys, similarities, and keys of deformed copies.

    Raises:
        ValueError: A shape has another form, an invalid or repeated key, or an impossible similarity.
    """
    if not isinstance(shapes, list) or not shapes or not all(isinstance(shape, dict) for shape in shapes):
        raise ValueError("expected a list of shapes")
    keys = [shape.get("key") for shape in shapes]
    for key in keys:
        if not is_key(key):
            raise ValueError(f"{key!r:.200} is not a valid key of a shape; expected category/id, {RULE}")
    if len(set(keys)) < len(keys):
        raise ValueError("two shapes have the same key")
    similarities = [parse_similarity(shape.get("center"), shape.get("scale")) for shape in shapes]
    return keys, similarities, frozenset(shape["key"] for shape in shapes if shape.get("augmented") is True)


def _damaged(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{folder}: damaged checkpoint ({error!s:.400}); restore it or train again")


def _require_same_shapes(
    folder: Path, expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], origin: str, *, own: bool
) -> None:
    if expected == found:
        return
    names = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    raise CheckpointError(
        f"{folder}: model.safetensors does not match {origin}: {names[0]} is {found.get(names[0])} but "
        f"{'the model' if own else 'the configuration'} needs {expected.get(names[0])}; "
        + ("pass the model that was trained" if own else "the files come from different runs")
    )


def is_custom(space: Checkpoint) -> bool:
    """Return whether a space was trained with a model of the user's own, which `load` then needs."""
    return custom_name(space.model) is not None


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


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Return the lines of `metrics.jsonl`; damaged ones are left out, with a warning.

    A log never keeps a run from being resumed.
    """
    path = folder / "metrics.jsonl"
    lines: list[dict[str, float]] = []
    dropped = 0
    for text in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            line = parse_object(text)
            if not all(is_number(value) or isinstance(value, float) for value in line.values()):
                raise ValueError("expected numbers")
            if not is_number(line["step"]):
                raise ValueError("expected the number of the step")
            lines.append(line)
        except (ValueError, KeyError):
            dropped += 1
    if dropped:
        show_note("damaged log", f"{path}: {dropped} of {dropped + len(lines)} lines cannot be read and are left out")
    return lines


def _model_card(config: Config, shapes: int, steps: int | None) -> str:
    trained = "" if steps is None else f", {steps:,} steps"
    return (
        "---\nlibrary_name: latentsdf\ntags: [signed-distance-function, shape-space]\n---\n"
        f"# latentsdf shape space, preset `{config.preset}`\n\n"
        f"{shapes} shapes, codes of {config.model.code_size} values{trained}.\n\n"
        "```python\nimport latentsdf as ls\nspace = ls.load('path/to/this/folder')\n"
        "mesh = space.extract(space.ids[0], resolution=256)\n```\n"
    )
