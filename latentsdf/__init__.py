"""latentsdf: shape spaces with one latent code per 3D shape, a general branch (MLP) and a shared feature grid.

Public names are imported on first access, so `import latentsdf` is fast and does not import torch.
"""

import os
import sys
from typing import TYPE_CHECKING

import lazy_loader

if sys.platform == "darwin":
    # Operations that Apple's mps lacks are computed on the CPU; torch reads this when it is imported.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config.inversion": ["AdamConfig", "InvertConfig", "RefineConfig"],
        "config.model": ["BranchConfig", "GridConfig", "ModelConfig"],
        "config.reconstruction": ["ReconstructConfig"],
        "config.sampling": ["SamplingConfig"],
        "config.training": ["Config", "LossConfig", "TrainConfig"],
        "data.custom_source": ["BatchSource", "SourceBatch"],
        "data.preprocess": ["preprocess"],
        "data.records": ["ShapeRecord"],
        "data.store": ["SampleStore"],
        "evaluation.evaluate": ["evaluate"],
        "evaluation.evaluate_protocol": ["evaluate_protocol"],
        "evaluation.metrics": ["metrics"],
        "evaluation.protocol_result": ["ProtocolEvaluation"],
        "evaluation.result": ["Evaluation"],
        "extraction.csg": ["blend", "difference", "intersection", "offset", "union"],
        "extraction.extract": ["extract"],
        "extraction.field": ["Field"],
        "geometry.mesh_sdf.sampling": ["sample"],
        "geometry.similarity": ["Similarity"],
        "latent.code": ["Code", "Codes"],
        "latent.inversion.fit_folder": ["Inversion", "load_fit"],
        "models.latent_sdf": ["LatentSDF"],
        "reconstruction.reconstruct": ["reconstruct"],
        "reconstruction.result": ["Reconstruction", "load_field"],
        "rendering.render": ["render"],
        "space": ["ShapeSpace", "load", "train"],
        "training.callbacks": ["Callback"],
        "training.custom_losses": ["TrainStep"],
        "utils.errors": [
            "CheckpointError",
            "ConfigError",
            "EmptyLevelSetError",
            "HubError",
            "LatentSDFError",
            "MeshError",
            "MissingExtraError",
            "OutputError",
            "StoreError",
            "TrainingError",
        ],
    },
)
__all__ += ["__version__"]

if TYPE_CHECKING:
    from latentsdf.config.inversion import AdamConfig as AdamConfig
    from latentsdf.config.inversion import InvertConfig as InvertConfig
    from latentsdf.config.inversion import RefineConfig as RefineConfig
    from latentsdf.config.model import BranchConfig as BranchConfig
    from latentsdf.config.model import GridConfig as GridConfig
    from latentsdf.config.model import ModelConfig as ModelConfig
    from latentsdf.config.reconstruction import ReconstructConfig as ReconstructConfig
    from latentsdf.config.sampling import SamplingConfig as SamplingConfig
    from latentsdf.config.training import Config as Config
    from latentsdf.config.training import LossConfig as LossConfig
    from latentsdf.config.training import TrainConfig as TrainConfig
    from latentsdf.data.custom_source import BatchSource as BatchSource
    from latentsdf.data.custom_source import SourceBatch as SourceBatch
    from latentsdf.data.preprocess import preprocess as preprocess
    from latentsdf.data.records import ShapeRecord as ShapeRecord
    from latentsdf.data.store import SampleStore as SampleStore
    from latentsdf.evaluation.evaluate import evaluate as evaluate
    from latentsdf.evaluation.evaluate_protocol import evaluate_protocol as evaluate_protocol
    from latentsdf.evaluation.metrics import metrics as metrics
    from latentsdf.evaluation.protocol_result import ProtocolEvaluation as ProtocolEvaluation
    from latentsdf.evaluation.result import Evaluation as Evaluation
    from latentsdf.extraction.csg import blend as blend
    from latentsdf.extraction.csg import difference as difference
    from latentsdf.extraction.csg import intersection as intersection
    from latentsdf.extraction.csg import offset as offset
    from latentsdf.extraction.csg import union as union
    from latentsdf.extraction.extract import extract as extract
    from latentsdf.extraction.field import Field as Field
    from latentsdf.geometry.mesh_sdf.sampling import sample as sample
    from latentsdf.geometry.similarity import Similarity as Similarity
    from latentsdf.latent.code import Code as Code
    from latentsdf.latent.code import Codes as Codes
    from latentsdf.latent.inversion.fit_folder import Inversion as Inversion
    from latentsdf.latent.inversion.fit_folder import load_fit as load_fit
    from latentsdf.models.latent_sdf import LatentSDF as LatentSDF
    from latentsdf.reconstruction.reconstruct import reconstruct as reconstruct
    from latentsdf.reconstruction.result import Reconstruction as Reconstruction
    from latentsdf.reconstruction.result import load_field as load_field
    from latentsdf.rendering.render import render as render
    from latentsdf.space import ShapeSpace as ShapeSpace
    from latentsdf.space import load as load
    from latentsdf.space import train as train
    from latentsdf.training.callbacks import Callback as Callback
    from latentsdf.training.custom_losses import TrainStep as TrainStep
    from latentsdf.utils.errors import CheckpointError as CheckpointError
    from latentsdf.utils.errors import ConfigError as ConfigError
    from latentsdf.utils.errors import EmptyLevelSetError as EmptyLevelSetError
    from latentsdf.utils.errors import HubError as HubError
    from latentsdf.utils.errors import LatentSDFError as LatentSDFError
    from latentsdf.utils.errors import MeshError as MeshError
    from latentsdf.utils.errors import MissingExtraError as MissingExtraError
    from latentsdf.utils.errors import OutputError as OutputError
    from latentsdf.utils.errors import StoreError as StoreError
    from latentsdf.utils.errors import TrainingError as TrainingError
