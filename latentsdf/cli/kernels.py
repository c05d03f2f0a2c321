"""Compilation of all numba kernels ahead of their first use, by small runs of the functions that call them."""

import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.shape_records import mesh_record
from latentsdf.data.store import SampleStore
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_sdf import rays
from latentsdf.utils import console, numba_cache

_MODULES = (
    "latentsdf.extraction.extract",
    "latentsdf.geometry.mesh_files.polygons",
    "latentsdf.models.feature_grid",
    "latentsdf.models.feature_pyramid",
    "latentsdf.training.row_adam",
)
"""Modules that import, together with those above, all modules with kernels."""
_SAMPLING = SamplingConfig(resolution=32, band_voxels=2.0, sparse_resolution=16, near=256, uniform=256, surface=256)


def compile_sampling() -> None:
    """Compile the kernels of preprocessing that are not in the cache, with a progress bar; nothing if all are.

    Worker processes then load them, instead of compiling all of them in each process.
    """
    _compile({"closed, open and inconsistent meshes": _sample_meshes}, "latentsdf.geometry.mesh_sdf.")


def compile_all() -> None:
    """Compile the kernels of preprocessing, training, extraction and reconstruction that are not in the cache."""
    tasks = {
        "closed, open and inconsistent meshes": _sample_meshes,
        "polygons": _read_polygons,
        "extraction": _extract,
        "training": _train,
        "reconstruction": _reconstruct,
    }
    _compile(tasks, "latentsdf.")


def needed_kernels(prefix: str = "latentsdf.") -> list[Any]:
    """Return the kernels that this machine uses.

    Args:
        prefix: Start of the names of their modules.
    """
    for name in _MODULES:
        if name.startswith(prefix):
            import_module(name)
    unused = {rays.__name__} if rays.has_embree() else set()
    # A kernel that is always inlined is never compiled by itself.
    separate = [one for one in numba_cache.kernels() if one.targetoptions.get("inline") != "always"]
    modules = {kernel: kernel.py_func.__module__ for kernel in separate}
    return [kernel for kernel, name in modules.items() if name.startswith(prefix) and name not in unused]


def _compile(tasks: Mapping[str, Callable[[], None]], prefix: str) -> None:
    """Run tasks until all kernels are compiled; nothing if they are, or if the result could not be kept."""
    missing = [kernel for kernel in needed_kernels(prefix) if not numba_cache.is_compiled(kernel)]
    if not any(kernel.stats.cache_path for kernel in missing):
        return
    with console.track("compiling kernels", total=len(missing), unit="kernel") as advance:

        def count(kernel: object) -> None:
            if kernel in missing:
                missing.remove(kernel)
                advance()

        with numba_cache.when_compiled(count):
            for name, run in tasks.items():
                advance(0, note=name)
                run()


def _sample_meshes() -> None:
    for number, mesh in enumerate(_meshes()):
        mesh_record(mesh, f"box/{number}", _SAMPLING, 0, "box", "")


def _meshes() -> list[trimesh.Trimesh]:
    """Return a closed mesh, one with inconsistent faces, and an open one, for each way to find the sign."""
    closed = trimesh.creation.icosphere(2)
    faces = closed.faces.copy()
    faces[::3] = faces[::3, ::-1]
    inconsistent = trimesh.Trimesh(closed.vertices, faces, process=False)
    opened = trimesh.Trimesh(closed.vertices, closed.faces[closed.triangles_center[:, 1] < 0.5], process=False)
    square = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 1, 0]], dtype=float)
    sheet = trimesh.Trimesh(square, [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], process=False)
    return [closed, inconsistent, opened, sheet]


def _read_polygons() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrow.off"
        path.write_text("OFF\n5 2 0\n0 0 0\n2 0 0\n1 1 0\n2 2 0\n0 2 0\n5 0 1 2 3 4\n5 4 3 2 1 0\n")
        meshes.load(path)


def _extract() -> None:
    from latentsdf.extraction.extract import extract

    def ball(points: Any) -> Any:
        return points.norm(dim=1) - 0.5

    # Enough cells for several levels, and a thick band, which is searched at half the resolution.
    extract(ball, ball, resolution=128, band_voxels=30.0)


def _train() -> None:
    import torch

    from latentsdf.config.model import GridConfig, ModelConfig
    from latentsdf.config.training import Config, TrainConfig
    from latentsdf.models.feature_grid import FeatureGrid
    from latentsdf.training.train import train

    with tempfile.TemporaryDirectory() as folder:
        store = SampleStore.create(Path(folder) / "one.zarr", _SAMPLING)
        store.write(mesh_record(_meshes()[0], "box/0", _SAMPLING, 0, "box", ""))
        model = ModelConfig(code_dim=4, grid=GridConfig(resolution=16))
        train(store, Path(folder) / "space", Config(model=model, train=TrainConfig(steps=2)), device="cpu")
    with torch.no_grad():
        FeatureGrid(2, 1)(torch.zeros(1, 3))


def _reconstruct() -> None:
    from latentsdf.reconstruction.reconstruct import reconstruct

    points = np.random.default_rng(0).normal(size=(400, 3))
    reconstruct(points / np.linalg.norm(points, axis=1, keepdims=True), device="cpu", steps=2)
