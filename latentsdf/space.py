"""A trained shape space in use: the one object behind `latentsdf.load`."""

import dataclasses
import difflib
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.config.model import Branch
from latentsdf.config.sampling import Normalization
from latentsdf.config.training import Config
from latentsdf.extraction.extract import Mode, extract
from latentsdf.extraction.field import SignedDistance
from latentsdf.extraction.fusion_band import FusionBand
from latentsdf.geometry.pointcloud.io import load_mesh_or_points
from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.latent import retrieval
from latentsdf.latent.decoded_shape import Decoded
from latentsdf.latent.interpolation import Method, interpolate
from latentsdf.latent.inversion.fit_folder import Inversion, require_same_space
from latentsdf.latent.inversion.invert import invert
from latentsdf.latent.inversion.observation import Observation, observe
from latentsdf.latent.inversion.refine import observe_detail, refine
from latentsdf.latent.prior import CodePrior
from latentsdf.training import checkpoint
from latentsdf.utils import devices
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import CheckpointError, ConfigError, MeshError

if TYPE_CHECKING:
    from latentsdf.models.latent_sdf import LatentSDF

CodeLike = str | ArrayLike | Tensor | Inversion
"""A shape id, a code (L,), or the result of an inversion."""

Target: TypeAlias = trimesh.Trimesh | Path | str | ArrayLike | Observation
"""A mesh, points (N, 3), points with normals (N, 6), signed samples (N, 4), a file of these, or an observation."""

_RERANK_RESOLUTION = 64


def load(folder: Path | str, device: str = "auto") -> "ShapeSpace":
    """Open a checkpoint folder. `device` is auto, cpu, cuda or cuda:N."""
    where = devices.resolve(device)
    return ShapeSpace(checkpoint.load(folder, where), Path(folder), where)


