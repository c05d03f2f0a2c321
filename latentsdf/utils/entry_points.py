"""Functions and classes of installed packages, found by name through entry points.

A package offers, for example, a loss in its pyproject.toml:

    [project.entry-points."latentsdf.losses"]
    mine = "my_package.losses:mine"
"""

import importlib.metadata
from typing import Any, Literal

from latentsdf.utils.errors import ConfigError

Group = Literal["latentsdf.losses", "latentsdf.sources", "latentsdf.samplers"]

_KINDS: dict[Group, str] = {
    "latentsdf.losses": "loss",
    "latentsdf.sources": "source",
    "latentsdf.samplers": "sampler",
}


def load_entry_point(group: Group, name: str, instead: str) -> Any:
    """Import what an installed package offers under a name.

    Args:
        group: Group of the entry point.
        name: Name of the entry point.
        instead: What the user can do if no package offers it, for the error message.

    Returns:
        The object that the entry point refers to.

    Raises:
        ConfigError: No package offers the name, several do, or importing it fails.
    """
    kind = _KINDS[group]
    offered = importlib.metadata.entry_points(group=group)
    # A package that is on the path twice, as an editable install and as a checkout, is listed twice.
    found = {(point.value, point.dist.name if point.dist else ""): point for point in offered.select(name=name)}
    if not found:
        names = ", ".join(sorted(offered.names)) or "none"
        raise ConfigError(
            f"no {kind} named '{name}': {instead}, or install a package with an entry point of this name in the group "
            f"{group} (found: {names})"
        )
    if len(found) > 1:
        packages = " and ".join(sorted(package for _, package in found))
        raise ConfigError(f"several packages offer a {kind} named '{name}': {packages}; uninstall all but one")
    (((value, package), point),) = found.items()
    try:
        return point.load()
    except Exception as error:
        raise ConfigError(
            f"the {kind} '{name}' of package {package} ({value}) cannot be imported: {type(error).__name__}: {error}"
        ) from error
