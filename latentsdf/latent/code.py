"""Codes that carry what else is needed to decode the same shape, in the same place and size: `Code` and `Codes`.

Besides its code z (L,), a decoded shape has a similarity between its own frame and model space, and, if it was fitted,
may have codes by layer and refined detail. An affine combination of shapes i with weights w_i, sum_i w_i = 1, combines
each part:

    code          sum_i w_i z_i, or the point of a curved path that stands for it
    layers        code + sum_i w_i (layers_i - z_i); a shape without layers uses z_i in each layer
    similarity    log scale, center and rotation angle (`geometry.similarity.combine_similarities`)
    delta         sum_i w_i delta_i; a shape without a delta adds none

On the way from shape a to shape b the weights are 1 - t and t, so refined detail is exact at its end and fades
linearly. A combination in which one shape has weight 1 and all others 0 is that shape itself, bit for bit.
"""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex, TypeGuard, overload

import numpy as np
import torch
from jaxtyping import Float
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from latentsdf.geometry.similarity import IDENTITY, Similarity, combine_similarities
from latentsdf.latent.inversion.delta import fingerprint
from latentsdf.latent.inversion.deltas import AnyDelta, combine
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.arrays import as_array, describe
from latentsdf.utils.errors import ConfigError


class _ArrayOfCodes(NDArrayOperatorsMixin):
    """NumPy functions, operators and array methods see the array of codes and return plain arrays."""

    def _array(self) -> NDArray[np.float32]:
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = self._array()
        return np.array(array, dtype=dtype) if copy else array.astype(dtype or array.dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = (np.asarray(one) if isinstance(one, _ArrayOfCodes) else one for one in inputs)
        return getattr(ufunc, method)(*plain, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        return getattr(self._array(), name)


@dataclass(frozen=True, eq=False, repr=False)
class Code(_ArrayOfCodes):
    """A shape of a space: a code with the place and size of its shape, and the detail of a fit.

    Methods of `ShapeSpace` accept it in place of an id. `np.asarray` returns the bare code (L,), and NumPy functions,
    array methods and arithmetic work on it; a bare code is decoded in model space, without the other parts.
    """

    code: Float[NDArray[np.float32], " L"]
    """The code (L,), for retrieval and for decoding if `layers` is None."""
    similarity: Similarity = IDENTITY
    """Similarity transform between the frame of the shape and model space."""
    layers: Float[NDArray[np.float32], "N L"] | None = None
    """One code per layer of `LatentSDF.conditioned_layers`, decoded instead of `code`; or None."""
    delta: AnyDelta | None = None
    """Refined detail; or None."""
    space: str = ""
    """Fingerprint of the space to which the code belongs; empty if unknown."""

    def _array(self) -> NDArray[np.float32]:
        return self.code

    def __len__(self) -> int:
        return len(self.code)

    def __getitem__(self, key: Any) -> Any:
        return self.code[key]

    def __repr__(self) -> str:
        parts = [f"length {len(self.code)}", f"scale {self.similarity.scale:.4g}"]
        parts += [name for name in ("layers", "delta") if getattr(self, name) is not None]
        return f"<Code: {', '.join(parts)}>"


class Codes(_ArrayOfCodes, Sequence[Code]):
    """A sequence of N shapes of a space, such as a path.

    An item is a `Code`, a slice is `Codes`. `np.asarray`, NumPy functions and array methods see the array of codes
    (N, L), as does indexing with anything but a number or a slice, such as `codes[:, 0]`.

    Args:
        codes: The shapes.
    """

    def __init__(self, codes: Sequence[Code]) -> None:
        self._codes = tuple(codes)

    def _array(self) -> NDArray[np.float32]:
        return np.stack([one.code for one in self._codes])

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, key: int) -> Code: ...
    @overload
    def __getitem__(self, key: slice) -> "Codes": ...
    @overload
    def __getitem__(self, key: Any) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | np.integer):
            return self._codes[key]
        return Codes(self._codes[key]) if isinstance(key, slice) else self._array()[key]

    def __iter__(self) -> Iterator[Code]:
        return iter(self._codes)

    def __repr__(self) -> str:
        return f"<Codes: {len(self)} of length {self.shape[1]}>" if self._codes else "<Codes: none>"


