"""Jacobian of a shape's signed distance with respect to its latent code and to the evaluation points.

Let s(x, z) be the distance of a branch and a_l = W_l(z) h_l + b_l(z) the output of conditioned layer l. Points do not
interact, so one reverse pass from the sum of all distances gives the derivatives ds/da_l of every point, and with the
layer's input h_l the derivative by the code follows from matrix products over all points,

    ds/dz = sum_l (ds/da_l) (da_l/dz),    da_l/dz = B + diag(W h_l) A (film),  B + [A_k h_l]_k (hyper).

This replaces one reverse pass per point. A model without conditioned layers, one of the user's own, is evaluated with a
copy of the code for every point instead, so that one reverse pass gives the derivatives of each point by its own copy.
"""

import copy
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from latentsdf.config.model import Branch
from latentsdf.models.decoder import ConditionedLinear
from latentsdf.models.latent_sdf import LatentSDF

Module = TypeVar("Module", bound=nn.Module)

_POINTS_IN_CACHE = 128  # the outer products of ds/da and h of one layer stay in the cache of a core
_POINTS_PER_PRODUCT = 4096


@dataclass(frozen=True)
class LayerDerivative:
    """Derivative ds/dz of the distances at P points of each of K shapes through the code of one conditioned layer."""

    layer: ConditionedLinear
    index: int
    """Position of the layer among the conditioned layers of the model."""
    inputs: Float[Tensor, "K P F"]
    """Input h of the layer."""
    slope: Float[Tensor, "K P O"]
    """ds/da by the output a of the layer."""
    product_dtype: torch.dtype

    @torch.no_grad()
    def at_points(self, rows: Int[Tensor, " k"] | slice = slice(None)) -> Float[Tensor, "k P L"]:
        """The derivative at each point of some shapes."""
        layer, inputs = self.layer, self.inputs[rows]
        slope = self._by_unscaled_rows(self.slope[rows])
        derivative = slope @ layer.shift.weight
        if layer.scale is not None:
            derivative += (slope * (inputs @ layer.linear.weight.mT)) @ layer.scale.weight
        if layer.weights is not None:
            weight = layer.weights.weight.to(self.product_dtype)  # (O F, L)
            inputs, slope = inputs.to(self.product_dtype), slope.to(self.product_dtype)
            count = _POINTS_IN_CACHE if inputs.device.type == "cpu" else _POINTS_PER_PRODUCT
            for k, p in itertools.product(range(len(inputs)), range(0, inputs.shape[1], count)):
                chunk = slice(p, p + count)
                outer = slope[k, chunk, :, None] * inputs[k, chunk, None]
                derivative[k, chunk] += outer.flatten(1) @ weight
        return layer.code_scale * derivative

    @torch.no_grad()
    def weighted_sum(self, weights: Float[Tensor, "K P"]) -> Float[Tensor, "K L"]:
        """Sum over the points of each shape."""
        layer, slope = self.layer, self._by_unscaled_rows(self.slope * weights[..., None])
        total = slope.sum(1) @ layer.shift.weight
        if layer.scale is not None:
            total += (slope * (self.inputs @ layer.linear.weight.mT)).sum(1) @ layer.scale.weight
        if layer.weights is not None:
            total += (slope.mT @ self.inputs).flatten(1) @ layer.weights.weight
        return layer.code_scale * total

    def _by_unscaled_rows(self, slope: Float[Tensor, "K P O"]) -> Float[Tensor, "K P O"]:
        """Multiply by what weight normalization multiplies the rows of [W B] by."""
        return slope if self.layer.length is None else slope * self.layer.row_scale()


@dataclass(frozen=True)
class Linearization:
    """Value and first derivatives of a branch at P points of each of K shapes.

    The derivatives by the code of each point take most of the time and are computed on demand.
    """

    distance: Float[Tensor, "K P"]
    """Signed distances."""
    point_gradient: Float[Tensor, "K P 3"]
    """Derivatives by the point in model space."""
    canonical: Float[Tensor, "K P 3"] | None
    """Canonical points; None for codes without a local part."""
    local_gradient: Float[Tensor, "K P C"] | None
    """Derivatives by the interpolated local code; None for codes without a local part."""
    by_layer: tuple[LayerDerivative, ...]
    """Terms of the derivative by the global part of the code."""
    code_shape: tuple[int, ...]
    """(L,), or (N, L) for one code per layer."""
    by_copy: Float[Tensor, "K P *N L"] | None = None
    """Derivative by the code of a model without conditioned layers."""

    def code_gradient(self) -> Float[Tensor, "K P *N L"]:
        """Derivatives by the global part of the code, at each point."""
        return code_gradients([self])[0]

    def code_gradient_sum(self, weights: Float[Tensor, "K P"]) -> Float[Tensor, "K *N L"]:
        """Sum of `code_gradient` over the points of each shape, with weights; a hundred times faster than each."""
        if self.by_copy is not None:
            return (weights.view(*weights.shape, *(1,) * len(self.code_shape)) * self.by_copy).sum(1)
        total = self.distance.new_zeros(*weights.shape[:1], *self.code_shape)
        for part in self.by_layer:
            self.of_layer(total, part).add_(part.weighted_sum(weights))
        return total

    def of_layer(self, derivative: Float[Tensor, "*B L"], part: LayerDerivative) -> Float[Tensor, "*A L"]:
        """The part of a derivative by the code, (..., L) or (..., N, L), that a layer's term is added to."""
        return derivative if len(self.code_shape) == 1 else derivative[..., part.index, :]


