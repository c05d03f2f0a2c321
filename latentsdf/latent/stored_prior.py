"""Prior of the training codes as tensors, for a space that holds the codes of only some of its training shapes.

`prior.safetensors` describes all training codes:

| tensor | content |
|---|---|
| `mean`, `basis` | Gaussian of the global parts (L,), (L, L) (`latent.prior`) |
| `local.mean`, `local.regression`, `local.basis` | conditional Gaussian of the local parts, if there are any |
| `place` | float64 (4,): center and scale of the mean similarity of the shapes |
| `category.NAME.count` | int64 (1,): number of training shapes of a category |
| `category.NAME.weights`, `.means` | mixture of the category (K,), (K, L) (`latent.mixture`) |
| `category.NAME.factors` | (K, L (L + 1) / 2): lower triangles F_k by rows, of the covariances F_k F_k^T |
| `category.NAME.floor` | float64 (1,) |

Tensors are float32, or float16 if the codes are. Samples come from the same distribution as those of the whole space;
for a given seed they are other shapes, because eigenvectors of rounded covariances may have other signs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.geometry.similarity import Similarity, parse_similarity
from latentsdf.latent.mixture import CodeMixture
from latentsdf.latent.prior import CodePrior, LocalPrior
from latentsdf.training.checkpoint import Checkpoint
from latentsdf.utils.errors import CheckpointError
from latentsdf.utils.shape_ids import is_key

_CATEGORY = "category."


@dataclass(frozen=True)
class StoredPrior:
    """Prior of all training codes of a space."""

    gaussian: CodePrior
    """Gaussian of the codes."""
    place: Similarity
    """Mean similarity of the shapes."""
    counts: dict[str, int]
    """Number of training shapes by category."""
    mixtures: dict[str, CodeMixture]
    """Distribution of the global parts by category."""

    def to_tensors(self, *, half: bool = False) -> dict[str, Tensor]:
        """Return the tensors of the file; with `half`, all but the place and the floors are rounded to float16."""
        tensors = {"mean": self.gaussian.global_mean, "basis": self.gaussian.basis}
        if (local := self.gaussian.local) is not None:
            tensors |= {"local.mean": local.mean, "local.regression": local.regression, "local.basis": local.basis}
        for name, mixture in self.mixtures.items():
            values = {"weights": mixture.weights, "means": mixture.means, "factors": _factors(mixture.covariances)}
            tensors |= {f"{_CATEGORY}{name}.{part}": value for part, value in values.items()}
        rounded = {name: value.to("cpu", torch.float16 if half else torch.float32) for name, value in tensors.items()}
        rounded["place"] = torch.tensor([*self.place.center, self.place.scale], dtype=torch.float64)
        for name, count in self.counts.items():
            rounded[f"{_CATEGORY}{name}.count"] = torch.tensor([count])
            rounded[f"{_CATEGORY}{name}.floor"] = torch.tensor([self.mixtures[name].floor], dtype=torch.float64)
        return rounded

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], dim: int, local_size: int, channels: int) -> "StoredPrior":
        """Read the tensors of the file.

        Args:
            tensors: Tensors by name.
            dim: Length L of the global part of a code.
            local_size: Length M of the local part.
            channels: Values C per vertex of the local part.

        Raises:
            ValueError: A tensor is missing, has another shape, or has values that are not possible.
        """

        def read(name: str, *shape: int) -> Tensor:
            value = tensors.get(name)
            if value is None or len(value.shape) != len(shape) or not value.isfinite().all():
                raise ValueError(f"{name} is missing, not finite or of another shape")
            if any(size not in (-1, found) for size, found in zip(shape, value.shape, strict=True)):
                raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {shape}")
            return value.double() if value.dtype == torch.float64 else value.float()

        gaussian = CodePrior(read("mean", dim), read("basis", dim, dim))
        if local_size:
            parts = read("local.mean", local_size), read("local.regression", local_size, dim)
            gaussian = replace(gaussian, local=LocalPrior(*parts, read("local.basis", channels, channels)))
        *center, scale = read("place", 4).tolist()
        counts: dict[str, int] = {}
        mixtures: dict[str, CodeMixture] = {}
        suffix = ".count"
        for entry in tensors:
            if not entry.startswith(_CATEGORY) or not entry.endswith(suffix):
                continue
            stem, name = entry.removesuffix(suffix), entry.removeprefix(_CATEGORY).removesuffix(suffix)
            if not is_key(f"{name}/id"):
                raise ValueError(f"{name!r:.80} is not the name of a category")
            counts[name] = int(read(entry, 1))
            weights, factors = read(f"{stem}.weights", -1), read(f"{stem}.factors", -1, dim * (dim + 1) // 2)
            means, floor = read(f"{stem}.means", len(weights), dim), float(read(f"{stem}.floor", 1))
            possible = counts[name] >= 1 and len(weights) == len(factors) >= 1 and floor > 0
            if not possible or (weights < 0).any() or not weights.sum() > 0:
                raise ValueError(f"the distribution of '{name}' is not possible")
            weights = weights.double() / weights.double().sum()
            mixtures[name] = CodeMixture(weights, means.double(), _covariances(factors.double(), dim), floor)
        if not counts:
            raise ValueError("there is no category")
        return StoredPrior(gaussian, parse_similarity(center, scale), counts, mixtures)


def read_stored_prior(space: Checkpoint, folder: Path) -> StoredPrior | None:
    """Return the prior that a space stores; None if it is that of its codes.

    Args:
        space: Content of the space.
        folder: Its folder, for messages.

    Raises:
        CheckpointError: The prior is damaged.
    """
    if space.prior is None:
        return None
    model = space.config.model
    try:
        return StoredPrior.from_tensors(space.prior, model.code_dim, model.local_size, model.local.channels)
    except ValueError as error:
        raise CheckpointError(f"{folder}: prior.safetensors is damaged ({error}); restore it from a copy") from error


def _factors(covariances: Float[Tensor, "K L L"]) -> Float[Tensor, "K P"]:
    """Lower triangles F of covariances F F^T, which may be singular."""
    values, vectors = torch.linalg.eigh(covariances)
    roots = vectors * values.clamp(min=0).sqrt()[:, None]
    lower = torch.linalg.qr(roots.mT).R.mT
    rows, columns = torch.tril_indices(*lower.shape[1:])
    return lower[:, rows, columns]


def _covariances(factors: Float[Tensor, "K P"], dim: int) -> Float[Tensor, "K L L"]:
    rows, columns = torch.tril_indices(dim, dim)
    lower = factors.new_zeros(len(factors), dim, dim)
    lower[:, rows, columns] = factors
    return lower @ lower.mT
