"""Decoder networks and their conditioning."""

import itertools

import pytest
import torch

from latentsdf.config.model import BranchConfig
from latentsdf.models.decoder import Decoder, positional_encoding
from latentsdf.utils.errors import ConfigError


def test_positional_encoding_matches_its_formula() -> None:
    """The order is x, all sines, all cosines; zero frequencies return the points."""
    x = torch.tensor([[0.3, -0.7, 0.1]])
    expected = torch.cat([x] + [torch.sin(2.0**k * x) for k in range(3)] + [torch.cos(2.0**k * x) for k in range(3)], 1)
    torch.testing.assert_close(positional_encoding(x, 3), expected)
    assert positional_encoding(x, 0) is x


@pytest.mark.parametrize("conditioning", ["concat", "film", "hyper"])
@pytest.mark.parametrize("skip", [0, 2])
def test_batched_decoding_matches_single_points(conditioning: str, skip: int) -> None:
    """A batch of shapes equals one shape and one point at a time, for each conditioning and skip."""
    torch.manual_seed(0)
    config = BranchConfig(width=16, depth=3, skip=skip, conditioning=conditioning, frequencies=2)  # type: ignore[arg-type]
    decoder = Decoder(config, code_dim=8)
    points, codes = torch.randn(3, 5, 3), torch.randn(3, 8)
    together = decoder(points, codes)
    for s, p in itertools.product(range(3), range(5)):
        alone = decoder(points[s : s + 1, p : p + 1], codes[s : s + 1])
        torch.testing.assert_close(alone[0, 0], together[s, p], atol=1e-5, rtol=1e-5)


def test_concat_conditioning_matches_explicit_concatenation() -> None:
    """The code's shift per shape equals a linear layer on [x, z] per point."""
    torch.manual_seed(0)
    decoder = Decoder(BranchConfig(width=16, depth=1, conditioning="concat", frequencies=0), code_dim=8)
    points, codes = torch.randn(2, 7, 3), torch.randn(2, 8)
    layer = decoder.layers[0]
    weight = torch.cat((layer.linear.weight, layer.shift.weight), dim=1)  # type: ignore[union-attr, arg-type]
    joined = torch.cat((points, codes[:, None].expand(-1, 7, -1)), dim=-1)
    hidden = torch.relu(joined @ weight.T + layer.linear.bias)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(decoder(points, codes), decoder.last(hidden), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("conditioning", ["concat", "film", "hyper"])
def test_equal_codes_per_layer_match_one_code(conditioning: str) -> None:
    """The same code for every conditioned layer gives the values of that single code."""
    torch.manual_seed(0)
    config = BranchConfig(width=16, depth=3, skip=2, conditioning=conditioning, frequencies=2)  # type: ignore[arg-type]
    decoder = Decoder(config, code_dim=8)
    points, codes = torch.randn(3, 5, 3), torch.randn(3, 8)
    per_layer = codes[:, None].expand(-1, decoder.conditioned_count, -1)
    assert torch.equal(decoder(points, per_layer), decoder(points, codes))


def test_conditioning_of_published_recipes() -> None:
    """The error names the recipe and the setting that is needed."""
    with pytest.raises(ConfigError, match="recipe 'igr' concatenates codes; set conditioning: concat"):
        Decoder(BranchConfig(recipe="igr", conditioning="film"), code_dim=8)