class ShapeSpace:
    """Model, codes and ids of a trained space; everything it returns for a shape is in that shape's own frame."""

    def __init__(self, loaded: checkpoint.Checkpoint, folder: Path, device: torch.device) -> None:
        self.model: LatentSDF = loaded.model
        self.codes: Float[Tensor, "T L"] = loaded.codes
        self.keys = loaded.keys
        self.config: Config = loaded.config
        self.folder = folder
        self.device = device
        self.normalization: Normalization = loaded.normalization
        self._similarities = loaded.similarities
        self._indices: dict[retrieval.Metric, retrieval.CodeIndex] = {}
        self._last: Decoded | None = None
        short = [key.split("/", 1)[1] for key in loaded.keys]
        self.ids = short if len(set(short)) == len(short) else list(loaded.keys)
        """Names of the training shapes: bare ids where they are unique, else category/id."""

    def row(self, shape: str) -> int:
        """Row of a training shape in `codes`, by id or category/id."""
        for names in (self.ids, self.keys):
            if shape in names:
                return names.index(shape)
        close = difflib.get_close_matches(shape, self.ids, n=3) or self.ids[:3]
        raise ConfigError(f"no training shape '{shape}' in {self.folder}; did you mean {', '.join(close)}?")

    def code(self, shape: CodeLike) -> Float[Tensor, " L"]:
        """The code of a training shape, or the given code checked."""
        if isinstance(shape, str):
            return self.codes[self.row(shape)]
        if isinstance(shape, Inversion):
            require_same_space(shape.space, self.fingerprint, "the fit")
            shape = shape.code
        array = shape.detach() if isinstance(shape, Tensor) else np.asarray(shape)
        code = torch.as_tensor(array, dtype=torch.float32, device=self.device)
        if code.shape != self.codes.shape[1:]:
            raise ConfigError(f"this space has codes of length {self.codes.shape[1]}, got shape {tuple(code.shape)}")
        if not torch.isfinite(code).all():
            raise ConfigError("the code has values that are not finite")
        return code

    def decoded_code(self, shape: CodeLike) -> Float[Tensor, "*N L"]:
        """What a shape is decoded from: its code, or the codes by layer (N, L) of an inversion that has them."""
        code = self.code(shape)
        if not isinstance(shape, Inversion) or shape.layers is None:
            return code
        layers = torch.as_tensor(shape.layers, dtype=torch.float32, device=self.device)
        wanted = (len(self.model.conditioned_layers()), len(code))
        if layers.shape != wanted or not torch.isfinite(layers).all():
            raise ConfigError(
                f"this space has finite codes by layer of shape {wanted}, got shape {tuple(layers.shape)}"
            )
        return layers

    def similarity(self, shape: CodeLike) -> Similarity:
        """The way from model space to the shape's own frame; the identity for a bare code."""
        if isinstance(shape, str):
            return self._similarities[self.row(shape)]
        return shape.similarity if isinstance(shape, Inversion) else IDENTITY

    def field(self, shape: CodeLike, branch: Branch = "general") -> SignedDistance:
        """One branch of one shape as a signed distance in model space: points (N, 3) -> distance (N,).

        Beyond the box [-1, 1]^3: the distance to the box, plus the branch at the closest point of the box. Points that
        are not finite raise ConfigError. The same holds of `fused` and `distance`.
        """
        return self._decoded(shape).field(branch)

    def fused(self, shape: CodeLike) -> SignedDistance:
        """Both branches as one signed distance: s_o in the band in which `extract` fuses at 256^3, else s_g."""
        return self._decoded(shape).fused()

    def band(self, shape: CodeLike) -> FusionBand:
        """Where s_o holds for a shape."""
        return self._decoded(shape).band

    def _decoded(self, shape: CodeLike) -> Decoded:
        """The shape at work; the last one is kept, as finding its band or checking its delta costs like many points."""
        code, delta = self.decoded_code(shape), shape.delta if isinstance(shape, Inversion) else None
        last = self._last
        if last is None or last.delta is not delta or not torch.equal(last.code, code):
            self._last = last = Decoded(self.model, code, delta, band_voxels=self.config.model.band_voxels)
        return last

    def extract(
        self,
        shape: CodeLike,
        resolution: int = 256,
        mode: Mode = "fused",
        *,
        largest_component: bool = False,
        smallest_piece: float = 5e-3,
        faces: int | None = None,
        normals: bool = False,
    ) -> trimesh.Trimesh:
        """The shape's surface in its own frame; `resolution` cells per axis of model space.

        Specks, pieces of less than `smallest_piece` of the largest one's area, are left out; 0 keeps them. `faces`
        simplifies to about so many; `normals` makes the field's the mesh's `vertex_normals`. See
        `extraction.extract`.
        """
        general = self.field(shape, "general")
        overfit = None if mode == "general" else self.field(shape, "overfit")
        mesh = extract(
            general,
            overfit,
            resolution=resolution,
            mode=mode,
            band_voxels=self.config.model.band_voxels,
            largest_component=largest_component,
            smallest_piece=smallest_piece,
            faces=faces,
            normals=normals,
            device=self.device,
        )
        similarity = self.similarity(shape)
        turned = mesh.vertex_normals @ similarity.rotation() if normals else None
        return trimesh.Trimesh(similarity.to_user(mesh.vertices), mesh.faces, vertex_normals=turned, process=False)

    def distance(self, shape: CodeLike, points: Float[NDArray[np.floating], "N 3"]) -> Float[NDArray[np.float32], " N"]:
        """Fused signed distance (N,) at points (N, 3) in model space.

        Beyond the box [-1, 1]^3: the distance to the box, plus the field at the closest point of the box. Raises
        ConfigError for another shape of `points`, and for points that are not finite.
        """
        return self._at(self.fused(shape), points)

    def slope(self, shape: CodeLike, points: Float[NDArray[np.floating], "N 3"]) -> Float[NDArray[np.float32], " N"]:
        """Norm (N,) of the gradient of the fused distance at points (N, 3) in model space; 1 for a true distance.

        The jump at the edge of the band, if it has one, does not count. Raises what `distance` raises.
        """
        return self._at(self._decoded(shape).slope(), points)

    def invert(
        self, target: Target, config: InvertConfig | None = None, *, refinement: RefineConfig | None = None
    ) -> Inversion:
        """Fit a code to a mesh, points (N, 3) or (N, 6), or signed samples (N, 4); see `observation`.

        With `refinement`, the detail that the code cannot hold is learned too, as the inversion's `delta`.
        """
        return self.invert_many([target], config, refinement=refinement)[0]

    def invert_many(
        self,
        targets: Sequence[Target],
        config: InvertConfig | None = None,
        *,
        refinement: RefineConfig | None = None,
    ) -> list[Inversion]:
        """Fit codes to several observations in batches; `refinement` follows one by one and is for meshes only.

        One that cannot be fitted or refined is an error before any is.
        """
        config = config or InvertConfig()
        targets = [load_mesh_or_points(target) if isinstance(target, str | Path) else target for target in targets]
        if refinement is not None:
            for target in targets:
                self.require_refinable(target, config)
        fits = invert(self.model, self.codes, [self.observe(target, config) for target in targets], config)
        fits = [dataclasses.replace(fit, space=self.fingerprint) for fit in fits]
        if refinement is None:
            return fits
        return [self.refine(fit, target, refinement) for fit, target in zip(fits, targets, strict=True)]

    def observe(self, target: Target, config: InvertConfig | None = None) -> Observation:
        """What inversion is going to see of a target, which it also takes in place of the target."""
        config = config or InvertConfig()
        if isinstance(target, Observation):
            return target
        return observe(target, self.normalization, seed=config.seed, partial=config.partial, frame=config.frame)

    def require_refinable(self, target: Target, config: InvertConfig) -> None:
        """Raise MeshError where the detail of a target cannot be learned, ConfigError where that of none can."""
        self.model.require_grid()
        if config.partial or not isinstance(target, trimesh.Trimesh):
            raise MeshError("refining needs distances all around a surface: pass a whole mesh, or refine nothing")

    def refine(self, fit: Inversion, mesh: trimesh.Trimesh, config: RefineConfig | None = None) -> Inversion:
        """The inversion with the detail of the mesh it was fitted to as its `delta`; the code stays."""
        config = config or RefineConfig()
        detail = observe_detail(mesh, fit.similarity, config)
        return dataclasses.replace(fit, delta=refine(self.model, self.decoded_code(fit), detail, config))

    def _at(self, field: SignedDistance, points: Float[NDArray[np.floating], "N 3"]) -> NDArray[np.float32]:
        if np.ndim(points) != 2 or np.shape(points)[1] != 3:
            raise ConfigError(f"points must have shape (N, 3), got {np.shape(points)}")
        xyz = torch.as_tensor(np.asarray(points), dtype=torch.float32, device=self.device)
        return field(xyz).cpu().numpy()

    @cached_property
    def fingerprint(self) -> str:
        """Name of this space by the content of its codes, which every training step changes."""
        return retrieval.fingerprint(self.codes.cpu().numpy(), self.ids)

    @cached_property
    def prior(self) -> CodePrior:
        """The Gaussian of the training codes."""
        return CodePrior.fit(self.codes)

    def interpolate(
        self, *shapes: CodeLike, steps: int = 9, method: Method = "linear"
    ) -> Float[NDArray[np.float32], "N L"]:
        """Codes of a path through the shapes."""
        codes = torch.stack([self.code(shape) for shape in shapes]).cpu().numpy()
        return interpolate(codes, steps, method, self.model, self.prior)

    def mean(self) -> Float[NDArray[np.float32], " L"]:
        """The mean of the training codes."""
        return self.prior.mean.cpu().numpy()

    def sample(self, count: int, seed: int = 0) -> Float[NDArray[np.float32], "N L"]:
        """Codes of shapes that nobody made, drawn from the distribution of the training codes."""
        if count < 1:
            raise ConfigError(f"at least 1 shape must be drawn, got {count}")
        return self.prior.sample(count, seed).cpu().numpy()

    def direction(
        self, number: int, deviations: Sequence[float] = (-2, -1, 0, 1, 2)
    ) -> Float[NDArray[np.float32], "N L"]:
        """Codes along a principal direction of the training codes, 0 the first, in standard deviations of it."""
        if not 0 <= number < self.codes.shape[1]:
            raise ConfigError(f"this space has principal directions 0 to {self.codes.shape[1] - 1}, got {number}")
        amounts = torch.tensor(deviations, dtype=torch.float32, device=self.device)
        return self.prior.along(number, amounts).cpu().numpy()

    def combine(self, *terms: tuple[float, CodeLike]) -> Float[NDArray[np.float32], " L"]:
        """Code arithmetic about the mean: mean + sum of weight * (code - mean)."""
        offsets = [weight * (self.code(shape) - self.prior.mean) for weight, shape in terms]
        return (self.prior.mean + torch.stack(offsets).sum(0)).cpu().numpy()

    def nearest(
        self,
        shape: CodeLike,
        k: int = 5,
        *,
        metric: retrieval.Metric = "l2",
        rerank: int = 0,
        kind: retrieval.Kind | None = None,
    ) -> retrieval.Hits:
        """The training shapes with the nearest codes; the `rerank` nearest are ordered by Chamfer distance."""
        code = self.code(shape)
        hits = self.index(metric, kind).nearest(code.cpu().numpy(), max(k, rerank))
        if rerank == 0:
            return hits
        # Bare codes: in model space, and without the delta of a fit, which no training shape has.
        known = [name for name in hits.ids if name in self.ids]
        return retrieval.rerank(
            self.extract(code, _RERANK_RESOLUTION),
            known,
            lambda name: self.extract(self.code(name), _RERANK_RESOLUTION),
            k,
        )

    def index(self, metric: retrieval.Metric = "l2", kind: retrieval.Kind | None = None) -> retrieval.CodeIndex:
        """The index of this space, built on first use and whenever the space's codes have changed, and saved with it
        where its folder can be written to. One that does not fit is told of and kept under another name.

        `kind` makes it another kind of the same codes; ConfigError where they are too few, or not kept.
        """
        if metric not in self._indices:
            self._indices[metric] = self._opened(metric)
        found = self._indices[metric]
        if kind is not None and found.kind != retrieval.kind_for(kind, len(found.ids)):
            self._indices[metric] = found = found.rebuilt(kind)
            with suppress(OSError, RuntimeError):
                found.save(self.folder)
        return found

    def _opened(self, metric: retrieval.Metric) -> retrieval.CodeIndex:
        try:
            return retrieval.CodeIndex.load(self.folder, metric, space=self.fingerprint)
        except (FileNotFoundError, CheckpointError) as error:
            index = retrieval.CodeIndex(self.codes.cpu().numpy(), self.ids, metric, space=self.fingerprint)
            # A space that others share may be read-only: the index then lives as long as this object.
            with suppress(OSError, RuntimeError):
                kept = retrieval.set_aside(self.folder, metric)
                if kept:
                    names = " and ".join(file.name for file in kept)
                    show_note("index built anew", f"{error}. What was there is kept as {names}")
                index.save(self.folder)
            return index
