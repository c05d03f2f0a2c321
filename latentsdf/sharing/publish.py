"""Writes a packed space with its model card."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentsdf.latent.decoded_shape import DecodedShape
from latentsdf.rendering.render import render_mesh
from latentsdf.rendering.sheets import contact_sheet, save_png
from latentsdf.sharing.model_card import card_files, is_handwritten, read_metrics, write_card
from latentsdf.sharing.pack import PICTURE, measure_size, pack, training_of
from latentsdf.training import checkpoint
from latentsdf.training.checkpoint import CARD, Checkpoint
from latentsdf.training.packed_weights import Packing
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import ConfigError, EmptyLevelSetError

_PICTURED, _COLUMNS = 8, 4
_RESOLUTION, _SIZE = 128, 200
_MAX_DESCRIPTION = 20_000


@dataclass(frozen=True)
class CardOptions:
    """Model card of a packed space.

    Attributes:
        name: Name of the space in its card; by default that of its folder.
        license: Identifier of the license, such as `cc-by-4.0` (https://hf.co/docs/hub/repositories-licenses).
        description: Text in Markdown: what the shapes are, and where they come from.
        metrics: `metrics.json` of `latentsdf evaluate --out`.
        picture: Render some shapes for the card.
        overwrite_card: Replace a card that was written or changed by hand.

    Raises:
        ConfigError: An option is not valid.
    """

    name: str | None = None
    license: str | None = None
    description: str | None = None
    metrics: Path | str | None = None
    picture: bool = True
    overwrite_card: bool = False

    def __post_init__(self) -> None:
        for name in ("name", "license", "description"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise ConfigError(f"{name} must be a text, got {value!r:.80}")
        if self.license is not None and (len(self.license) > 100 or not self.license.isprintable()):
            raise ConfigError(f"license must be an identifier, such as cc-by-4.0, got {self.license!r:.120}")
        if self.description is not None and len(self.description) > _MAX_DESCRIPTION:
            raise ConfigError(f"description: expected at most {_MAX_DESCRIPTION:,} characters")


def publish(
    space: Checkpoint, folder: Path, packing: Packing, rows: Sequence[int], options: CardOptions, trained_in: Path
) -> dict[str, Any]:
    """Write a packed space with its model card.

    Args:
        space: The space, with the prior of all its training codes if not all of `rows` are kept.
        folder: Folder of the copy.
        packing: How weights and codes are stored.
        rows: Shapes to keep.
        options: Model card.
        trained_in: Folder with the log of the training, if any.

    Returns:
        `bytes` by part, number of `shapes`, and `changes` by rounding.

    Raises:
        ConfigError, CheckpointError: As for `pack`; ConfigError if the metrics cannot be read.
    """
    try:
        metrics = None if options.metrics is None else read_metrics(Path(options.metrics))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    keep_card = is_handwritten(folder) and not options.overwrite_card
    given = {"license": options.license, "description": options.description}
    details = {**(space.details or {}), **{name: value for name, value in given.items() if value is not None}}
    details["training"] = training_of(space, trained_in)
    details = pack(space, folder, packing, rows, space.prior, details, card_files(folder))
    content = checkpoint.load(folder, space.codes.device, space.model if checkpoint.is_custom(space) else None)
    if options.picture:
        _draw(folder, content)
    if keep_card:
        show_note("kept", f"{folder / CARD}: was written by hand; pass --overwrite-card to replace it")
    else:
        write_card(folder, options.name or folder.resolve().name, content, metrics)
    size = measure_size(folder)
    return {
        "bytes": dataclasses.asdict(size) | {"total": size.total},
        "shapes": len(rows),
        "changes": details["packing"]["changes"],
    }


def _draw(folder: Path, space: Checkpoint) -> None:
    """Draw some shapes as they are decoded from the packed space."""
    own = [row for row, key in enumerate(space.keys) if key not in space.augmented] or list(range(len(space.keys)))
    images = []
    for place in np.unique(np.linspace(0, len(own) - 1, _PICTURED).astype(int)):
        shape = DecodedShape(space.model, space.codes[own[place]], band_voxels=space.config.model.band_voxels)
        try:
            mesh = shape.surface(_RESOLUTION, smallest_piece=5e-3)
        except EmptyLevelSetError:
            continue
        images.append(render_mesh(mesh, size=_SIZE))
    if images:
        save_png(folder / PICTURE, contact_sheet([images[n : n + _COLUMNS] for n in range(0, len(images), _COLUMNS)]))
