"""How a shape's signed distance answers to its code and to where it is asked: one row of a Jacobian a point.

A code enters a model through its conditioned layers only, and points do not see each other. So one backward pass for
the sum of all distances gives, at each layer, every point's own derivative by that layer's output, and the derivative
by the code follows from it and from the layer's input by one matrix product, for all points together.
"""

import itertools
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.models.decoder import ConditionedLinear
from latentsdf.models.latent_sdf import LatentSDF

_AT_ONCE = 512  # points: what they need for one layer then stays in a processor's cache


class Linearized(NamedTuple):
    """Distances (K, P), their derivatives by the code (K, P, L) or (K, P, N, L), and by the point (K, P, 3)."""

    distance: Tensor
    by_code: Tensor
    by_point: Tensor


def linearize(
    model: LatentSDF,
    branches: tuple[Branch, ...],
    points: Float[Tensor, "K P 3"],
    codes: Float[Tensor, "K *N L"],
    products: torch.dtype | None = None,
) -> list[Linearized]:
    """Value and derivatives of some branches at the points of K shapes; what they share is computed once.

    With codes by layer (K, N, L), derivatives are by layer too, zero for layers that a branch does not have. The
    products that give derivatives by the code, most of the work, may be in another type, such as bfloat16.
    """
    calls: list[tuple[ConditionedLinear, Tensor, Tensor]] = []

    def keep(layer: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        calls.append((layer, inputs[0].detach(), output))

    layers = model.conditioned()
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    points = points.detach().requires_grad_()
    found: list[Linearized] = []
    general: Linearized | None = None
    try:
        with torch.enable_grad():
            canonical = model.canonical(points, codes)
            shared = len(calls)
            for branch in branches:
                del calls[shared:]
                base = general if branch == "overfit" and model.adds_detail else None
                if branch == "general":
                    distance = model.decode_general(canonical, codes)
                else:
                    distance = model.decode_overfit(canonical, codes, general=None if base is None else base.distance)
                outputs = [output for _, _, output in calls]
                *slopes, by_point = torch.autograd.grad(distance.sum(), [*outputs, points], retain_graph=True)
                by_code = codes.new_zeros(*distance.shape, *codes.shape[1:])
                for (layer, inputs, _), slope in zip(calls, slopes, strict=True):
                    of_layer = by_code if codes.ndim == 2 else by_code[:, :, layers.index(layer)]
                    of_layer += _by_code(layer, inputs, slope, products or slope.dtype)
                if base is not None:
                    by_code, by_point = by_code + base.by_code, by_point + base.by_point
                found.append(Linearized(distance.detach(), by_code, by_point))
                general = found[-1] if branch == "general" else general
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _by_code(layer: ConditionedLinear, inputs: Tensor, slope: Tensor, products: torch.dtype) -> Tensor:
    """Derivative (K, P, L) by the code of what has derivative `slope` (K, P, O) by the layer's output."""
    derivative = slope @ layer.shift.weight
    if layer.scale is not None:
        derivative += (slope * (inputs @ layer.linear.weight.mT)) @ layer.scale.weight
    if layer.weights is not None:
        by_weight = layer.weights.weight.unflatten(0, layer.linear.weight.shape)  # (O, F, L)
        by_input = by_weight.transpose(0, 1).flatten(1).to(products)
        inputs, weighing = inputs.to(products), slope.to(products)
        for k, p in itertools.product(range(len(inputs)), range(0, inputs.shape[1], _AT_ONCE)):
            some = slice(p, p + _AT_ONCE)
            by_output = (inputs[k, some] @ by_input).unflatten(1, by_weight.shape[::2])  # (P, O, L)
            derivative[k, some] += (weighing[k, some, None] @ by_output).squeeze(1)
    return layer.code_scale * derivative
