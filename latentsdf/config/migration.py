"""Migration of configurations that latentsdf 0.1 wrote: renamed, merged and removed settings.

A rule edits nested values in place and leaves values of the current version unchanged. `RULES` lists the rules of each
configuration class.
"""

from collections.abc import Callable, Iterator
from typing import Any

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.config.training import Config
from latentsdf.utils.errors import ConfigError

Values = dict[str, Any]
Rule = Callable[[Values], None]


def migrate(cls: type, values: Values) -> Values:
    """Apply the rules of a configuration class to nested values.

    Args:
        cls: The configuration class that the values are for.
        values: Nested dictionaries, edited in place.

    Returns:
        The same dictionaries.

    Raises:
        ConfigError: A setting of 0.1 can no longer be expressed, or is given by both its old and its new name.
    """
    for rule in RULES.get(cls, ()):
        rule(values)
    return values


def renamed(old: str, new: str, convert: Callable[[Any], Any] | None = None) -> Rule:
    """Return a rule that moves the value of a dotted key, or a whole section, to another key."""

    def rule(values: Values) -> None:
        for value in _popped(values, old):
            _put(values, old, new, convert(value) if convert is not None else value)

    return rule


def removed(key: str, constant: Any) -> Rule:
    """Return a rule that drops a setting that has become a constant; any other value raises ConfigError."""

    def rule(values: Values) -> None:
        for value in _popped(values, key):
            if value != constant:
                raise ConfigError(f"{key} is no longer a setting but fixed at {constant}, got {value}")

    return rule


def _merge_branches(values: Values) -> None:
    """Replace the branches of the single regularizers by one branch for all of them."""
    terms = ("eikonal", "heat", "divergence", "lipschitz")
    branches = {term: branch for term in terms for branch in _popped(values, f"loss.{term}_branch")}
    if not branches:
        return
    weights = values.get("loss", {})
    used = {branches.get(term, "general") for term in terms if weights.get(term, 0) not in (0, None)}
    if len(used) > 1:
        raise ConfigError(
            "loss.regularizer_branch applies to the eikonal, heat, directional divergence and Lipschitz terms "
            "together, but the configuration has several branches: "
            f"{', '.join(f'{term} on {name}' for term, name in branches.items())}"
        )
    # If no term is used, the branch has no effect.
    _put(values, "loss.*_branch", "loss.regularizer_branch", used.pop() if used else "general")


def _merge_schedule(values: Values) -> None:
    """Replace `schedule: halving` by `halve_epochs` above 0."""
    for schedule in _popped(values, "train.schedule"):
        if schedule not in ("cosine", "halving"):
            raise ConfigError(f"train.schedule: expected one of 'cosine', 'halving', got {schedule!r}")
        train = values["train"]
        train["halve_epochs"] = train.get("halve_epochs", 500) if schedule == "halving" else 0


def _split_surface_term(values: Values) -> None:
    """Rename `loss.general` to `loss.surface` if the samples are points of the surface."""
    loss, train = values.get("loss"), values.get("train")
    if not isinstance(loss, dict) or not isinstance(train, dict) or train.get("samples") != "points":
        return
    if "general" in loss and "surface" not in loss:
        loss["surface"] = loss.pop("general")


def _popped(values: Values, key: str) -> Iterator[Any]:
    """Remove a dotted key and yield its value; yield nothing if the key is absent."""
    *sections, last = key.split(".")
    section: Any = values
    for name in sections:
        section = section.get(name) if isinstance(section, dict) else None
    if isinstance(section, dict) and last in section:
        yield section.pop(last)


def _put(values: Values, old: str, new: str, value: Any) -> None:
    *sections, last = new.split(".")
    section = values
    for name in sections:
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{name}: expected keys and values, got {section!r}")
    if isinstance(value, dict) and isinstance(section.get(last), dict):
        section[last] = value | section[last]
        return
    if last in section:
        raise ConfigError(f"'{old}' is now '{new}', and both are given; leave '{old}' out")
    section[last] = value


RULES: dict[type, tuple[Rule, ...]] = {
    Config: (
        _merge_branches,
        _merge_schedule,
        _split_surface_term,
        renamed("loss.divergence", "loss.directional_divergence"),
        renamed("train.picture_minutes", "train.image_minutes"),
        removed("train.refresh_steps", 4),
    ),
    ReconstructConfig: (
        renamed("network", "model"),
        renamed("steps", "train.steps"),
        renamed("minutes", "train.minutes"),
        renamed("patience", "train.patience"),
        renamed("lr", "train.lr_network"),
        renamed("lr_matrices", "train.lr_matrices"),
        renamed("lr_rows", "train.lr_grid"),
        renamed("lr_final", "train.lr_final"),
        renamed("warmup_steps", "train.warmup_steps"),
        renamed("beta2", "train.beta2"),
        renamed("clip", "train.clip"),
        renamed("surface_points", "train.surface_points"),
        renamed("off_points", "train.offsurface_points"),
        renamed("nearby", "train.offsurface_sampling"),
        renamed("nearby_share", "train.offsurface_share"),
        renamed("gaussian_std", "train.offsurface_std"),
        renamed("seed", "train.seed"),
        renamed("loss.divergence", "loss.laplacian"),
        renamed("loss.directional", "loss.directional_divergence"),
        renamed("loss.eikonal_squared", "loss.eikonal_norm", lambda squared: "l2" if squared else "l1"),
        renamed("medial.width", "medial.axis_width"),
        renamed("medial.first_phase", "medial.phase_start"),
        renamed("medial.last_phase", "medial.phase_freeze"),
        renamed("medial.levels", "medial.cell_levels"),
    ),
}
"""Rules of each configuration class, in order of application."""
