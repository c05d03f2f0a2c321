"""A model for one code, whose conditioned layers are plain linear layers: about half the time per point.

With the code z fixed, a conditioned layer (W + sum_k z_k A_k) h + b + B z is linear in h. Its weight and bias are
computed once here, instead of for every chunk of points, and applied by one fused matrix product.
"""

import copy
from collections.abc import Iterator
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.models.decoder import ConditionedLinear, Decoder
from latentsdf.models.latent_sdf import LatentSDF

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def fold_code(model: LatentSDF, code: Float[Tensor, "*N L"]) -> LatentSDF:
    """Fold a code into the layers of a model.

    Args:
        model: The model; it is not changed.
        code: Code (L,), or codes by layer (N, L), of the type and on the device of the model.

    Returns:
        A model for this code only, without gradients by it, that shares the other weights and the feature grid. It is
        called with the same code, of which it reads the local part only. Its distances equal those of `model` up to
        rounding.
    """
    codes = iter([code] * len(model.conditioned_layers()) if code.ndim == 1 else code)
    folded = _shallow_copy(model)
    for name in ("warp", "general", "overfit"):  # the order of `conditioned_layers`
        decoder = getattr(model, name)
        if decoder is not None:
            folded._modules[name] = _fold(decoder, codes, model.config.code_dim)
    return folded


def _fold(decoder: Decoder, codes: Iterator[Tensor], code_dim: int) -> Decoder:
    folded = _shallow_copy(decoder)
    layers = [
        layer.with_code(next(codes)[:code_dim]) if isinstance(layer, ConditionedLinear) else layer
        for layer in decoder.layers
    ]
    folded._modules["layers"] = nn.ModuleList(layers)
    return folded


def _shallow_copy(module: Module) -> Module:
    """Copy a module without its parameters and submodules, of which the copy may replace some."""
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    return copied
