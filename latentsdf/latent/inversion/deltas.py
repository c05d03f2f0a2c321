"""Refined detail of all kinds: reading, combining and applying.

`Delta` holds features of the grid (`delta`), `CompactDelta` compressed distances (`compact_delta`), and `CombinedDelta`
a weighted sum of both kinds. With the features combined in the branch s_F, and compact deltas i with weights w_i,
distances T_i and codes z_i, a combination decodes

    s(x; z) = s_F(x; z) + sum_i w_i (T_i(x) - s_b(x; z_i)).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.latent.inversion import compact_delta
from latentsdf.latent.inversion import delta as feature_delta
from latentsdf.latent.inversion.compact_delta import AppliedCompactDelta, CompactDelta, LatticeDistance
from latentsdf.latent.inversion.delta import AppliedDelta, Delta, combine_deltas, require_base
from latentsdf.latent.inversion.lattice_codec import EncodedLattice, decode
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.errors import CheckpointError
from latentsdf.utils.numpy_files import parse_npz


@dataclass(frozen=True, eq=False)
class _Term:
    """One compact delta of a combination."""

    weight: float
    lattice: EncodedLattice
    code: Float[NDArray[np.float32], "*N L"]
    """Code, or codes by layer, for which the delta was refined."""


@dataclass(frozen=True, eq=False)
class CombinedDelta:
    """Weighted sum of deltas of one model, valid for one code."""

    base_fingerprint: str
    """Fingerprint of the model and the code (`delta.fingerprint`)."""
    features: Delta | None
    """Weighted sum of the deltas with features, if there are any."""
    terms: tuple[_Term, ...]
    """The compact deltas."""


AnyDelta = Delta | CompactDelta | CombinedDelta


def parse_delta(data: bytes, source: str) -> Delta | CompactDelta:
    """Read the content of a file written by `Delta.save` or `CompactDelta.save`.

    Args:
        data: Content of the file.
        source: Name of the file in error messages.

    Raises:
        CheckpointError: The content is damaged, of an unsupported format, or not a delta.
    """
    try:
        kind = int(parse_npz(data, ("format",))["format"])
        if kind == feature_delta.FORMAT:
            arrays = parse_npz(data, ("made_for", "rows", "features", "resolution", "index", "correction"))
            delta = Delta(
                str(arrays["made_for"]),
                np.cumsum(arrays["rows"], dtype=np.int64),
                arrays["features"],
                int(arrays["resolution"]),
                np.cumsum(arrays["index"], dtype=np.int64),
                arrays["correction"],
            )
            delta.require_sane()
            return delta
        if kind == compact_delta.FORMAT:
            arrays = parse_npz(data, ("made_for", "resolution", "step", "data"))
            lattice = EncodedLattice(int(arrays["resolution"]), float(arrays["step"]), arrays["data"].tobytes())
            decode(lattice)
            return CompactDelta(str(arrays["made_for"]), lattice)
    except (ValueError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{source}: damaged delta ({error}); refine the shape again") from error
    raise CheckpointError(
        f"{source}: delta format {kind}, but this version reads {feature_delta.FORMAT} and {compact_delta.FORMAT}"
    )


def combine(
    terms: Sequence[tuple[float, AnyDelta, Float[NDArray[np.float32], "*N L"]]], base_fingerprint: str
) -> AnyDelta:
    """Return the weighted sum of deltas of one model.

    Args:
        terms: One or more of weight, delta, and code (or codes by layer) for which the delta was refined.
        base_fingerprint: Fingerprint of the model and of the code that the result refines.
    """
    features: list[tuple[float, Delta]] = []
    compact: list[_Term] = []
    for weight, delta, code in terms:
        if isinstance(delta, Delta):
            features.append((weight, delta))
        elif isinstance(delta, CompactDelta):
            compact.append(_Term(weight, delta.lattice, code))
        else:
            compact += [_Term(weight * one.weight, one.lattice, one.code) for one in delta.terms]
            features += [] if delta.features is None else [(weight, delta.features)]
    combined = combine_deltas(features, base_fingerprint) if features else None
    return CombinedDelta(base_fingerprint, combined, tuple(compact)) if compact or combined is None else combined


def apply_delta(
    delta: AnyDelta, model: LatentSDF, code: Float[Tensor, "*N L"]
) -> "AppliedDelta | AppliedCompactDelta | _AppliedCombination":
    """Apply refined detail to its model.

    Args:
        delta: The detail.
        model: Model for which it was refined.
        code: Code (L,), or codes by layer (N, L), for which it was refined.

    Raises:
        CheckpointError: The delta belongs to another space or to another code.
    """
    if isinstance(delta, Delta):
        return AppliedDelta(delta, model, code)
    if isinstance(delta, CompactDelta):
        return AppliedCompactDelta(delta, model, code)
    return _AppliedCombination(delta, model, code)


class _AppliedCombination:
    """A combination applied to its model."""

    def __init__(self, delta: CombinedDelta, model: LatentSDF, code: Float[Tensor, "*N L"]) -> None:
        require_base(delta.base_fingerprint, model, code)
        self._model = model
        self._features = None if delta.features is None else AppliedDelta(delta.features, model, code)
        self._terms = [
            (term.weight, LatticeDistance(term.lattice, code.device), model.like_weights(torch.from_numpy(term.code)))
            for term in delta.terms
        ]

    def distance(
        self, branch: Branch, points: Float[Tensor, "N 3"], code: Float[Tensor, "*N L"]
    ) -> Float[Tensor, " N"]:
        """Signed distances (N,) of a branch with the detail, at points of the box."""
        if self._features is not None:
            distance = self._features.distance(branch, points, code)
        else:
            distance = self._model.branch(branch, points[None], code[None])[0]
        for weight, target, refined_code in self._terms:
            decoded = self._model.branch(branch, points[None], refined_code[None])[0]
            distance = distance + weight * (target(points) - decoded)
        return distance
