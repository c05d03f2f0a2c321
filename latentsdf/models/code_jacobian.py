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
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config.model import Branch
from latentsdf.models.decoder import ConditionedLinear
from latentsdf.models.latent_sdf import LatentSDF

Module = TypeVar("Module", bound=nn.Module)

_POINTS_IN_CACHE = 128  # the outer products of ds/da and h of one layer stay in the cache of a core
_POINTS_PER_PRODUCT = 4096


class Linearization(NamedTuple):
    """Value and first derivatives of a branch at the points of K shapes."""

    distance: Tensor
    """(K, P) signed distances."""
    code_gradient: Tensor
    """(K, P, L) derivatives by the global part of the code, or (K, P, N, L) for one code per layer."""
    point_gradient: Tensor
    """(K, P, 3) derivatives by the point in model space."""
    canonical: Tensor | None = None
    """(K, P, 3) canonical points; None for codes without a local part."""
    local_gradient: Tensor | None = None
    """(K, P, C) derivatives by the interpolated local code; None for codes without a local part."""


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
            code_gradient = codes.new_zeros(*distance.shape, *codes.shape[1:-1], model.config.code_dim)
            by_local = None if local is None else slopes.pop()
            for (layer, inputs, _), slope in zip(calls, slopes, strict=True):
                of_layer = code_gradient if codes.ndim == 2 else code_gradient[:, :, layers.index(layer)]
                of_layer += _layer_code_gradient(layer, inputs, slope, product_dtype or slope.dtype)
            if base is not None:
                if by_local is not None and base.local_gradient is not None:
                    by_local = by_local + base.local_gradient
                code_gradient = code_gradient + base.code_gradient
                point_gradient = point_gradient + base.point_gradient
            local_part = () if by_local is None else (canonical.detach(), by_local)
            results.append(Linearization(distance.detach(), code_gradient, point_gradient, *local_part))
            general = results[-1] if branch == "general" else general
    return results


def _copy_with_own_hooks(module: Module) -> Module:
    """Copy a module and its children, whose parameters are shared and whose lists of hooks are not."""
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
    return Linearization(distance.detach().reshape(shape), by_code.reshape(*shape, -1), by_point.reshape(*shape, 3))


@torch.no_grad()
def _layer_code_gradient(layer: ConditionedLinear, inputs: Tensor, slope: Tensor, product_dtype: torch.dtype) -> Tensor:
    """Contribution (K, P, L) of one layer to ds/dz, from its inputs (K, P, F) and ds/da (K, P, O)."""
    derivative = slope @ layer.shift.weight
    if layer.scale is not None:
        derivative += (slope * (inputs @ layer.linear.weight.mT)) @ layer.scale.weight
    if layer.weights is not None:
        weight = layer.weights.weight.to(product_dtype)  # (O F, L)
        inputs, slope = inputs.to(product_dtype), slope.to(product_dtype)
        count = _POINTS_IN_CACHE if inputs.device.type == "cpu" else _POINTS_PER_PRODUCT
        for k, p in itertools.product(range(len(inputs)), range(0, inputs.shape[1], count)):
            chunk = slice(p, p + count)
            outer = slope[k, chunk, :, None] * inputs[k, chunk, None]
            derivative[k, chunk] += outer.flatten(1) @ weight
    return layer.code_scale * derivative
