"""Models of the user's own in place of `LatentSDF`.

Two kinds are accepted:

- Any `nn.Module` that maps points (S, P, 3) in model space and codes (S, L) to signed distances (S, P), negative
  inside. It becomes the general branch of a model without a grid and without an overfit branch (`CustomModel`).
- A subclass of `LatentSDF`, which is used as it is, with both branches. If it reads codes elsewhere than in the
  `ConditionedLinear` layers that `conditioned_layers` lists, it must override this method to return an empty list.

L is `model.code_dim` of the configuration. A distance may depend on no other point of the batch.
"""

import copy
from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config.model import ModelConfig
from latentsdf.models.decoder import ConditionedLinear
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.arrays import describe
from latentsdf.utils.errors import ConfigError, LatentSDFError

ModelLike: TypeAlias = nn.Module | Callable[[ModelConfig], nn.Module]
"""A module, or a function or class that builds one from the section `model` of the configuration."""


class CustomModel(LatentSDF):
    """A network of the user's own as general branch; has no grid, no overfit branch and no warp.

    Args:
        config: Section `model` of the configuration, of which `code_dim` and `band_voxels` are used.
        network: Map from points (S, P, 3) and codes (S, L) to signed distances (S, P).
    """

    def __init__(self, config: ModelConfig, network: nn.Module) -> None:
        nn.Module.__init__(self)
        self.config, self.network = config, network
        self.grid = self.overfit = self.warp = None

    def conditioned_layers(self) -> list[ConditionedLinear]:
        """Return no layers: a network of the user's own has one code per shape."""
        return []

    def decode_general(
        self, canonical: Float[Tensor, "S P 3"], codes: Float[Tensor, "S L"], local: Tensor | None = None
    ) -> Float[Tensor, "S P"]:
        """Signed distances (S, P) of the network.

        Raises:
            ConfigError: The network returns something else.
        """
        assert local is None  # refused by `build_model`
        distance = self.network(canonical, codes)
        if not isinstance(distance, Tensor) or distance.shape != canonical.shape[:2]:
            found = tuple(distance.shape) if isinstance(distance, Tensor) else type(distance).__name__
            raise ConfigError(
                f"{type(self.network).__name__} must map points {tuple(canonical.shape)} and codes "
                f"{tuple(codes.shape)} to distances {tuple(canonical.shape[:2])}, got {found}"
            )
        return distance


def build_model(config: ModelConfig, custom: ModelLike | None = None) -> LatentSDF:
    """Build the model of a run.

    Args:
        config: Section `model` of the configuration.
        custom: A model of the user's own; a module is copied. None for `LatentSDF`.

    Raises:
        ConfigError: `custom` is not a module and does not build one, is `LatentSDF` itself, or has no parameters.
    """
    if custom is None:
        return LatentSDF(config)
    if not callable(custom):
        raise ConfigError(f"model must be a torch.nn.Module or a function that builds one, got {describe(custom)}")
    network = copy.deepcopy(custom) if isinstance(custom, nn.Module) else _call_builder(custom, config)
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"model must be a torch.nn.Module or build one from the section model, got {type(network).__name__}"
        )
    if type(network) is LatentSDF:
        raise ConfigError("LatentSDF is the model of every space; leave model out, or pass a subclass")
    if config.local_size and not isinstance(network, LatentSDF):
        raise ConfigError("a network of your own has no local codes; leave model.local.resolution at 0")
    if not any(True for _ in network.parameters()):
        raise ConfigError(f"{type(network).__name__} has no parameters to train")
    return network if isinstance(network, LatentSDF) else CustomModel(config, network)


def _call_builder(builder: Callable[[ModelConfig], nn.Module], config: ModelConfig) -> nn.Module:
    try:
        return builder(config)
    except LatentSDFError:
        raise
    except Exception as error:
        raise ConfigError(
            f"model must build a torch.nn.Module from the section model of the settings; {describe(builder)} raised "
            f"{type(error).__name__}: {error}"
        ) from error


def custom_name(model: LatentSDF) -> str | None:
    """Return the qualified class name of a model of the user's own; None for `LatentSDF` itself."""
    if type(model) is LatentSDF:
        return None
    cls = type(model.network if isinstance(model, CustomModel) else model)
    return f"{cls.__module__}.{cls.__qualname__}"
