"""Checks of the values of a stored shape, beyond the checksums of its files.

A shape is damaged if an attribute has an impossible value (a similarity with scale 0, for example), an array has
another SHA-256 than its attributes state, values are not finite or outside their ranges, lattice indices repeat or lie
outside the lattice, or many samples contradict the sparse lattice, as after a swap of arrays or signs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data import zarr_layout
from latentsdf.utils.json_files import is_number

_FARTHEST = 8.0  # coordinates and distances: noise and imported samples reach beyond the box [-1, 1]^3
_ON_SURFACE = 2.0
_MAX_NORMAL_ERROR = 0.02
_MAX_CONTRADICTIONS = 0.05  # share of samples; some shapes have doubtful signs
_ROUNDING = 5e-3  # of float16 distances


def verify_shape(folder: zarr_layout.StorePath, config: SamplingConfig) -> None:
    """Check all arrays and attributes of a shape.

    Args:
        folder: Group of the shape.
        config: Sampling settings of the store.

    Raises:
        ValueError, OSError, RuntimeError, KeyError, TypeError: The shape is damaged.
    """
    attributes = zarr_layout.read_attributes(folder)
    info = zarr_layout.read_info(folder)
    if not is_number(attributes["area"]) or info.area < 0:
        raise ValueError(f"its area is {attributes['area']!r:.40}")
    if not 0 <= info.sign.confidence <= 1:
        raise ValueError(f"the confidence of its sign is {info.sign.confidence}, not from 0 to 1")
    arrays = {name: zarr_layout.read_array(folder, name) for name in zarr_layout.ARRAYS}
    _verify_digests(arrays, attributes.get("array_sha256"))
    shapes = attributes.get("array_shapes", {name: list(values.shape) for name, values in arrays.items()})
    if shapes != {name: list(values.shape) for name, values in arrays.items()}:
        raise ValueError("array_shapes does not have the shapes of the arrays")
    if info.band_samples != len(arrays["band_index"]):
        raise ValueError(f"band_samples is {info.band_samples!r}, but the band has {len(arrays['band_index']):,}")
    if len(arrays["band_sdf"]) != len(arrays["band_index"]):
        raise ValueError("band_index and band_sdf have different lengths")
    _verify_band(folder, config)
    side = config.sparse_resolution + 1 if config.sparse_resolution else 0
    if arrays["sparse_sdf"].shape != (side,) * 3:
        raise ValueError(f"sparse_sdf is {arrays['sparse_sdf'].shape} instead of {(side,) * 3}")
    _require_within("sparse_sdf", arrays["sparse_sdf"], _FARTHEST)
    for name in ("near", "uniform"):
        _require_within(name, arrays[name], _FARTHEST)
        _verify_signs(name, arrays[name], arrays["sparse_sdf"])
    surface = arrays["surface"]
    _require_within("surface", surface[:, :3], _ON_SURFACE)
    if surface.shape[1] == 6 and len(surface):
        lengths = np.linalg.norm(surface[:, 3:], axis=1)
        if not (np.abs(lengths - 1) < _MAX_NORMAL_ERROR).all():
            raise ValueError("surface has normals that are not unit vectors")


def _verify_digests(arrays: dict[str, NDArray[Any]], digests: object) -> None:
    if digests is None:  # written by an earlier version
        return
    if not isinstance(digests, dict) or digests.keys() != arrays.keys():
        raise ValueError("array_sha256 does not list the arrays")
    for name, values in arrays.items():
        if zarr_layout.values_digest(values) != digests[name]:
            raise ValueError(f"array {name} has another SHA-256 than its attributes state")


def _verify_band(folder: zarr_layout.StorePath, config: SamplingConfig) -> None:
    vertices, _ = zarr_layout.read_band(folder, config.resolution, config.band_voxels)
    if len(vertices) and vertices.max() >= (config.resolution + 1) ** 3:
        raise ValueError("band_index has vertices outside the lattice")
    if len(np.unique(vertices)) < len(vertices):
        raise ValueError("band_index has the same vertex twice")


def _require_within(name: str, values: NDArray[Any], limit: float) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has values that are not finite")
    if values.size and np.abs(values).max() > limit:
        raise ValueError(f"{name} has values up to {np.abs(values).max():.3g}, at most {limit:g} are possible")


def _verify_signs(name: str, samples: NDArray[np.float32], lattice: NDArray[np.float16]) -> None:
    """Compare samples with the nearest vertex of the sparse lattice: |s(x) - s(v)| <= |x - v|."""
    if not lattice.size or not len(samples):
        return
    cells = len(lattice) - 1
    inside = samples[np.abs(samples[:, :3]).max(axis=1) <= 1]
    nearest = np.rint((inside[:, :3] + 1) * (cells / 2)).astype(np.int64)
    gap = np.linalg.norm(inside[:, :3] - (nearest * (2 / cells) - 1), axis=1)
    change = np.abs(inside[:, 3] - lattice[tuple(nearest.T)].astype(np.float32))
    share = float((change > gap + _ROUNDING).mean()) if len(inside) else 0.0
    if share > _MAX_CONTRADICTIONS:
        raise ValueError(f"{share:.0%} of the samples of {name} contradict the distances of sparse_sdf")