def code_gradients(
    branches: Sequence[Linearization], rows: Int[Tensor, " k"] | slice = slice(None)
) -> list[Float[Tensor, "k P *N L"]]:
    """Derivatives by the global part of the code, at each point of all or of some shapes.

    A term that branches share is computed once: a residual overfit branch contains the general branch.

    Args:
        branches: Branches of one model, linearized at the same points.
        rows: Shapes.

    Returns:
        The derivatives of each branch.
    """
    terms: dict[int, Tensor] = {}
    gradients = []
    for branch in branches:
        if branch.by_copy is not None:
            gradients.append(branch.by_copy[rows])
            continue
        gradient = branch.distance.new_zeros(*branch.distance[rows].shape, *branch.code_shape)
        for part in branch.by_layer:
            if id(part) not in terms:
                terms[id(part)] = part.at_points(rows)
            branch.of_layer(gradient, part).add_(terms[id(part)])
        gradients.append(gradient)
    return gradients


def linearize(
    model: LatentSDF,
    branches: tuple[Branch, ...],
    points: Float[Tensor, "K P 3"],
    codes: Float[Tensor, "K *N L"],
    product_dtype: torch.dtype | None = None,
) -> list[Linearization]:
    """Evaluate branches and their derivatives by code and point.

    The warp, and for a residual model the general branch, is evaluated once for all branches.

    Args:
        model: The model.
        branches: Branches to evaluate; "general" before "overfit".
        points: (K, P, 3) points in model space.
        codes: (K, L), or (K, N, L) with one code per conditioned layer. In the second case derivatives are per layer,
            too, and zero for layers that a branch does not contain.
        product_dtype: Type of the hypernetwork's matrix products, which take most of the time, such as bfloat16; None
            for the type of the model.

    Returns:
        One linearization per branch.
    """
    if not model.conditioned_layers():
        return [_linearize_with_copies(model, branch, points, codes) for branch in branches]
    calls: list[tuple[ConditionedLinear, Tensor, Tensor]] = []

    def record(layer: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        calls.append((layer, inputs[0].detach(), output))

    model = _copy_with_own_hooks(model)  # other threads may evaluate the model at the same time
    layers = model.conditioned_layers()
    for layer in layers:
        layer.register_forward_hook(record)
    points = points.detach().requires_grad_()
    results: list[Linearization] = []
    general: Linearization | None = None
    with torch.enable_grad():
        canonical = model.canonical(points, codes)
        local = model.local_features(canonical, codes)
        warp_calls = len(calls)
        for branch in branches:
            del calls[warp_calls:]
            base = general if branch == "overfit" and model.is_residual else None
            if branch == "general":
                distance = model.decode_general(canonical, codes, local)
            else:
                known = None if base is None else base.distance
                distance = model.decode_overfit(canonical, codes, general=known, local=local)
            outputs = [output for _, _, output in calls]
            wanted = [*outputs, points] if local is None else [*outputs, local, points]
            *slopes, point_gradient = torch.autograd.grad(distance.sum(), wanted, retain_graph=True)
            by_local = None if local is None else slopes.pop()
            by_layer = tuple(
                LayerDerivative(layer, layers.index(layer), inputs, slope, product_dtype or slope.dtype)
                for (layer, inputs, _), slope in zip(calls, slopes, strict=True)
            )
            if base is not None:
                if by_local is not None and base.local_gradient is not None:
                    by_local = by_local + base.local_gradient
                by_layer += base.by_layer
                point_gradient = point_gradient + base.point_gradient
            at = None if by_local is None else canonical.detach()
            code_shape = (*codes.shape[1:-1], model.config.code_dim)
            results.append(Linearization(distance.detach(), point_gradient, at, by_local, by_layer, code_shape))
            general = results[-1] if branch == "general" else general
    return results


def _copy_with_own_hooks(module: Module) -> Module:
    """Copy a module and its children, as far as they hold conditioned layers, with shared parameters and own hooks."""
    if not any(isinstance(part, ConditionedLinear) for part in module.modules()):
        return module  # layers with weight normalization cannot be copied
    copied = copy.copy(module)
    copied._modules = {
        name: None if child is None else _copy_with_own_hooks(child) for name, child in module._modules.items()
    }
    copied._forward_hooks = OrderedDict(module._forward_hooks)
    return copied


def _linearize_with_copies(model: LatentSDF, branch: Branch, points: Tensor, codes: Tensor) -> Linearization:
    """Evaluate a branch and its derivatives with one copy of the code per point."""
    shape = points.shape[:2]
    single = points.detach().reshape(-1, 1, 3).requires_grad_()
    copies = codes.detach().repeat_interleave(shape[1], dim=0).requires_grad_()
    with torch.enable_grad():
        distance = model.branch(branch, single, copies)
        by_code, by_point = torch.autograd.grad(distance.sum(), (copies, single))
    by_code, by_point = by_code.reshape(*shape, -1), by_point.reshape(*shape, 3)
    distance = distance.detach().reshape(shape)
    return Linearization(distance, by_point, None, None, (), by_code.shape[2:], by_code)