Parts = Code | Inversion
"""A shape that carries its similarity, codes by layer and detail."""


def combine_codes(
    shapes: Sequence[Parts],
    weights: Sequence[float],
    code: Float[NDArray[np.float32], " L"],
    model: LatentSDF,
    space: str,
) -> Code:
    """Combine shapes of a space with weights that sum to 1, as defined in the module docstring.

    Args:
        shapes: One or more shapes.
        weights: A weight for each shape.
        code: Code (L,) of the result.
        model: Model that decodes the codes, for the validity of combined detail.
        space: Fingerprint of the space.

    Returns:
        The combined shape, with `code` as its code unless one shape has all the weight.
    """
    used = [(weight, one) for weight, one in zip(weights, shapes, strict=True) if weight != 0]
    if len(used) == 1:
        only = used[0][1]
        return Code(np.asarray(only.code, dtype=np.float32), only.similarity, only.layers, only.delta, space)
    offsets = [weight * (one.layers - one.code) for weight, one in used if one.layers is not None]
    layers = (code + sum(offsets)).astype(np.float32) if offsets else None
    similarity = combine_similarities([one.similarity for _, one in used], [weight for weight, _ in used])
    deltas = [
        (weight, one.delta, one.code if one.layers is None else one.layers)
        for weight, one in used
        if one.delta is not None
    ]
    delta = None
    if deltas:
        decoded = torch.from_numpy(np.ascontiguousarray(code if layers is None else layers))
        delta = combine(deltas, fingerprint(model, decoded))
    return Code(code, similarity, layers, delta, space)


def is_row(shape: object) -> TypeGuard[SupportsIndex]:
    """Return whether an object is the row of a training shape: an integer, or an array or tensor of one integer, ()."""
    is_flag = isinstance(shape, bool) or getattr(shape, "dtype", None) in (np.bool_, torch.bool)
    if is_flag or not isinstance(shape, SupportsIndex) or getattr(shape, "ndim", None):
        return False
    try:
        operator.index(shape)
    except TypeError:
        return False
    return True


def as_bare_code(values: Any, length: int) -> Float[NDArray[np.float32], " L"]:
    """Convert an array-like or a tensor to a code.

    Args:
        values: Code (L,) or (1, L), as for `utils.arrays.as_array`.
        length: Length L of the codes of the space.

    Returns:
        The code (L,), a copy.

    Raises:
        ConfigError: It is no array of real numbers, has another shape, or values that are not finite as float32.
    """
    if isinstance(values, list | tuple | Codes) and any(isinstance(one, str | Inversion | Code) for one in values):
        raise ConfigError(f"expected one shape, got {describe(values)}; pass one of them at a time")
    expected = f"a shape: the id or the row of a training shape, a code of length {length}, a Code or an Inversion"
    array = as_array(values, expected=expected)
    if array.ndim == 2 and array.shape[1] == length and len(array) != 1:
        raise ConfigError(f"expected one code of length {length}, got shape {array.shape}; pass one row at a time")
    if array.shape not in ((length,), (1, length)):
        raise ConfigError(f"this space has codes of length {length}, got shape {array.shape}")
    with np.errstate(over="ignore"):
        code = array.reshape(length).astype(np.float32)
    if not np.isfinite(code).all():
        raise ConfigError("the code has values that are not finite as float32")
    return code


def split_shapes(shapes: Sequence[Any]) -> Sequence[Any]:
    """Return the shapes of a path, which may be given as one list of shapes or one array of codes (K, L)."""
    if len(shapes) != 1:
        return shapes
    (given,) = shapes
    if isinstance(given, Codes):
        return given
    if isinstance(given, list | tuple):
        return shapes if any(isinstance(part, float) for part in given) else given  # numbers are the values of one code
    return list(as_array(given, expected="codes (K, L)")) if getattr(given, "ndim", 0) == 2 else shapes
