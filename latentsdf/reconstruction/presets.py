"""Named configurations: one per method and dimension, sized for two CPU cores or as published.

Small settings are in model space, where the farthest point of the cloud is at radius 1 / 1.03. Published settings are
in the frame of their method where its code has one (`normalization`); the modules in `methods` state where published
lengths were converted.
"""

from collections.abc import Callable
from typing import get_args

from latentsdf.config.reconstruction import ReconstructConfig, ReconstructMethod
from latentsdf.reconstruction.methods import (
    digs,
    heat_medial,
    heat_sdf,
    hotspot,
    igr,
    instant_ngp,
    latentsdf,
    lipschitz,
    medial_axis,
    nsh,
    poisson,
    sal,
    signed_heat,
    siren,
    steik,
)
from latentsdf.utils.errors import ConfigError

METHOD_NAMES: tuple[ReconstructMethod, ...] = get_args(ReconstructMethod)

_SMALL: dict[str, Callable[[int], ReconstructConfig]] = {
    "latentsdf": latentsdf.small,
    "hotspot": hotspot.small,
    "medial_axis": medial_axis.small,
    "steik": steik.small,
    "digs": digs.small,
    "nsh": nsh.small,
    "siren": siren.small,
    "igr": igr.small,
    "sal": sal.small,
    "heat_sdf": heat_sdf.small,
    "heat_medial": heat_medial.small,
    "instant_ngp": instant_ngp.small,
    "lipschitz": lipschitz.small,
    "signed_heat": signed_heat.small,
    "poisson": poisson.small,
}
_PUBLISHED: dict[str, Callable[[int], ReconstructConfig]] = {
    "hotspot": hotspot.published,
    "medial_axis": medial_axis.published,
    "steik": steik.published,
    "digs": digs.published,
    "nsh": nsh.published,
    "siren": siren.published,
    "igr": igr.published,
    "sal": sal.published,
    "heat_sdf": heat_sdf.published,
    "instant_ngp": instant_ngp.published,
    "lipschitz": lipschitz.published,
}


def preset(method: str, dim: int, paper: bool = False) -> ReconstructConfig:
    """Return the configuration of a method.

    Args:
        method: One of `METHOD_NAMES`.
        dim: Dimension of the cloud, 2 or 3.
        paper: Use the published network, batch size, learning rates and number of steps instead of those sized for
            two CPU cores.

    Returns:
        The configuration; its `method` is the given name.

    Raises:
        ConfigError: The method is unknown, or has no published settings.
    """
    if method not in METHOD_NAMES:
        raise ConfigError(f"method must be one of {', '.join(METHOD_NAMES)}, got '{method}'")
    if not paper:
        return _SMALL[method](dim)
    if method not in _PUBLISHED:
        raise ConfigError(f"'{method}' has no published settings; leave out `paper`")
    return _PUBLISHED[method](dim)
