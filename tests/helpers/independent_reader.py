"""Reader of stores, spaces and fits that follows docs/formats.md only; it imports nothing of the library."""

import hashlib
import io
import itertools
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import yaml
import zarr
from numpy.typing import NDArray
from safetensors.numpy import load_file

Array = NDArray[Any]


def read_artifact(folder: Path, kind: str) -> set[str]:
    """Check all files of an artifact against its manifest and return their names."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["format"], manifest["version"], manifest["kind"]) == ("latentsdf-manifest", 1, kind)
    for name, entry in manifest["files"].items():
        data = (folder / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    return set(manifest["files"])


def read_band(store: Path, key: str) -> tuple[Array, Array]:
    """Return vertices (B, 3) of the dense lattice and signed distances (B,)."""
    root, shape = zarr.open_group(store, mode="r"), zarr.open_group(store / "shapes" / key, mode="r")
    assert (root.attrs["format"], root.attrs["version"]) == ("latentsdf-samples", 1)
    sampling: Any = root.attrs["sampling"]
    resolution, width = sampling["resolution"], 2 * sampling["band_voxels"] / sampling["resolution"]
    delta: Any = shape["band_index"]
    rows, values = delta.chunks[0], delta[:]
    q = np.concatenate([np.cumsum(values[n : n + rows], dtype=np.uint32) for n in range(0, len(values), rows)])
    blocks, (p, o) = resolution // 8 + 1, np.divmod(q.astype(np.int64), 512)
    corner = np.stack((p // blocks**2, p // blocks % blocks, p % blocks), axis=1)
    levels: Any = shape["band_sdf"]
    return 8 * corner + np.stack((o // 64, o // 8 % 8, o % 8), axis=1), levels[:] * (width / 32767)


def read_distances(delta: dict[str, Array]) -> Array:
    """Return the compressed distances of a delta of format 2, at the vertices of its lattice."""
    finest, unit = int(delta["resolution"]), float(delta["step"]) / 64
    levels = [finest]
    while levels[0] % 2 == 0 and levels[0] >= 16:
        levels.insert(0, levels[0] // 2)
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 22, "lc": 0, "lp": 0, "pb": 0}]
    stream = io.BytesIO(lzma.decompress(delta["data"].tobytes(), lzma.FORMAT_RAW, filters=filters))
    value = np.zeros((levels[0] + 1,) * 3, np.int64)
    for level in levels:
        active = np.ones(value.shape, bool)
        if level != levels[0]:
            for axis in range(3):
                lower, upper = np.delete(value, -1, axis), np.delete(value, 0, axis)
                pairs = np.stack((lower, np.floor((lower + upper) / 2).astype(np.int64)), axis + 1)
                pairs = pairs.reshape(*value.shape[:axis], -1, *value.shape[axis + 1 :])
                value = np.concatenate((pairs, np.take(value, [-1], axis)), axis)
            active = np.abs(value) <= int(5 / level / unit)
        count = int(active.sum())
        low, high = (np.frombuffer(stream.read(count), np.uint8).astype(np.int64) for _ in range(2))
        value[active] += 64 * (low + 256 * high - np.where(high >= 128, 65_536, 0))
    return value * unit


class Space:
    """A space with networks in NumPy."""

    def __init__(self, folder: Path) -> None:
        assert {"shapes.json", "codes.safetensors", "model.safetensors"} <= read_artifact(folder, "space")
        listing = json.loads((folder / "shapes.json").read_text(encoding="utf-8"))
        assert listing["format"] == 2
        self.shapes, self.normalization = listing["shapes"], listing["normalization"]
        self.codes = load_file(folder / "codes.safetensors")["codes"]
        self.tensors = load_file(folder / "model.safetensors")
        self.model = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["model"]

    def fingerprint(self) -> str:
        """Identify the space."""
        short = [shape["key"].split("/", 1)[1] for shape in self.shapes]
        ids = short if len(set(short)) == len(short) else [shape["key"] for shape in self.shapes]
        return hashlib.sha256(self.codes.tobytes() + "\n".join(ids).encode()).hexdigest()[:32]

    def branches(self, points: Array, codes: Array, delta: dict[str, Array] | None = None) -> tuple[Array, Array]:
        """Return s_g and s_o (P,) at points (P, 3) in the box, for a code (L,) or codes by layer (N, L)."""
        layers = iter(codes) if codes.ndim == 2 else itertools.repeat(codes)
        grid, resolution = self.tensors["grid.table"].astype(np.float64), self.model["grid"]["resolution"]
        correction: Any = 0.0
        if delta is not None and delta["format"] == 2:
            return (_trilinear(read_distances(delta).reshape(-1, 1), int(delta["resolution"]), points)[:, 0],) * 2
        if delta is not None:
            assert delta["format"] == 1
            grid[np.cumsum(delta["rows"], dtype=np.int64)] += delta["features"]
            lattice = np.zeros(((delta["resolution"] + 1) ** 3, 1))
            lattice[np.cumsum(delta["index"], dtype=np.int64), 0] = delta["correction"]
            correction = _trilinear(lattice, int(delta["resolution"]), points)[:, 0]
        moved = points + 0.3 * self._network("warp", points, layers) if self.model["warp"]["width"] else points
        general = self._network("general", moved, layers)[:, 0]
        residual = self._network("overfit", moved, layers, _trilinear(grid, resolution, moved))[:, 0]
        assert self.model["residual"]
        return general + correction, general + residual + correction

    def _network(self, name: str, points: Array, codes: Any, features: Array | None = None) -> Array:
        settings = self.model[name]
        assert settings["conditioning"] == "hyper" and not settings["skip"] and settings["recipe"] == "latentsdf"
        scaled = [2.0**k * points for k in range(settings["frequencies"])]
        parts = [points, *map(np.sin, scaled), *map(np.cos, scaled), *([] if features is None else [features])]
        hidden = np.concatenate(parts, axis=1)
        for number in range(settings["depth"]):
            layer = {
                key: self.tensors[f"{name}.layers.{number}.{key}.weight"] for key in ("linear", "shift", "weights")
            }
            code = next(codes)
            weight = layer["linear"] + (layer["weights"] @ code).reshape(layer["linear"].shape)
            bias = self.tensors[f"{name}.layers.{number}.linear.bias"] + layer["shift"] @ code
            hidden = hidden @ weight.T + bias
            hidden = np.maximum(hidden, 0) if settings["activation"] == "relu" else np.logaddexp(0, 100 * hidden) / 100
        last: Array = hidden @ self.tensors[f"{name}.last.weight"].T + self.tensors[f"{name}.last.bias"]
        return last


def _trilinear(table: Array, resolution: int, points: Array) -> Array:
    position = ((points + 1) * resolution / 2).clip(0, resolution)
    lower = np.minimum(position.astype(np.int64), resolution - 1)
    total: Array = np.zeros((len(points), table.shape[1]))
    for corner in np.ndindex(2, 2, 2):
        i, j, k = (lower + corner).T
        weight = np.where(corner, position - lower, 1 - (position - lower)).prod(axis=1)
        total += weight[:, None] * table[(i * (resolution + 1) + j) * (resolution + 1) + k]
    return total


def to_model_space(points: Array, center: Any, scale: float, yaw: float = 0.0) -> Array:
    """Transform points (P, 3) from the frame of a shape to model space."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    moved: Array = (points - np.array(center)) * scale
    return moved @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]).T
