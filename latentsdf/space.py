"""`ShapeSpace`, the interface to a trained space, and `load`, which opens one."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
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
from latentsdf.latent.decoded_shape import DecodedShape
from latentsdf.latent.interpolation import Method, interpolate
from latentsdf.latent.inversion.fit_folder import Inversion, require_same_space
from latentsdf.latent.inversion.invert import invert
from latentsdf.latent.inversion.observation import Observation, observe
from latentsdf.latent.inversion.refine import observe_detail, refine
from latentsdf.latent.prior import CodePrior
from latentsdf.training import checkpoint
from latentsdf.utils import devices
from latentsdf.utils.errors import ConfigError, MeshError

if TYPE_CHECKING:
    from latentsdf.models.latent_sdf import LatentSDF

CodeLike = str | ArrayLike | Tensor | Inversion
"""A shape of a space: the id of a training shape, a code (L,), or an `Inversion`."""

Target: TypeAlias = trimesh.Trimesh | Path | str | ArrayLike | Observation
"""A shape to fit: a mesh, points (N, 3), points with normals (N, 6), signed samples (N, 4), a file of one of these, or
an `Observation`."""

_RERANK_RESOLUTION = 64


def load(folder: Path | str, device: str = "auto") -> "ShapeSpace":
    """Open a trained space.

    Args:
        folder: Checkpoint folder written by training.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Returns:
        The space, with its model on the device.

    Raises:
        FileNotFoundError: There is no such folder.
        CheckpointError: The checkpoint is incomplete, damaged or of another format.
        ConfigError: The device is unknown or not available.

    Example:
        >>> import latentsdf as ls
        >>> space = ls.load("checkpoints/chairs")
        >>> fit = space.invert("chair.ply")
        >>> space.extract(fit).export("reconstruction.ply")
    """
    where = devices.resolve(device)
    return ShapeSpace(checkpoint.load(folder, where), Path(folder), where)


class ShapeSpace:
    """A trained space: decodes, fits, interpolates, samples and retrieves shapes.

    T is the number of training shapes, L the length of a code. Methods accept a shape as the id of a training shape, a
    code (L,), or an `Inversion` (`CodeLike`).

    Two frames are used. Fields, bands and distances are in model space, the box [-1, 1]^3. Extracted meshes are in the
    shape's frame: the frame of the original mesh for training shapes, the frame of the target for inversions, and model
    space for codes.

    Args:
        loaded: Content of a checkpoint.
        folder: Folder of the checkpoint, in which the retrieval index is stored.
        device: Device of the model and the codes.
    """

    def __init__(self, loaded: checkpoint.Checkpoint, folder: Path, device: torch.device) -> None:
        self.model: LatentSDF = loaded.model
        self.codes: Float[Tensor, "T L"] = loaded.codes
        """Codes (T, L) of the training shapes."""
        self.keys = loaded.keys
        """category/id of the training shapes."""
        self.config: Config = loaded.config
        self.folder = folder
        self.device = device
        self.normalization: Normalization = loaded.normalization
        """Normalization that maps meshes to model space."""
        self._similarities = loaded.similarities
        self._indices: dict[retrieval.Metric, retrieval.CodeIndex] = {}
        self._last_decoded: DecodedShape | None = None
        short = [key.split("/", 1)[1] for key in loaded.keys]
        self.ids = short if len(set(short)) == len(short) else list(loaded.keys)
        """Ids of the training shapes, without the category if they are unique, otherwise category/id."""
        self.augmented = [name for name, key in zip(self.ids, self.keys, strict=True) if key in loaded.augmented]
        """Ids of the training shapes that are deformed copies of others; retrieval and evaluation leave them out."""

    def row(self, shape: str) -> int:
        """Return the row of a training shape in `codes`.

        Args:
            shape: id or category/id.

        Returns:
            Row index, 0 to T - 1.

        Raises:
            ConfigError: There is no such training shape; the message suggests similar ids.
        """
        for names in (self.ids, self.keys):
            if shape in names:
                return names.index(shape)
        close = difflib.get_close_matches(shape, self.ids, n=3) or self.ids[:3]
        raise ConfigError(f"no training shape '{shape}' in {self.folder}; did you mean {', '.join(close)}?")

    def code(self, shape: CodeLike) -> Float[Tensor, " L"]:
        """Return the code of a shape.

        Args:
            shape: Id, code or inversion.

        Returns:
            Code (L,), float32, on the device of the space.

        Raises:
            ConfigError: The id is unknown, or the code has another length or values that are not finite.
            CheckpointError: The inversion belongs to another space.
        """
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
        """Return the code, or the codes by layer, from which a shape is decoded.

        Args:
            shape: Id, code or inversion.

        Returns:
            Codes by layer (N, L) of an inversion that has them, otherwise the code (L,).

        Raises:
            ConfigError, CheckpointError: As for `code`; ConfigError if the array of codes by layer has another shape or
                values that are not finite.
        """
        code = self.code(shape)
        if not isinstance(shape, Inversion) or shape.layers is None:
            return code
        layers = torch.as_tensor(shape.layers, dtype=torch.float32, device=self.device)
        expected = (len(self.model.conditioned_layers()), len(code))
        if layers.shape != expected or not torch.isfinite(layers).all():
            raise ConfigError(
                f"codes by layer must be finite and have shape {expected}, got shape {tuple(layers.shape)}"
            )
        return layers

    def similarity(self, shape: CodeLike) -> Similarity:
        """Return the similarity transform between the shape's frame and model space.

        Args:
            shape: Id, code or inversion.

        Returns:
            The transform; the identity for a code.

        Raises:
            ConfigError: The id is unknown.
        """
        if isinstance(shape, str):
            return self._similarities[self.row(shape)]
        return shape.similarity if isinstance(shape, Inversion) else IDENTITY

    def field(self, shape: CodeLike, branch: Branch = "general") -> SignedDistance:
        """Return the signed distance function of one branch, negative inside, in model space.

        Args:
            shape: Id, code or inversion.
            branch: `general` (s_g) or `overfit` (s_o).

        Returns:
            Differentiable function from points (N, 3) on the device of the space to distances (N,). Outside the box
            [-1, 1]^3, its value is the distance to the box plus the value at the closest point of the box. The
            function raises ConfigError for points that are not finite.

        Raises:
            ConfigError, CheckpointError: As for `decoded_code`; CheckpointError if the refined
                detail belongs to another code.
        """
        return self._decode(shape).field(branch)

    def fused(self, shape: CodeLike) -> SignedDistance:
        """Return the fused signed distance function: s_o in the band, s_g elsewhere.

        The band is the one that `extract` uses at a resolution of 256.

        Args:
            shape: Id, code or inversion.

        Returns:
            Differentiable function from points (N, 3) to distances (N,), as for `field`.

        Raises:
            ConfigError, CheckpointError: As for `field`.
        """
        return self._decode(shape).fused()

    def band(self, shape: CodeLike) -> FusionBand:
        """Return the region around the surface in which `fused` uses the overfit branch.

        Args:
            shape: Id, code or inversion.

        Returns:
            The band, in model space.

        Raises:
            ConfigError, CheckpointError: As for `field`.
        """
        return self._decode(shape).band

    def _decode(self, shape: CodeLike) -> DecodedShape:
        """Decode a shape. The last result is cached, because computing its band and checking its delta takes long."""
        code, delta = self.decoded_code(shape), shape.delta if isinstance(shape, Inversion) else None
        last = self._last_decoded
        if last is None or last.delta is not delta or not torch.equal(last.code, code):
            band_voxels = self.config.model.band_voxels
            self._last_decoded = last = DecodedShape(self.model, code, delta, band_voxels=band_voxels)
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
        """Extract the surface of a shape by marching cubes.

        Args:
            shape: Id, code or inversion.
            resolution: Cells per axis of model space.
            mode: `fused` (overfit branch in the band), `general`, `overfit`, or `smooth` (blended in the band).
            largest_component: Keep only the connected component with the largest area.
            smallest_piece: Remove components with less than this share of the largest component's area; 0 keeps all.
            faces: Simplify to about this number of faces; None for no simplification.
            normals: Store the normalized gradient of the field as `vertex_normals`.

        Returns:
            Mesh in the shape's frame.

        Raises:
            ConfigError, CheckpointError: As for `field`; ConfigError if an option is out of range.
            EmptyLevelSetError: The field has no surface in the box.
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
        rotated = mesh.vertex_normals @ similarity.rotation() if normals else None
        return trimesh.Trimesh(similarity.to_user(mesh.vertices), mesh.faces, vertex_normals=rotated, process=False)

    def distance(self, shape: CodeLike, points: NDArray[np.floating]) -> Float[NDArray[np.float32], " N"]:
        """Evaluate the fused signed distance, negative inside.

        Args:
            shape: Id, code or inversion.
            points: Points (N, 3) in model space. See `field` for points outside the box.

        Returns:
            Distances (N,) in model space.

        Raises:
            ConfigError, CheckpointError: As for `field`; ConfigError if the points have another shape or are not
                finite.
        """
        return self._evaluate(self.fused(shape), points)

    def gradient_norm(self, shape: CodeLike, points: NDArray[np.floating]) -> Float[NDArray[np.float32], " N"]:
        """Evaluate the gradient norm |grad s| of the fused signed distance; 1 for an exact distance.

        Args:
            shape: Id, code or inversion.
            points: Points (N, 3) in model space.

        Returns:
            Norms (N,). The jump of the distance at the border of the band does not contribute.

        Raises:
            ConfigError, CheckpointError: As for `distance`.
        """
        return self._evaluate(self._decode(shape).gradient_norm(), points)

    def invert(
        self, target: Target, config: InvertConfig | None = None, *, refinement: RefineConfig | None = None
    ) -> Inversion:
        """Fit a code to a shape.

        Args:
            target: Mesh, points (N, 3), points with normals (N, 6), signed samples (N, 4), which are points in model
                space with their signed distances, a file of one of these, or an `Observation`.
            config: Settings of the fit; defaults to `InvertConfig()`.
            refinement: Settings for also learning the detail that the code cannot represent (`refine`), for complete
                meshes only; None for no refinement.

        Returns:
            The fit; `extract` returns its surface in the frame of the target.

        Raises:
            FileNotFoundError: There is no such file.
            MeshError: The target is unusable, or `refinement` is given and the target is not a complete mesh.
            ConfigError: `refinement` is given and the model has no feature grid.
        """
        return self.invert_many([target], config, refinement=refinement)[0]

    def invert_many(
        self,
        targets: Sequence[Target],
        config: InvertConfig | None = None,
        *,
        refinement: RefineConfig | None = None,
    ) -> list[Inversion]:
        """Fit codes to several shapes in batches of 16, then refine the fits one by one if requested.

        All targets are checked before the first one is fitted.

        Args:
            targets: As for `invert`.
            config: As for `invert`.
            refinement: As for `invert`.

        Returns:
            A fit for each target, in order.

        Raises:
            FileNotFoundError, MeshError, ConfigError: As for `invert`, for any target.
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
        """Convert a target to an `Observation`, which `invert` also accepts as a target.

        Args:
            target: As for `invert`.
            config: Settings, of which `seed`, `partial` and `frame` are used; defaults to `InvertConfig()`.

        Returns:
            Bounds on the signed distance at points in model space.

        Raises:
            FileNotFoundError, MeshError: As for `invert`.
        """
        config = config or InvertConfig()
        if isinstance(target, Observation):
            return target
        return observe(target, self.normalization, seed=config.seed, partial=config.partial, frame=config.frame)

    def require_refinable(self, target: Target, config: InvertConfig) -> None:
        """Check that a fit to a target can be refined.

        Args:
            target: As for `invert`.
            config: Settings of the fit.

        Raises:
            MeshError: The target is not a complete mesh.
            ConfigError: The model has no feature grid.
        """
        self.model.require_grid()
        if config.partial or not isinstance(target, trimesh.Trimesh):
            raise MeshError(
                "refinement needs distances all around a surface: pass a complete mesh, or leave out refinement"
            )

    def refine(self, fit: Inversion, mesh: trimesh.Trimesh, config: RefineConfig | None = None) -> Inversion:
        """Learn the detail of a mesh on top of the code that was fitted to it.

        Args:
            fit: Inversion of the mesh. Its code is not changed.
            mesh: The mesh, in the frame in which it was fitted.
            config: Settings; defaults to `RefineConfig()`.

        Returns:
            The fit with the detail as `delta`.

        Raises:
            MeshError: The mesh is unusable.
            ConfigError: The model has no feature grid.
            CheckpointError: The fit belongs to another space.
        """
        config = config or RefineConfig()
        detail = observe_detail(mesh, fit.similarity, config)
        return dataclasses.replace(fit, delta=refine(self.model, self.decoded_code(fit), detail, config))

    def _evaluate(self, field: SignedDistance, points: NDArray[np.floating]) -> NDArray[np.float32]:
        if np.ndim(points) != 2 or np.shape(points)[1] != 3:
            raise ConfigError(f"points must have shape (N, 3), got {np.shape(points)}")
        xyz = torch.as_tensor(np.asarray(points), dtype=torch.float32, device=self.device)
        return field(xyz).cpu().numpy()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the training codes and ids. It identifies the space and changes with every training step."""
        return retrieval.fingerprint(self.codes.cpu().numpy(), self.ids)

    @cached_property
    def prior(self) -> CodePrior:
        """Gaussian prior of the training codes."""
        return CodePrior.fit(self.codes)

    def interpolate(
        self, *shapes: CodeLike, steps: int = 9, method: Method = "linear"
    ) -> Float[NDArray[np.float32], "N L"]:
        """Interpolate codes along a path through two or more shapes.

        Args:
            *shapes: Ids, codes or inversions, in the order of the path.
            steps: Number of codes N >= 2, including both ends.
            method: `linear`, `spherical`, or `shortest` (see `latent.interpolation`).

        Returns:
            Codes (N, L).

        Raises:
            ConfigError, CheckpointError: As for `code`; ConfigError if there are too few shapes or steps, the method is
                unknown, or `spherical` joins codes of opposite directions.
        """
        codes = torch.stack([self.code(shape) for shape in shapes]).cpu().numpy()
        return interpolate(codes, steps, method, self.model, self.prior)

    def mean(self) -> Float[NDArray[np.float32], " L"]:
        """Return the mean (L,) of the training codes."""
        return self.prior.mean.cpu().numpy()

    def sample(self, count: int, seed: int = 0) -> Float[NDArray[np.float32], "N L"]:
        """Draw codes of new shapes from a Gaussian fitted to the training codes.

        Args:
            count: Number of codes N >= 1.
            seed: Seed; the codes do not depend on the device.

        Returns:
            Codes (N, L).

        Raises:
            ConfigError: `count` is less than 1.
        """
        if count < 1:
            raise ConfigError(f"count must be at least 1, got {count}")
        return self.prior.sample(count, seed).cpu().numpy()

    def direction(
        self, number: int, deviations: Sequence[float] = (-2, -1, 0, 1, 2)
    ) -> Float[NDArray[np.float32], "N L"]:
        """Return codes along a principal direction of the training codes, through their mean.

        Args:
            number: Principal direction, 0 to L - 1, in order of decreasing variance.
            deviations: N signed distances from the mean, in standard deviations.

        Returns:
            Codes (N, L).

        Raises:
            ConfigError: There is no such direction.
        """
        if not 0 <= number < self.codes.shape[1]:
            raise ConfigError(f"this space has principal directions 0 to {self.codes.shape[1] - 1}, got {number}")
        amounts = torch.tensor(deviations, dtype=torch.float32, device=self.device)
        return self.prior.along(number, amounts).cpu().numpy()

    def combine(self, *terms: tuple[float, CodeLike]) -> Float[NDArray[np.float32], " L"]:
        """Add weighted codes relative to the mean m of the training codes: m + sum_i w_i (z_i - m).

        Args:
            *terms: Pairs of a weight w_i and a shape with code z_i.

        Returns:
            Code (L,).

        Raises:
            ConfigError, CheckpointError: As for `code`.
        """
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
        augmented: bool = False,
    ) -> retrieval.Hits:
        """Find the training shapes with the nearest codes.

        Args:
            shape: Id, code or inversion.
            k: Number of shapes to return; all shapes if there are fewer.
            metric: Distance between codes, `l2` or `cosine`.
            rerank: Number of nearest codes to reorder by the Chamfer distance between extracted surfaces; 0 for none.
            kind: As for `index`.
            augmented: Also find deformed copies of training shapes.

        Returns:
            Ids and distances, nearest first.

        Raises:
            ConfigError, CheckpointError: As for `code` and `index`; ConfigError if `k` is less than 1.
            MissingExtraError: FAISS is not installed.
        """
        code = self.code(shape)
        hits = self.index(metric, kind).nearest(code.cpu().numpy(), max(k, rerank))
        if augmented and self.augmented:
            rows = [self.row(name) for name in self.augmented]
            copies = retrieval.CodeIndex(self.codes[rows].cpu().numpy(), self.augmented, metric)
            hits = hits.merged(copies.nearest(code.cpu().numpy(), max(k, rerank)), max(k, rerank))
        if rerank == 0:
            return hits
        # Decode codes only, so that query and hits are in model space and without refined detail.
        known = [name for name in hits.ids if name in self.ids]
        return retrieval.rerank(
            self.extract(code, _RERANK_RESOLUTION),
            known,
            lambda name: self.extract(self.code(name), _RERANK_RESOLUTION),
            k,
        )

    def index(self, metric: retrieval.Metric = "l2", kind: retrieval.Kind | None = None) -> retrieval.CodeIndex:
        """Return the retrieval index of the space: loaded from its folder, or built and saved there.

        It has the training shapes without deformed copies, and the shapes added by `update_index`.

        Args:
            metric: `l2` or `cosine`.
            kind: Kind of index (see `latent.retrieval.CodeIndex`); an index of another kind is rebuilt and saved. None
                keeps the present kind.

        Returns:
            The index.

        Raises:
            ConfigError: There are too few codes for the kind, or the present index does not store the codes.
            MissingExtraError: FAISS is not installed.
        """
        if metric not in self._indices:
            # A space of deformed copies only, as after sampling with a pattern, retrieves these.
            ids = [name for name in self.ids if name not in set(self.augmented)] or self.ids
            codes = self.codes[[self.row(name) for name in ids]].cpu().numpy()
            self._indices[metric] = retrieval.open_index(self.folder, codes, ids, metric, self.fingerprint)
        if kind is not None:
            self._indices[metric] = retrieval.change_kind(self._indices[metric], kind, self.folder)
        return self._indices[metric]

    def update_index(
        self,
        *,
        add: Mapping[str, CodeLike] | None = None,
        remove: Sequence[str] = (),
        metric: retrieval.Metric = "l2",
        kind: retrieval.Kind | None = None,
    ) -> retrieval.CodeIndex:
        """Remove ids from the saved retrieval index of the space, then add shapes to it.

        Args:
            add: Shapes by new id, under which `nearest` returns them.
            remove: Ids to remove from the index.
            metric: `l2` or `cosine`; each metric has a separate index.
            kind: As for `index`.

        Returns:
            The saved index.

        Raises:
            ConfigError, CheckpointError: As for `code` and `index`; ConfigError if an id to add is already in the
                index, an id to remove is not, or codes are to be removed from an hnsw index. The saved index is
                unchanged.
            OSError, RuntimeError: The folder of the space cannot be written to.
        """
        codes = {name: self.code(shape).cpu().numpy() for name, shape in (add or {}).items()}
        index = self.index(metric, kind)
        try:
            retrieval.update_index(index, self.folder, codes, remove)
        except Exception:
            del self._indices[metric]  # partly changed, in memory only
            raise
        return index
