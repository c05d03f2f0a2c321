"""Reads reconstruction configurations that latentsdf 0.1 wrote."""

from collections.abc import Callable
from typing import Any

RENAMED: dict[str, str] = {
    "network": "model",
    "steps": "train.steps",
    "minutes": "train.minutes",
    "patience": "train.patience",
    "lr": "train.lr_network",
    "lr_matrices": "train.lr_matrices",
    "lr_rows": "train.lr_grid",
    "lr_final": "train.lr_final",
    "warmup_steps": "train.warmup_steps",
    "beta2": "train.beta2",
    "clip": "train.clip",
    "surface_points": "train.surface_points",
    "off_points": "train.offsurface_points",
    "nearby": "train.offsurface_sampling",
    "nearby_share": "train.offsurface_share",
    "gaussian_std": "train.offsurface_std",
    "seed": "train.seed",
    "loss.divergence": "loss.laplacian",
    "loss.directional": "loss.directional_divergence",
    "loss.eikonal_squared": "loss.eikonal_norm",
    "medial.width": "medial.axis_width",
    "medial.first_phase": "medial.phase_start",
    "medial.last_phase": "medial.phase_freeze",
    "medial.levels": "medial.cell_levels",
}
"""Dotted key of 0.1 -> dotted key now. No old key is a valid key now."""

CONVERTED: dict[str, Callable[[Any], Any]] = {"loss.eikonal_squared": lambda squared: "l2" if squared else "l1"}
"""Dotted key of 0.1 -> conversion of its value."""


def migrate(values: dict[str, Any]) -> dict[str, Any]:
    """Return nested values with every key of 0.1 replaced; values of the current version are returned unchanged."""
    migrated = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    for old, new in RENAMED.items():
        source = migrated
        *sections, key = old.split(".")
        for section in sections:
            source = source.get(section, {}) if isinstance(source, dict) else {}
        if not isinstance(source, dict) or key not in source:
            continue
        value = source.pop(key)
        value = CONVERTED[old](value) if old in CONVERTED else value
        *sections, key = new.split(".")
        target = migrated
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = value
    return migrated
