"""`ShapeSpace`, the interface to a trained space, and `load` and `train`, which return one."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, SupportsIndex, TypeAlias

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from pydantic import Field as Range
from torch import Tensor, nn

from latentsdf.config.arguments import check_arguments, with_options
from latentsdf.config.frames import Frame
from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.config.model import Branch
from latentsdf.config.sampling import Normalization
from latentsdf.config.training import Config
from latentsdf.config.validation import NonNegativeInt, Pixels, PositiveInt, Seed
from latentsdf.data.custom_source import BatchSource
from latentsdf.data.sdf_samples import Sampler
from latentsdf.data.store import SampleStore
from latentsdf.evaluation.evaluate import evaluate
from latentsdf.evaluation.result import Evaluation
from latentsdf.extraction import volume
from latentsdf.extraction.extract import MarchingCubes, Mode, extract, mean_band_half_width
from latentsdf.extraction.field import Field, SignedDistance, in_frame_of
from latentsdf.extraction.fusion_band import FusionBand
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh import to_user_frame
from latentsdf.geometry.similarity import IDENTITY, Similarity, in_frame
from latentsdf.geometry.targets import is_pair, read_mesh, read_target
from latentsdf.latent import network_export, retrieval
from latentsdf.latent.batched_sdf import SDFBranch, signed_distance
from latentsdf.latent.code import Code, Codes, as_bare_code, combine_codes, is_row, split_shapes
from latentsdf.latent.decoded_shape import DecodedShape
from latentsdf.latent.distribution import CodeDistribution
from latentsdf.latent.interpolation import Method, interpolate, positions_on_path
from latentsdf.latent.inversion.fit_folder import Inversion, require_same_space
from latentsdf.latent.inversion.hypotheses import judge
from latentsdf.latent.inversion.invert import invert
from latentsdf.latent.inversion.observation import Observation, observe
from latentsdf.latent.inversion.refine import observe_detail, refine
from latentsdf.latent.inversion.verdict import RESOLUTION as VERDICT_RESOLUTION
from latentsdf.latent.prior import CodePrior
from latentsdf.latent.saved_index import SavedIndex
from latentsdf.latent.stored_prior import read_stored_prior
from latentsdf.latent.training_shapes import TrainingShapes
from latentsdf.models.custom_model import ModelLike
from latentsdf.rendering.camera import DEFAULT_AZIMUTH, DEFAULT_ELEVATION
from latentsdf.rendering.render import Style, render_field
from latentsdf.rendering.viewer import show_mesh
from latentsdf.sharing.locations import locate_space
from latentsdf.sharing.pack import rows_to_keep
from latentsdf.training import checkpoint
from latentsdf.training.callbacks import CallbackLike
from latentsdf.training.custom_losses import LossFunction, with_losses
from latentsdf.training.packed_weights import Packing
from latentsdf.training.train import train as train_to_folder
from latentsdf.utils import devices
from latentsdf.utils.arrays import as_array, as_points, describe
from latentsdf.utils.errors import ConfigError, MeshError
from latentsdf.utils.notebook import html_table
from latentsdf.utils.output_folders import require_writable_output

if TYPE_CHECKING:
    from latentsdf.models.latent_sdf import LatentSDF

CodeLike = str | int | ArrayLike | Tensor | Inversion | Code
"""A shape of a space: the id of a training shape or its row, a bare code (L,) or (1, L), a `Code` or an `Inversion`."""

Target: TypeAlias = Any
"""A shape to fit: a mesh, points (N, 3), points with normals (N, 6), signed samples (N, 4), a file of one of these, any
other form that `geometry.targets` lists, or an `Observation`."""

CodeCount = Annotated[int, Range(strict=True, ge=1, le=1_000_000)]
PathLength = Annotated[int, Range(strict=True, le=100_000)]

_RERANK_RESOLUTION = 64
_RESIDUAL_POINTS = 20_000  # samples on which a refined fit is judged
_MAX_FACTOR = 1e9  # far beyond it, the coordinates of codes would overflow


@check_arguments
def load(
    folder: Path | str, device: str = "auto", *, model: ModelLike | None = None, verify: bool = True
) -> "ShapeSpace":
    """Open a trained space.

    Args:
        folder: Checkpoint folder written by training, the name of a space that comes with latentsdf (`furniture`), or a
            space on Hugging Face: `hf://user/space` or `hf://user/space@revision` (`sharing.hub`; extra `hub`).
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        model: For a space that was trained with a model of your own: the module, whose copy gets the trained weights,
            or the function that builds it.
        verify: Compare the files with the checksums of `manifest.json`, also those of the retrieval index; without it,
            only with their sizes.

    Returns:
        The space, with its model on the device.

    Raises:
        FileNotFoundError: There is no such folder.
        HubError: The space on Hugging Face cannot be reached, does not exist or is private.
        CheckpointError: The checkpoint is incomplete, damaged or of an unsupported format, or `model` is missing, not
            needed or has other weights.
        ConfigError: The device is unknown or not available.

    Example:
        >>> import latentsdf as ls
        >>> space = ls.load("checkpoints/chairs")
        >>> fit = space.invert("chair.ply")
        >>> space.extract(fit).export("reconstruction.ply")
    """
    where, place = devices.resolve(device), locate_space(folder)
    return ShapeSpace(checkpoint.load(place, where, model, verify=verify), place, where, verify=verify)


@check_arguments
def train(
    data: SampleStore | Path | str | None = None,
    config: Config | None = None,
    *,
    out: Path | str,
    source: BatchSource | str | None = None,
    sampler: Sampler | None = None,
    losses: Mapping[str, LossFunction | tuple[LossFunction, float | Sequence[float]]] | None = None,
    callbacks: Sequence[CallbackLike] = (),
    model: ModelLike | None = None,
    resume: bool = False,
    start_from: Path | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> "ShapeSpace":
    """Train a shape space, write its checkpoint folder, and open it.

    With the same data, settings and seed, the result equals that of `latentsdf train`, bit for bit. Ctrl-C finishes
    the step, writes a checkpoint and raises KeyboardInterrupt.

    Args:
        data: A sample store, or its folder. None with a source.
        config: Settings, by default `Config()`; with `resume`, by default those of the run in `out`, and with
            `start_from` those of the space, including its budget.
        out: Checkpoint folder to write.
        source: Source of batches instead of a store (`BatchSource`), or the name of one in an installed package, which
            then reads `data`.
        sampler: Chooses the samples of a shape in a batch instead of `train.draw`: a function of their signed distances
            (N,) as a tensor, the number of samples to choose, and a NumPy random generator, which returns indices.
        losses: Loss terms of your own by name: a function of a `TrainStep` that returns a scalar tensor, or a pair of
            such a function and its weight, a number or a schedule. Without it, the weight is that of `loss.extra`, or
            1. They are added to the loss and logged under their names.
        callbacks: Objects with methods of `Callback`, or functions of the run and the metrics, called after each step.
        model: A `torch.nn.Module` that maps points (S, P, 3) and codes (S, L) to signed distances (S, P), a
            subclass of `LatentSDF`, or a function of the section `model` of the settings that builds one. A module is
            copied, not changed. Pass it again to `load` to open the space.
        resume: Continue the run in `out`; only the budget (steps, epochs, minutes) may differ.
        start_from: Space, as for `load`, whose networks, grid and codes the run starts from, instead of random ones.
            Shapes of `data` that it lacks start from its mean code; its shapes that `data` lacks are left out.
        overwrite: Replace the space in `out`.
        device: `cpu`, `cuda`, `cuda:N`, or `auto` for a GPU if there is one.

    Returns:
        The trained space. Metrics are in `out/metrics.jsonl`.

    Raises:
        ConfigError: A setting, source, sampler, loss, callback or model cannot be used, `resume` and `start_from` are
            both given, or the model differs from that of `start_from`.
        CheckpointError: `out` holds a space or other files, the run to resume has another configuration, or the
            normalization of `data` is not that of `start_from`.
        FileNotFoundError: There is no store `data`.
        StoreError: `data` is not a sample store, or lacks samples that the settings need.
        TrainingError: A loss or parameter is not finite, or a source, loss or callback raised an exception. The last
            checkpoint is kept.

    Example:
        >>> import latentsdf as ls
        >>> def small_codes(step):
        ...     return step.codes.square().mean()
        >>> space = ls.train("chairs.zarr", out="checkpoints/chairs", losses={"small_codes": (small_codes, 1e-3)})
    """
    if sampler is not None and not callable(sampler):
        raise ConfigError(f"sampler must be a function that chooses samples, got {describe(sampler)}")
    if resume and start_from is not None:
        raise ConfigError("resume continues the run in out; leave out start_from")
    start = None if start_from is None else locate_space(start_from)
    if config is None:
        known = Path(out) if resume else start
        config = Config() if known is None else checkpoint.load_config(known)
    if isinstance(source, str):
        config, source = dataclasses.replace(config, train=dataclasses.replace(config.train, source=source)), None
    elif source is not None and data is not None:
        raise ConfigError("data and source were both given; a source of your own replaces the store, so leave data out")
    config, functions = with_losses(config, {} if losses is None else losses)
    options: dict[str, Any] = {"source": source, "sampler": sampler, "callbacks": callbacks, "model": model}
    options["start_from"] = start
    train_to_folder(data, out, config, resume=resume, overwrite=overwrite, device=device, losses=functions, **options)
    return load(out, device, model=model)


def _split_config(normals: Any, config: InvertConfig | None) -> tuple[InvertConfig | None, Any]:
    """Separate the two meanings of the second argument of `invert`."""
    if not isinstance(normals, InvertConfig):
        return config, normals
    if config is not None:
        raise ConfigError("got two configurations; pass one as config=, and normals of the points as normals=")
    return normals, None


def _require_several(targets: Any) -> list[Target]:
    """Return the targets as a list; refuse a single target, whose rows or characters are no targets."""
    one = isinstance(targets, str | bytes | Mapping | trimesh.Trimesh | Observation) or is_pair(targets)
    table = getattr(targets, "ndim", 3) < 3
    if one or table or not isinstance(targets, Iterable):
        raise MeshError(f"expected a list of targets, got {describe(targets)}; fit a single target with `invert`")
    return list(targets)


class ShapeSpace(nn.Module):
    """A trained space: decodes, fits, interpolates, samples and retrieves shapes.

    T is the number of training shapes, L the length of a code. Methods accept a shape as the id of a training shape,
    its row in `codes` (0 to T - 1), a code (L,) or (1, L), a `Code` or an `Inversion` (`CodeLike`). `interpolate` also
    accepts a list of shapes or codes (N, L); elsewhere pass one shape at a time.

    Positions and distances are in the shape's own frame, unless `frame="model"` is passed; `latentsdf.config.frames`
    defines both. Networks (`model`) and bands are always in model space.

    A space is also a collection of its training shapes: `len(space)` counts them, iteration yields their ids,
    `"chair_a" in space` looks one up, and `space["chair_a"]` returns its `Code`.

    A space is a torch module with the signature of `sdf`, which can be part of a larger model. Its parameters are the
    networks and the feature grid. They are frozen after loading; `requires_grad_()` makes them trainable. The codes of
    the training shapes are a buffer, not a parameter: they are saved and moved with the module, but not changed by an
    optimizer. To train codes, pass a parameter of your own to `sdf`. In a space of half precision they remain in single
    precision, in which fits and shortest paths are computed as well. A space is loaded in evaluation mode; in training
    mode, spaces of the recipe `deepsdf` apply dropout.

    Args:
        loaded: Content of a checkpoint.
        folder: Folder of the checkpoint, in which the retrieval index is stored.
        device: Device of the model and the codes.
        verify: Compare files that are read later with their checksums.
    """

    codes: Float[Tensor, "T L"]
    """Codes (T, L) of the training shapes."""

    def __init__(
        self, loaded: checkpoint.Checkpoint, folder: Path, device: torch.device, *, verify: bool = True
    ) -> None:
        super().__init__()
        self.model: LatentSDF = loaded.model.to(device)
        self.register_buffer("codes", loaded.codes.to(device))
        self.keys = loaded.keys
        """category/id of the training shapes."""
        self.config: Config = loaded.config
        self.folder = folder
        self.verifies = verify
        """Whether files of the space and its fits are compared with their checksums."""
        self.normalization: Normalization = loaded.normalization
        """Normalization that maps meshes to model space."""
        self._indices: dict[retrieval.Metric, SavedIndex] = {}
        self._stored_prior = read_stored_prior(loaded, folder)
        self.details: Mapping[str, Any] = loaded.details or {}
        """What a packed space says about itself: training, rounding, license; empty for others."""
        self._last_decoded: DecodedShape | None = None
        self._shapes = TrainingShapes(loaded.keys, loaded.similarities, frozenset(loaded.augmented), folder)
        self.ids = self._shapes.ids
        """Ids of the training shapes, without the category if they are unique, otherwise category/id."""
        self.augmented = [self.ids[row] for row in self._shapes.copies()]
        """Ids of the training shapes that are deformed copies of others; retrieval and evaluation leave them out."""
        self.train(loaded.model.training)
        self.register_load_state_dict_post_hook(_forget_codes)

    @property
    def device(self) -> torch.device:
        """Device of the model and the codes."""
        return self.codes.device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ShapeSpace":
        """Apply a conversion, as of `to`, and forget what was computed from the previous tensors.

        The codes have at least single precision: they are few, and rounded codes would change what identifies the
        space, its saved index and the shapes that were fitted in it.
        """
        codes = self.codes
        super()._apply(fn, recurse)
        if self.codes.dtype.itemsize < torch.float32.itemsize:
            self.codes = codes.to(self.codes.device)
        _forget_codes(self)
        return self

    def __len__(self) -> int:
        return len(self._shapes)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __contains__(self, shape: object) -> bool:
        return shape in self._shapes

    def __getitem__(self, shape: str) -> Code:
        """Return the code of a training shape with the similarity of its mesh.

        Args:
            shape: id or category/id.

        Raises:
            ConfigError: There is no such training shape; the message suggests similar ids.
        """
        row = self.row(shape)
        return Code(_as_code(self.codes[row]), self.similarity(row), space=self.fingerprint)

    def __repr__(self) -> str:
        return f"<ShapeSpace: {', '.join(f'{name} {value}' for name, value in self._summary().items())}>"

    def _repr_html_(self) -> str:
        """Return a short table for notebooks."""
        return html_table("ShapeSpace", self._summary())

    def _summary(self) -> dict[str, object]:
        return {
            "folder": self.folder,
            "shapes": len(self),
            "code length": self.codes.shape[1],
            "preset": self.config.preset,
            "device": self.device,
        }

    def row(self, shape: str | SupportsIndex) -> int:
        """Return the row of a training shape in `codes`.

        Args:
            shape: An id that no other training shape has, or category/id, or the row itself, an integer of any library.

        Returns:
            Row index, 0 to T - 1.

        Raises:
            ConfigError: There is no such training shape, or more than one; the message suggests ids.
        """
        return self._shapes.row(shape)

    def code(self, shape: CodeLike) -> Float[Tensor, " L"]:
        """Return the bare code of a shape, as a tensor; `space[id]` also carries its place and size.

        Args:
            shape: Id, row, code or inversion.

        Returns:
            Code (L,), of the type and on the device of the space. It has no frame: it is decoded in model space. A
            tensor on an autograd graph remains on it.

        Raises:
            ConfigError: The id is unknown, or the code has the wrong length or values that are not finite.
            CheckpointError: The inversion belongs to another space.
        """
        if isinstance(shape, str) or is_row(shape):
            return self.codes[self.row(shape)].clone()  # an optimizer may change it in place
        if isinstance(shape, Inversion | Code):
            name = "the fit" if isinstance(shape, Inversion) else "the code"
            require_same_space(shape.space, self.fingerprint, name)
            shape = shape.code
        code = torch.as_tensor(as_bare_code(shape, self.codes.shape[1]))
        return (shape.reshape(-1) if isinstance(shape, Tensor) else code).to(self.codes)

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
        if not isinstance(shape, Inversion | Code) or shape.layers is None:
            return code
        layers = torch.as_tensor(shape.layers, dtype=code.dtype, device=self.device)
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
            The transform; the identity for a bare code.

        Raises:
            ConfigError: The id is unknown.
        """
        if isinstance(shape, str) or is_row(shape):
            return self._shapes.similarities[self.row(shape)]
        if isinstance(shape, Inversion | Code):
            return shape.similarity
        self.code(shape)  # raises an error for anything that is not a code
        return IDENTITY

    @check_arguments
    def field(self, shape: CodeLike, branch: Branch = "general", *, frame: Frame = "shape") -> Field:
        """Return the signed distance function of one branch, negative inside.

        Args:
            shape: Id, code or inversion.
            branch: `general` (s_g) or `overfit` (s_o).
            frame: Frame of points and distances, `shape` or `model`.

        Returns:
            Function from points (N, 3) to distances (N,), differentiable any number of times by the points and by a
            code that requires gradients. Outside the box of model space, its value is the distance to the box plus the
            value at the closest point of the box. The function raises ConfigError for points that are not finite.

        Raises:
            ConfigError, CheckpointError: As for `decoded_code`; CheckpointError if the refined
                detail belongs to another code.
        """
        return self._in_frame(self._decode(shape).field(branch), shape, frame)

    @check_arguments
    def fused(self, shape: CodeLike, *, frame: Frame = "shape") -> Field:
        """Return the fused signed distance function: s_o in the band, s_g elsewhere.

        The band is the one that `extract` uses at a resolution of 256.

        Args:
            shape: Id, code or inversion.
            frame: Frame of points and distances, `shape` or `model`.

        Returns:
            Differentiable function from points (N, 3) to distances (N,), as for `field`.

        Raises:
            ConfigError, CheckpointError: As for `field`.
        """
        return self._in_frame(self._decode(shape).fused(), shape, frame)

    def band(self, shape: CodeLike) -> FusionBand:
        """Return the region around the surface in which `fused` uses the overfit branch.

        Args:
            shape: Id, code or inversion.

        Returns:
            The band, always in model space.

        Raises:
            ConfigError, CheckpointError: As for `field`.
        """
        return self._decode(shape).band

    def _decode(self, shape: CodeLike) -> DecodedShape:
        """Decode a shape. The last result is cached, because computing its band and checking its delta takes long."""
        code, delta = self.decoded_code(shape), shape.delta if isinstance(shape, Inversion | Code) else None
        band_voxels = self.config.model.band_voxels
        if isinstance(shape, Tensor) and shape.requires_grad:
            # A cached shape would keep the graph of its code. The tensor itself is passed on, not its conversion to the
            # type of the space, so that the fields follow it when an optimizer changes it.
            return DecodedShape(self.model, shape.reshape(-1), band_voxels=band_voxels)
        last = self._last_decoded
        if last is None or last.delta is not delta or not torch.equal(last.code, code):
            self._last_decoded = last = DecodedShape(self.model, code, delta, band_voxels=band_voxels)
        return last

    def sdf(
        self, codes: Tensor, points: Tensor, branch: SDFBranch = "fused", *, by_layer: bool = False
    ) -> Float[Tensor, "*S P"]:
        """Evaluate the signed distance for batches of codes and points, as part of a differentiable computation.

        The result has derivatives of every order by codes, points and weights, and supports `torch.func` transforms,
        `torch.compile` and `torch.export`. For arrays, ids and fits, use `distance`.

        The fused distance is s_o where |s_g| is less than the mean half width of the band, and s_g elsewhere. Near the
        edge of the band it can differ from `fused` and `distance`, whose band consists of lattice cells (see
        `latent.batched_sdf`). Membership in the band has no gradient.

        Args:
            codes: Codes (..., L).
            points: Points (..., P, 3) in model space. The leading dimensions of codes and points are broadcast. See
                `field` for points outside the box; on its faces, derivatives by the points are those from inside.
            branch: `fused`, `general` (s_g) or `overfit` (s_o).
            by_layer: Whether `codes` are codes by layer (..., N, L), such as `decoded_code` of a fit.

        Returns:
            Signed distances (..., P), of the type and on the device of the points; NaN for points that are not numbers.
            They are computed in the type and on the device of the space.

        Raises:
            ConfigError: An argument is no tensor of floating-point numbers or has the wrong shape, or the branch is
                unknown.

        Example:
            >>> codes = encoder(clouds)                              # (B, L), with gradients
            >>> loss = space.sdf(codes, clouds).abs().mean()         # clouds (B, P, 3)
        """
        half_width = mean_band_half_width(self.config.model.band_voxels)
        return signed_distance(self.model, codes, points, branch, half_width=half_width, by_layer=by_layer)

    def forward(
        self, codes: Tensor, points: Tensor, branch: SDFBranch = "fused", *, by_layer: bool = False
    ) -> Float[Tensor, "*S P"]:
        """Evaluate `sdf`."""
        return self.sdf(codes, points, branch, by_layer=by_layer)

    def _in_frame(self, field: SignedDistance, shape: CodeLike, frame: Frame) -> Field:
        return in_frame_of(field, in_frame(self.similarity(shape), frame), self.device)

    @check_arguments
    def extract(
        self,
        shape: CodeLike,
        resolution: int = 256,
        mode: Mode = "fused",
        *,
        frame: Frame = "shape",
        largest_component: bool = False,
        smallest_piece: float = 5e-3,
        faces: int | None = None,
        normals: bool = False,
        method: MarchingCubes = "sparse",
    ) -> trimesh.Trimesh:
        """Extract the surface of a shape by marching cubes.

        Args:
            shape: Id, code or inversion.
            resolution: Cells per axis of model space.
            mode: `fused` (overfit branch in the band), `general`, `overfit`, `smooth` (blended in the band), or
                `overfit_box` (the overfit branch alone, also far from the surface).
            frame: Frame of the mesh, `shape` or `model`.
            largest_component: Keep only the connected component with the largest area.
            smallest_piece: Remove components with less than this share of the largest component's area; 0 keeps all.
            faces: Simplify to about this number of faces; None for no simplification.
            normals: Store the normalized gradient of the field as `vertex_normals`.
            method: `sparse`, or `skimage` for scikit-image's marching cubes on the whole lattice, the reference, which
                evaluates all (resolution + 1)^3 vertices.

        Returns:
            Mesh in the frame.

        Raises:
            ConfigError, CheckpointError: As for `field`; ConfigError if an option is out of range.
            EmptyLevelSetError: The field has no surface in the box.
        """
        similarity = in_frame(self.similarity(shape), frame)
        decoded = self._decode(shape)
        general = decoded.field("general")
        overfit = None if mode == "general" else decoded.field("overfit")
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
            method=method,
        )
        return to_user_frame(mesh, similarity, normals=normals)

    @check_arguments
    def distance(
        self, shape: CodeLike, points: NDArray[np.floating], *, frame: Frame = "shape"
    ) -> Float[NDArray[np.float32], " N"]:
        """Evaluate the fused signed distance, negative inside.

        Args:
            shape: Id, code or inversion.
            points: Points (N, 3) in the frame. See `field` for points outside the box of model space.
            frame: Frame of points and distances, `shape` or `model`.

        Returns:
            Distances (N,) in the unit of the frame.

        Raises:
            ConfigError, CheckpointError: As for `field`; ConfigError if the points have another shape or are not
                finite.
        """
        similarity, points = in_frame(self.similarity(shape), frame), as_points(points)
        with torch.no_grad():
            return self._evaluate(self._decode(shape).fused(), points, similarity) / np.float32(similarity.scale)

    @check_arguments
    def export(self, file: Path | str, shape: CodeLike | None = None, *, resolution: int = 128) -> None:
        """Write the space or one shape for other programs, in the format that the suffix of the file selects.

        `.onnx` and `.pt2` files compute distances in model space from points, and from a code unless a shape is given
        (see `latent.network_export`). A `.npz` file holds distances on a lattice (see `extraction.volume`), any other
        file the extracted mesh, both in the frame of the shape.

        Args:
            file: Path of the file; missing parent folders are created.
            shape: Id, code or inversion; None for a network file whose input is the code.
            resolution: Cells per axis of model space, for volumes and meshes.

        Raises:
            ConfigError, CheckpointError: As for `field`; ConfigError if the suffix is unknown, or no shape is given for
                a volume or a mesh.
            EmptyLevelSetError: The file is a mesh and the field has no surface in the box.
            MissingExtraError: The format needs an extra that is not installed.
        """
        file = Path(file)
        suffix = file.suffix.lower()
        is_network = suffix in network_export.SUFFIXES
        if not is_network and suffix not in volume.SUFFIXES:
            meshes.require_writable(file)
        if shape is None and not is_network:
            raise ConfigError(
                f"{file.name}: a '{suffix}' file holds one shape; pass its id, code or fit as well, or write the "
                f"space as {' or '.join(network_export.SUFFIXES)}"
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        if is_network:
            half_width = mean_band_half_width(self.config.model.band_voxels)
            decoded = None if shape is None else self._decode(shape)
            similarity = None if shape is None else self.similarity(shape)
            network_export.save_network(self.model, file, decoded, similarity, half_width=half_width)
        elif shape is not None and suffix in volume.SUFFIXES:
            field = self._decode(shape).fused()
            volume.sample_volume(field, self.similarity(shape), resolution, self.device).save(file)
        elif shape is not None:
            meshes.save(self.extract(shape, resolution), file)

    @check_arguments
    def gradient_norm(
        self, shape: CodeLike, points: NDArray[np.floating], *, frame: Frame = "shape"
    ) -> Float[NDArray[np.float32], " N"]:
        """Evaluate the gradient norm |grad s| of the fused signed distance; 1 for an exact distance.

        Args:
            shape: Id, code or inversion.
            points: Points (N, 3) in the frame.
            frame: Frame of the points, `shape` or `model`; the norm is the same in both.

        Returns:
            Norms (N,). The jump of the distance at the border of the band does not contribute.

        Raises:
            ConfigError, CheckpointError: As for `distance`.
        """
        similarity, points = in_frame(self.similarity(shape), frame), as_points(points)
        return self._evaluate(self._decode(shape).gradient_norm(), points, similarity)

    def evaluate(self, references: Mapping[str, Any], **options: Any) -> tuple[Evaluation, dict[str, trimesh.Trimesh]]:
        """Compare reconstructions of this space with reference meshes.

        Args:
            references: Meshes by name, as for `latentsdf.evaluate`.
            **options: Other arguments of `latentsdf.evaluate`, such as `unseen` and `resolution`.

        Returns:
            The metrics, and the reconstructions in model space by name.

        Raises:
            ConfigError: As for `latentsdf.evaluate`.
        """
        return evaluate(self, references, **options)

    @check_arguments
    def render(
        self,
        shape: CodeLike,
        *,
        mode: Literal["general", "fused"] = "fused",
        style: Style = "shaded",
        size: Pixels = 384,
        azimuth: float = DEFAULT_AZIMUTH,
        elevation: float = DEFAULT_ELEVATION,
    ) -> Image.Image:
        """Render a shape by sphere tracing, without OpenGL.

        Args:
            shape: Id, code or inversion.
            mode: `fused`, or `general` for the general branch alone.
            style: `shaded`, `normals` or `depth`.
            size: Pixels per side; the image shows [-1, 1]^2 of model space, so images of different shapes compare.
            azimuth: Degrees about the y axis, 0 from +z and 90 from +x.
            elevation: Degrees above the xz plane.

        Returns:
            The image, in RGB on white. `latentsdf.render` renders meshes and any other field.

        Raises:
            ConfigError, CheckpointError: As for `field`; ConfigError if `size` or `style` is invalid.
            EmptyLevelSetError: No ray hits a surface.
        """
        decoded = self._decode(shape)
        traced = decoded.band.tracing_field(decoded.field("general" if mode == "general" else "overfit"))
        view: dict[str, Any] = {"size": size, "azimuth": azimuth, "elevation": elevation}
        return render_field(traced, style=style, device=self.device, **view)

    @check_arguments
    def show(self, shape: CodeLike, resolution: int = 128, mode: Mode = "fused") -> Any:
        """Show the surface of a shape in an interactive viewer: in the notebook, or in a window.

        Args:
            shape: Id, code or inversion.
            resolution: Cells per axis of the extraction.
            mode: Extraction mode.

        Returns:
            The viewer of trimesh; in a notebook, as the last value of a cell, it is displayed.

        Raises:
            MissingExtraError: The package of the viewer is not installed: pyglet, or IPython in a notebook.
            ConfigError, CheckpointError, EmptyLevelSetError: As for `extract`.
        """
        return show_mesh(self.extract(shape, resolution, mode))

    @check_arguments
    def save(self, folder: Path | str) -> None:
        """Write the space to another folder, from which `load` reads it.

        The copy has no state of the optimizer, so that `latentsdf train --resume` cannot continue it, and no retrieval
        index, which `index` builds again.

        Args:
            folder: Output folder; created if missing. A space in it is replaced.

        Raises:
            CheckpointError: The folder holds outputs of another kind, or the disk is full.
            ConfigError: The folder is that of this space.
        """
        folder = self._new_folder(folder, overwrite=True)
        content = self._content()
        parts = (content.keys, content.similarities, content.normalization, content.config)
        options: dict[str, Any] = {"augmented": content.augmented, "prior": content.prior}
        checkpoint.save(folder, content.model, content.codes, *parts, None, steps=None, **options)

    @check_arguments
    def save_packed(
        self,
        folder: Path | str,
        *,
        half: bool = False,
        grid_bits: NonNegativeInt = 0,
        keep: PositiveInt | None = None,
        ids: Sequence[str] | None = None,
        overwrite: bool = False,
        name: str | None = None,
        license: str | None = None,
        description: str | None = None,
        metrics: Path | str | None = None,
        picture: bool = True,
        overwrite_card: bool = False,
    ) -> dict[str, Any]:
        """Write a small copy of the space for sharing, which `load` reads like every space.

        Rows of the grid that training never reached, and the state of the optimizer, are left out. Without `half`,
        `grid_bits`, `keep` and `ids`, the copy computes exactly the same.

        Args:
            folder: Output folder; created if missing.
            half: Round weights and codes to float16, and measure how far that moves surfaces.
            grid_bits: Round the grid to integers instead, whose step is the root mean square of a channel times
                2^(3 - bits), and compress them: 2 to 8, or 0 for none.
            keep: Number of training shapes whose codes are kept, spread over the categories; deformed copies are left
                out first. The distribution of all codes is kept, so that sampling and inversion do not change.
            ids: Training shapes to keep instead.
            overwrite: Replace the space in `folder`.
            name: Name of the space in its model card (README.md); by default that of the folder.
            license: Identifier of the license, such as `cc-by-4.0`.
            description: Text in Markdown: what the shapes are, and where they come from.
            metrics: `metrics.json` of `latentsdf evaluate --out`.
            picture: Render some shapes for the model card.
            overwrite_card: Replace a model card that was written or changed by hand.

        Returns:
            `bytes` by part, `shapes`, and `changes` by rounding.

        Raises:
            ConfigError: An id is unknown, an option is not valid, or the folder is that of this space.
            CheckpointError: The folder holds outputs, or the disk is full.
        """
        from latentsdf.sharing.publish import CardOptions, publish

        if keep is not None and ids is not None:
            raise ConfigError("keep and ids were both given; pass one of them")
        folder = self._new_folder(folder, overwrite=overwrite)
        content = self._content()
        rows = rows_to_keep(content.keys, content.augmented, keep, None if ids is None else [self.row(x) for x in ids])
        if len(rows) < len(self) and content.prior is None:
            content = dataclasses.replace(content, prior=self._distribution.to_stored().to_tensors(half=half))
        options = CardOptions(name, license, description, metrics, picture, overwrite_card)
        return publish(content, folder, Packing(half, grid_bits), rows, options, self.folder)

    @check_arguments
    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        overwrite_card: bool = False,
        **options: Any,
    ) -> str:
        """Upload the space to Hugging Face as one commit (extra `hub`).

        Args:
            repo: Repository, `user/space`; created if missing.
            private: Visibility of a new repository; None for the default of the user or the organization.
            token: Token with permission to write; by default that of `hf auth login` or of the variable HF_TOKEN.
            overwrite_card: Replace a model card that was written or changed by hand.
            **options: Of `save_packed`. Without any, a packed space is uploaded as it is.

        Returns:
            URL of the commit. `ls.load("hf://user/space")` opens the space.

        Raises:
            HubError: The repository cannot be reached or written to.
            ConfigError, CheckpointError: As for `save_packed`.
            MissingExtraError: huggingface_hub is not installed.
        """
        from latentsdf.sharing.hub import parse_repo, push

        name = parse_repo(repo)[0]
        arguments: dict[str, Any] = {"private": private, "token": token, "overwrite_card": overwrite_card}
        if self.details and not options:
            return push(self.folder, name, **arguments)
        with TemporaryDirectory() as folder:
            self.save_packed(folder, **({"name": name} | options), overwrite_card=overwrite_card)
            return push(Path(folder), name, **arguments)

    def _content(self) -> checkpoint.Checkpoint:
        """Return what the files of the space hold."""
        return checkpoint.Checkpoint(
            self.model,
            self.codes.detach(),
            self.keys,
            self._shapes.similarities,
            self.normalization,
            self.config,
            self._shapes.copied,
            None if self._stored_prior is None else self._stored_prior.to_tensors(),
            self.details,
        )

    def _new_folder(self, folder: Path | str, *, overwrite: bool) -> Path:
        """Return the folder of a copy of the space."""
        folder = Path(folder)
        if folder.resolve() == self.folder.resolve():
            raise ConfigError(f"{folder}: is the folder of this space; name another one")
        require_writable_output(folder, "space", overwrite=overwrite)
        return folder

    @check_arguments
    def invert(
        self,
        target: Target,
        normals: Any = None,
        config: InvertConfig | None = None,
        *,
        refinement: RefineConfig | None = None,
        **options: Any,
    ) -> Inversion:
        """Fit a code to a shape.

        Args:
            target: Mesh, points (N, 3), points with normals (N, 6), signed samples (N, 4), which are points in model
                space with their signed distances, a file of one of these, an `Observation`, or any other form that
                `geometry.targets` lists.
            normals: Normals (N, 3) of points (N, 3), of any length. An `InvertConfig` in this place is the `config`.
            config: Settings of the fit; defaults to `InvertConfig()`.
            refinement: Settings for also adding the detail that the code cannot represent (`refine`), for complete
                meshes only; None for no refinement.
            **options: Single settings of `InvertConfig`, which replace those of `config`.

        Returns:
            The fit; `extract` returns its surface in the frame of the target.

        Raises:
            FileNotFoundError: There is no such file.
            MeshError: The target is unusable, or `refinement` is given and the target is not a complete mesh.
            ConfigError: A setting is unknown or out of range, or `refinement` is given and cannot be carried out.

        Example:
            >>> import latentsdf as ls
            >>> space = ls.load("checkpoints/chairs")
            >>> fit = space.invert("scan.ply", partial=True, align=True)
        """
        config, normals = _split_config(normals, config)
        target = self._read(target, normals)
        return self.invert_many([target], config, refinement=refinement, **options)[0]

    @check_arguments
    def invert_many(
        self,
        targets: Any,
        config: InvertConfig | None = None,
        *,
        refinement: RefineConfig | None = None,
        **options: Any,
    ) -> list[Inversion]:
        """Fit codes to several shapes in batches of 16, then refine the fits one by one if requested.

        All targets are checked before the first one is fitted.

        Args:
            targets: Targets, each as for `invert`; points with normals of another length than 1 are refused.
            config: As for `invert`.
            refinement: As for `invert`.
            **options: As for `invert`.

        Returns:
            A fit for each target, in order.

        Raises:
            FileNotFoundError, MeshError, ConfigError: As for `invert`, for any target.
        """
        config = with_options(InvertConfig, config, options).for_space(self.config)
        targets = [self._read(target) for target in _require_several(targets)]
        if refinement is not None:
            for target in targets:
                self.require_refinable(target, config, refinement)
        observations = [self.observe(target, config) for target in targets]
        fits = invert(self._single_precision_model(), self.codes.float(), observations, config)
        fits = [_of_space(fit, self.fingerprint) for fit in fits]
        if config.assess and refinement is None:
            judged = zip(fits, observations, strict=True)
            fits = [self._with_verdict(fit, observed, partial=config.partial) for fit, observed in judged]
        if refinement is None:
            return fits
        return [self.refine(fit, target, refinement) for fit, target in zip(fits, targets, strict=True)]

    @check_arguments
    def observe(
        self,
        target: Target,
        normals: Any = None,
        config: InvertConfig | None = None,
        **options: Any,
    ) -> Observation:
        """Convert a target to an `Observation`, which `invert` also accepts as a target.

        Args:
            target: As for `invert`.
            normals: As for `invert`.
            config: Settings, of which `seed`, `partial` and `frame` are used; defaults to `InvertConfig()`.
            **options: As for `invert`.

        Returns:
            Bounds on the signed distance at points in model space.

        Raises:
            FileNotFoundError, MeshError, ConfigError: As for `invert`.
        """
        config, normals = _split_config(normals, config)
        config = with_options(InvertConfig, config, options)
        target = self._read(target, normals)
        if isinstance(target, Observation):
            return target
        return observe(target, self.normalization, seed=config.seed, partial=config.partial, frame=config.frame)

    def _read(self, target: Target, normals: Any = None) -> Any:
        """Return a mesh, a table of points, or an observation unchanged."""
        if not isinstance(target, Observation):
            try:
                return read_target(target, normals)
            except FileNotFoundError as error:
                if isinstance(target, str) and target in self:
                    raise FileNotFoundError(
                        f"{error}; {target} is the id of a training shape, which has a code already. To fit one to its "
                        f"mesh nevertheless, pass extract({target!r})"
                    ) from error
                raise
        if normals is not None:
            raise MeshError("normals belong to points, but the target is an Observation; remove them")
        return target

    @check_arguments
    def require_refinable(self, target: Target, config: InvertConfig, refinement: RefineConfig) -> None:
        """Check that a fit to a target can be refined.

        Args:
            target: As for `invert`.
            config: Settings of the fit.
            refinement: Settings of the refinement.

        Raises:
            MeshError: The target is not a complete mesh.
            ConfigError: There is no limit of size, and the model has no feature grid.
        """
        if refinement.budget_kb == 0:
            self.model.require_grid()
        if config.partial or not isinstance(self._read(target), trimesh.Trimesh):
            raise MeshError(
                "refinement needs distances all around a surface: pass a complete mesh, or leave out refinement"
            )

    @check_arguments
    def refine(self, fit: Inversion, mesh: Target, config: RefineConfig | None = None, **options: Any) -> Inversion:
        """Add the detail of a mesh to the code that was fitted to it, by default in at most 64 kB.

        Args:
            fit: Inversion of the mesh. Its code is not changed.
            mesh: The mesh or its file, in the frame in which it was fitted, in any form that `geometry.targets` lists.
            config: Settings; defaults to `RefineConfig()`.
            **options: Single settings of `RefineConfig`, which replace those of `config`.

        Returns:
            The fit with the detail as `delta`, and `residual` and `verdict` of the refined field.

        Raises:
            FileNotFoundError: There is no such file.
            MeshError: The mesh is unusable, or the target consists of points.
            ConfigError: A setting is unknown or out of range, the limit of size is too small for the shape, or there is
                no limit and the model has no feature grid.
            CheckpointError: The fit belongs to another space.
        """
        config = with_options(RefineConfig, config, options)
        if config.budget_kb == 0:
            self.model.require_grid()
        code = self.decoded_code(fit)
        mesh = read_mesh(mesh, "refinement")
        detail = observe_detail(mesh, fit.similarity, config)
        delta = refine(self._single_precision_model(), code.float(), detail, config)
        refined = dataclasses.replace(fit, delta=delta)
        some = np.random.default_rng(config.seed).integers(len(detail.points), size=_RESIDUAL_POINTS)
        found = self.distance(refined, detail.points[some], frame="model")
        residual = float(np.abs(found - detail.distance[some]).mean())
        refined = dataclasses.replace(refined, residual=residual)
        placed = trimesh.Trimesh(fit.similarity.to_model(mesh.vertices), mesh.faces, process=False)
        observation = dataclasses.replace(observe(placed, frame="model", seed=config.seed), similarity=fit.similarity)
        return self._with_verdict(refined, observation, partial=False)

    def _with_verdict(self, fit: Inversion, observation: Observation, *, partial: bool) -> Inversion:
        """Return the fit and its rivals with verdicts."""

        def surface_of(one: Inversion) -> trimesh.Trimesh:
            return self.extract(one, VERDICT_RESOLUTION, frame="model")

        return judge(fit, observation, surface_of, partial=partial)

    def _single_precision_model(self) -> "LatentSDF":
        """Return the model, or its copy in single precision, for which fits and shortest paths are computed."""
        single = next(self.model.parameters()).dtype == torch.float32
        return self.model if single else copy.deepcopy(self.model).float()

    def _evaluate(
        self, field: SignedDistance, points: NDArray[np.floating], similarity: Similarity
    ) -> NDArray[np.float32]:
        """Evaluate a field of model space at points in the frame that a similarity maps to model space."""
        xyz = torch.as_tensor(similarity.to_model(points), dtype=torch.float32, device=self.device)
        return field(xyz).numpy(force=True)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the training codes and ids. It identifies the space and changes with every training step."""
        return retrieval.fingerprint(_as_code(self.codes), self.ids)

    @property
    def prior(self) -> CodePrior:
        """Gaussian prior of the training codes, in a packed space also of those that it does not hold."""
        return self._distribution.gaussian

    @cached_property
    def _distribution(self) -> CodeDistribution:
        return CodeDistribution(self._shapes, self.codes.float(), self.config.model, self._stored_prior)

    @check_arguments
    def interpolate(self, *shapes: Any, steps: PathLength = 9, method: Method = "linear") -> Codes:
        """Interpolate along a path through two or more shapes.

        The path starts and ends exactly at the shapes that `extract` shows for its ends, and passes through the others
        where a step falls on them: with codes by layer, refined detail, place and size. `latent.code` defines how these
        change in between.

        Args:
            *shapes: Ids, codes or inversions, in the order of the path; or one list of these, or codes (K, L).
            steps: Number of codes N >= 2, including both ends.
            method: `linear`, `spherical`, `shortest`, or `prior`, which passes through training shapes that are near
                each other (see `latent.interpolation`).

        Returns:
            The N shapes of the path; as an array, their codes (N, L).

        Raises:
            ConfigError, CheckpointError: As for `code`; ConfigError if there are too few shapes or steps, the method is
                unknown, or `spherical` joins codes of opposite directions.
        """
        given = [self._with_parts(shape) for shape in split_shapes(shapes)]
        codes = np.array([one.code for one in given], dtype=np.float32).reshape(len(given), self.codes.shape[1])
        model = self._single_precision_model() if method == "shortest" else None
        path = interpolate(codes, steps, method, model, self.prior, _as_code(self.codes))
        starts, shares = positions_on_path(len(given), steps, method)
        return Codes(
            [
                self._combined(given[start : start + 2], (1 - share, share), code)
                for start, share, code in zip(starts, shares, path, strict=True)
            ]
        )

    def mean(self) -> Code:
        """Return the mean of the training shapes: the mean (L,) of their codes, in their mean place and size."""
        return Code(self.prior.mean.numpy(force=True), self._distribution.place, space=self.fingerprint)

    @check_arguments
    def sample(self, count: CodeCount, seed: Seed = 0, category: str | None = None) -> Codes:
        """Draw new shapes from the distribution of the training codes (`latent.mixture`), in the mean place and size.

        Args:
            count: Number of codes N >= 1.
            seed: Seed; the codes do not depend on the device.
            category: Category of the shapes; by default, all in the proportions of the training shapes.

        Returns:
            N shapes; as an array, their codes (N, L).

        Raises:
            ConfigError: `count` is less than 1, or there is no such category.
        """
        return self._in_mean_place(self._distribution.sample(count, seed, category))

    @property
    def categories(self) -> dict[str, int]:
        """Categories of the training shapes and the number of shapes in each, including deformed copies.

        In a packed space, they include the shapes whose codes it does not hold.
        """
        return dict(self._distribution.counts)

    @check_arguments
    def direction(self, number: int, deviations: Sequence[float] = (-2, -1, 0, 1, 2)) -> Codes:
        """Return shapes along a principal direction of the training codes, through their mean, in its place and size.

        Args:
            number: Principal direction of the global parts of the codes, 0 to `code_dim` - 1, in order of decreasing
                variance. Local codes follow by regression (`latent.prior`).
            deviations: N signed distances from the mean, in standard deviations.

        Returns:
            N shapes; as an array, their codes (N, L).

        Raises:
            ConfigError: There is no such direction.
        """
        count = self.config.model.code_dim
        if not 0 <= number < count:
            raise ConfigError(f"this space has principal directions 0 to {count - 1}, got {number}")
        array = as_array(deviations, "deviations", expected="numbers of standard deviations (N,)")
        if array.ndim != 1 or not (np.abs(array) < _MAX_FACTOR).all():
            raise ConfigError(f"deviations must be numbers (N,) below {_MAX_FACTOR:g}, got {describe(deviations)}")
        amounts = torch.as_tensor(array, dtype=torch.float32, device=self.device)
        return self._in_mean_place(self.prior.along(number, amounts))

    def combine(self, *terms: tuple[float, CodeLike]) -> Code:
        """Add weighted shapes relative to the mean m of the training shapes: m + sum_i w_i (z_i - m).

        Codes by layer, refined detail, place and size are combined with the same weights (`latent.code`).

        Args:
            *terms: Pairs of a weight w_i and a shape with code z_i.

        Returns:
            The combined shape; exactly z_i for the only term (1, z_i).

        Raises:
            ConfigError, CheckpointError: As for `code`; ConfigError if there are no terms.
        """
        if not terms:
            raise ConfigError("expected one or more pairs of a weight and a shape, got none")
        for term in terms:
            if not isinstance(term, tuple | list) or len(term) != 2:
                raise ConfigError(f"combine needs pairs (weight, shape), got {describe(term)}")
            weight = as_array(term[0], "weight", expected="a number")
            if weight.ndim or not abs(weight) < _MAX_FACTOR:
                raise ConfigError(f"a weight must be a number below {_MAX_FACTOR:g}, got {describe(term[0])}")
        offsets = [weight * (self.code(shape) - self.prior.mean) for weight, shape in terms]
        code = _as_code(self.prior.mean + torch.stack(offsets).sum(0))
        weights = [weight for weight, _ in terms]
        shapes = [self.mean(), *(self._with_parts(shape) for _, shape in terms)]
        return self._combined(shapes, (1 - sum(weights), *weights), code)

    def _in_mean_place(self, codes: Float[Tensor, "N L"]) -> Codes:
        space = self.fingerprint
        return Codes([Code(code, self._distribution.place, space=space) for code in codes.numpy(force=True)])

    def _with_parts(self, shape: CodeLike) -> Code:
        """Return a shape as a valid `Code` with everything that decoding it needs."""
        code, layers = _as_code(self.code(shape)), _as_code(self.decoded_code(shape))
        delta = shape.delta if isinstance(shape, Inversion | Code) else None
        if delta is not None:
            self._decode(shape)  # checks that the delta belongs to the code
        return Code(code, self.similarity(shape), layers if layers.ndim == 2 else None, delta, self.fingerprint)

    def _combined(self, shapes: Sequence[Code], weights: Sequence[float], code: NDArray[np.float32]) -> Code:
        return combine_codes(shapes, weights, code, self.model, self.fingerprint)

    @check_arguments
    def nearest(
        self,
        shape: CodeLike,
        k: PositiveInt = 5,
        *,
        metric: retrieval.Metric = "l2",
        rerank: NonNegativeInt = 0,
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
            MissingExtraError: The kind of index needs FAISS, which is not installed.
        """
        code = self.code(shape)
        query, count = self._global_part(code), max(k, rerank)
        hits = self.index(metric, kind).nearest(query, count)
        if augmented and self.augmented:
            copies = retrieval.CodeIndex(self._global_part(self.codes[self._shapes.copies()]), self.augmented, metric)
            hits = hits.merged(copies.nearest(query, count), count)
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

    @check_arguments
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
            ConfigError: There are too few codes for the kind.
            CheckpointError: The saved index has added codes, and is damaged.
            MissingExtraError: The kind needs FAISS, which is not installed.
        """
        return self._saved_index(metric, kind).index

    def _saved_index(self, metric: retrieval.Metric, kind: retrieval.Kind | None) -> SavedIndex:
        if metric not in self._indices:
            # A space of deformed copies only, as after sampling with a pattern, retrieves these.
            rows = self._shapes.originals() or list(range(len(self)))
            codes, ids = self._global_part(self.codes[rows]), [self.ids[row] for row in rows]
            self._indices[metric] = SavedIndex(self.folder, codes, ids, metric, self.fingerprint, verify=self.verifies)
        saved = self._indices[metric]
        if kind is not None:
            saved.change_kind(kind)
        return saved

    def _global_part(self, codes: Float[Tensor, "*N L"]) -> Float[NDArray[np.float32], "*N G"]:
        """Part of codes by which shapes are retrieved: without local codes."""
        return _as_code(codes[..., : self.config.model.code_dim])

    @check_arguments
    def update_index(
        self,
        *,
        add: Mapping[str, CodeLike] | None = None,
        remove: Sequence[str] = (),
        metric: retrieval.Metric = "l2",
        kind: retrieval.Kind | None = None,
    ) -> retrieval.CodeIndex:
        """Remove ids from the saved retrieval index of the space, then add shapes to it.

        A call that was interrupted can be repeated: adding a code again and removing an id again change nothing.

        Args:
            add: Shapes by new id, under which `nearest` returns them.
            remove: Ids to remove from the index.
            metric: `l2` or `cosine`; each metric has a separate index.
            kind: As for `index`.

        Returns:
            The saved index.

        Raises:
            ConfigError, CheckpointError: As for `code` and `index`; ConfigError if an id to add is not valid or has
                another code in the index, an id to remove was never in it, or codes are to be removed from an hnsw
                index. The saved index is unchanged.
            OSError, RuntimeError: The folder of the space cannot be written to.
        """
        if add is not None and not (isinstance(add, Mapping) and all(isinstance(name, str) for name in add)):
            raise ConfigError(f"add must be shapes by id, such as {{'new': code}}, got {describe(add)}")
        if (
            isinstance(remove, str)
            or not isinstance(remove, Sequence)
            or not all(isinstance(name, str) for name in remove)
        ):
            raise ConfigError(f"remove must be a list of ids, got {describe(remove)}")
        codes = {name: self._global_part(self.code(shape)) for name, shape in (add or {}).items()}
        saved = self._saved_index(metric, None)
        try:
            saved.update(codes, remove, kind)
        except Exception:
            del self._indices[metric]  # partly changed, in memory only
            raise
        return saved.index


def _as_code(code: Float[Tensor, "*N L"]) -> Float[NDArray[np.float32], "*N L"]:
    """Convert codes of a space of any precision to an array."""
    return code.float().numpy(force=True)


def _of_space(fit: Inversion, fingerprint: str) -> Inversion:
    """Return a fit and its rivals, marked as fits of a space."""
    rivals = tuple(_of_space(rival, fingerprint) for rival in fit.rivals)
    return dataclasses.replace(fit, space=fingerprint, rivals=rivals)


def _forget_codes(space: ShapeSpace, _: object = None) -> None:
    """Forget what was computed from codes that have been replaced."""
    space._last_decoded = None
    space._indices = {}
    for name in ("_distribution", "fingerprint"):
        space.__dict__.pop(name, None)
