"""latentsdf: one latent code per 3D shape, a generalization MLP and a shared feature grid.

The public names load on first use, so that `import latentsdf` is quick and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Config": "config",
    "InvertConfig": "config",
    "ReconstructConfig": "cloud_config",
    "RefineConfig": "config",
    "SamplingConfig": "config",
    "SampleStore": "store",
    "ShapeRecord": "record",
    "ShapeSpace": "space",
    "load": "space",
    "Reconstruction": "reconstruction",
    "load_field": "reconstruction",
    "reconstruct": "reconstruction",
    "Evaluation": "evaluate",
    "Inversion": "invert",
    "sample": "geometry.sampling",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "EmptyLevelSetError": "errors",
    "LatentSDFError": "errors",
    "MeshError": "errors",
    "MissingExtraError": "errors",
    "StoreError": "errors",
    "TrainingError": "errors",
}

__all__ = [*_HOME, "__version__"]

if TYPE_CHECKING:
    from latentsdf.cloud_config import ReconstructConfig as ReconstructConfig
    from latentsdf.config import Config as Config
    from latentsdf.config import InvertConfig as InvertConfig
    from latentsdf.config import RefineConfig as RefineConfig
    from latentsdf.config import SamplingConfig as SamplingConfig
    from latentsdf.errors import CheckpointError as CheckpointError
    from latentsdf.errors import ConfigError as ConfigError
    from latentsdf.errors import EmptyLevelSetError as EmptyLevelSetError
    from latentsdf.errors import LatentSDFError as LatentSDFError
    from latentsdf.errors import MeshError as MeshError
    from latentsdf.errors import MissingExtraError as MissingExtraError
    from latentsdf.errors import StoreError as StoreError
    from latentsdf.errors import TrainingError as TrainingError
    from latentsdf.evaluate import Evaluation as Evaluation
    from latentsdf.geometry.sampling import sample as sample
    from latentsdf.invert import Inversion as Inversion
    from latentsdf.reconstruction import Reconstruction as Reconstruction
    from latentsdf.reconstruction import load_field as load_field
    from latentsdf.reconstruction import reconstruct as reconstruct
    from latentsdf.record import ShapeRecord as ShapeRecord
    from latentsdf.space import ShapeSpace as ShapeSpace
    from latentsdf.space import load as load
    from latentsdf.store import SampleStore as SampleStore


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'latentsdf' has no attribute '{name}'")
    return getattr(import_module(f"latentsdf.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
