"""Shipped configurations: loading, sizes of published networks, and training."""

from pathlib import Path

import pytest
import torch
from helpers.paths import CONFIGS
from helpers.training import new_trainer
from torch import nn

from latentsdf.config import loader
from latentsdf.config.model import BranchConfig
from latentsdf.config.training import Config
from latentsdf.models.decoder import Decoder, positional_encoding
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.errors import ConfigError

SMALL = {
    "train.shapes_per_batch": 2,
    "train.points_per_shape": 64,
    "train.warmup_steps": 0,
    "model.grid.resolution": 8,
    "model.grid.channels": 4,
    "loss.regularizer_points": 16,
    "train.memory_gb": 0.1,
}


def _sizes(name: str) -> dict[str, int]:
    """Count the parameters of each part of a preset's model without allocating them."""
    config = loader.load(Config, CONFIGS[0].parent / f"{name}.yaml")
    with torch.device("meta"):
        model = LatentSDF(config.model)
    sizes: dict[str, int] = {}
    for parameter, value in model.named_parameters():
        part = parameter.split(".")[0]
        sizes[part] = sizes.get(part, 0) + value.numel()
    return sizes


def test_parameter_counts_of_published_presets() -> None:
    """The published presets have the parameter counts of their papers and code."""
    assert _sizes("compact_sdf") == {"general": 2_157_057, "overfit": 2_235_905, "grid": 129**3 * 128}
    # DeepSDF, 1.84 M: seven layers of 512 units and one of 253, a length for each row, and the last layer.
    joined = 259 * 512 + 2 * 512 * 512 + 512 * 253 + 4 * 512 * 512
    assert _sizes("deepsdf") == {"general": joined + 2 * (7 * 512 + 253) + 513}
    assert _sizes("igr") == {"general": joined + 7 * 512 + 253 + 513}


def test_published_training() -> None:
    """The published presets have the optimizer, batches and epochs of their papers and releases."""
    found = {}
    for name in ("deepsdf", "compact_sdf", "igr"):
        config = loader.load(Config, loader.find_preset(name))
        train = config.train
        assert (train.table_optimizer, train.beta2, train.warmup_steps) == ("adam", 0.999, 0)
        batch = (train.shapes_per_batch, train.batch_split, round((1 + train.free_share) * train.points_per_shape))
        found[name] = (train.epochs, train.halve_epochs, *batch, config.loss.general[0], config.loss.regularizer_extent)
    assert found == {
        "deepsdf": (2000, 500, 64, 1, 16_384, 0.5, 1.0),
        "compact_sdf": (4000, 1000, 15, 1, 100_000, 1.0, 1.0),
        "igr": (1200, 500, 64, 4, 12_000, 1.0, 1.8),
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_training_of_each_preset(path: Path, store_path: Path) -> None:
    """Each preset, with smaller networks, lowers its data term in 25 steps."""
    shrunk = SMALL | {"model.code_dim": 8, "model.general.width": 48}
    config = loader.load(Config, path)
    assert config.preset == path.stem
    if config.model.overfit.width > 0:
        shrunk["model.overfit.width"] = 48
    if config.loss.clamp_band:  # distances of the band alone say little in few steps
        shrunk |= {"train.shapes_per_batch": 4, "train.points_per_shape": 512, "model.general.width": 96}
    config = loader.load(Config, path, shrunk)
    run = new_trainer(store_path, config)
    first = run.train_step()
    for _ in range(24):
        last = run.train_step()
    term = "general" if config.train.samples == "sdf" else "surface"
    assert last[term] < 0.8 * first[term]


def test_deepsdf_network_equals_reference_layers() -> None:
    """The `deepsdf` network equals weight-normalized layers on points concatenated with the code."""
    torch.manual_seed(0)
    config = BranchConfig(width=40, depth=4, skip=3, conditioning="concat", frequencies=0, recipe="deepsdf")
    decoder = Decoder(config, code_dim=8).eval()
    points, codes = torch.rand(2, 5, 3), torch.randn(2, 8)
    joined = torch.cat((codes[:, None].expand(-1, 5, -1), points), dim=-1)
    hidden = joined
    for depth, layer in enumerate(decoder.layers, start=1):
        if isinstance(layer, nn.Linear):
            hidden = layer(hidden).relu()
            continue
        # The columns of the published layer: hidden values and points, then the code.
        before = torch.cat((hidden, joined), dim=-1) if depth == 3 else joined
        columns = before.shape[-1]
        reference = nn.utils.parametrizations.weight_norm(nn.Linear(columns, layer.linear.out_features))
        own, by_code = layer.linear.weight.detach(), layer.shift.weight.detach()
        kept = own.shape[1] - 3
        weight = torch.cat((own[:, :kept], by_code, own[:, kept:]), dim=1)
        layer.length.data.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        reference.parametrizations.weight.original1.data.copy_(weight)
        reference.parametrizations.weight.original0.data.copy_(layer.length.detach()[:, None])  # type: ignore[index]
        reference.bias.data.copy_(layer.linear.bias)
        hidden = reference(before).relu()
    assert decoder.layers[1].out_features == 40 - 11  # type: ignore[union-attr]
    torch.testing.assert_close(decoder(points, codes), decoder.last(hidden).tanh(), atol=1e-6, rtol=1e-5)


def test_deepsdf_weight_norm_initialization() -> None:
    """The lengths of weight normalization start as the norms of the rows."""
    torch.manual_seed(0)
    decoder = Decoder(BranchConfig(width=40, depth=2, conditioning="concat", frequencies=0, recipe="deepsdf"), 8)
    layer = decoder.layers[0]
    rows = torch.cat((layer.linear.weight, layer.shift.weight), dim=1)  # type: ignore[union-attr, arg-type]
    torch.testing.assert_close(layer.length, rows.norm(dim=1))  # type: ignore[union-attr]


def test_initial_sphere_of_igr() -> None:
    """With zero codes, the `igr` network starts close to the signed distance of a sphere."""
    torch.manual_seed(0)
    config = BranchConfig(512, 8, 5, "softplus", "concat", 0, "igr")
    points = torch.rand(1, 2000, 3) * 2 - 1
    with torch.no_grad():
        found = Decoder(config, code_dim=32)(points, torch.zeros(1, 32)).squeeze(-1)
    radius = points.norm(dim=-1)
    slope = torch.linalg.lstsq(radius[0, :, None] - radius.mean(), found[0] - found.mean()).solution
    assert 0.7 < slope.item() < 1.3
    assert torch.corrcoef(torch.stack((found[0], radius[0])))[0, 1] > 0.9


def test_scaling_of_igr_skip() -> None:
    """The `igr` skip divides the concatenated input by sqrt(2)."""
    torch.manual_seed(0)
    decoder = Decoder(BranchConfig(32, 3, 3, "softplus", "concat", 0, "igr"), code_dim=4)
    points, codes = torch.rand(1, 6, 3), torch.randn(1, 4)
    first, second, third = decoder.layers
    hidden = decoder.activation(second(decoder.activation(first(points, codes))))
    joined = third.linear(torch.cat((hidden, points), dim=-1) / 2**0.5) + third.shift(codes / 2**0.5)
    torch.testing.assert_close(decoder(points, codes), decoder.last(decoder.activation(joined)))


def test_compact_sdf_input() -> None:
    """The `compact_sdf` network receives the point and its encoding."""
    torch.manual_seed(0)
    config = BranchConfig(16, 1, 0, "relu", "concat", 2, "compact_sdf")
    decoder = Decoder(config, code_dim=4)
    points, codes = torch.rand(1, 6, 3), torch.randn(1, 4)
    fed = torch.cat((points, positional_encoding(points, 2)), dim=-1)
    hidden = decoder.layers[0](fed, codes).relu()
    torch.testing.assert_close(decoder(points, codes), decoder.last(hidden))


def test_incompatible_recipes() -> None:
    """Published recipes need `concat` conditioning and sufficient width."""
    with pytest.raises(ConfigError, match="recipe 'deepsdf' concatenates codes; set conditioning: concat"):
        Decoder(BranchConfig(recipe="deepsdf"), 8)
    with pytest.raises(ConfigError, match="width must be larger than that, got 32"):
        Decoder(BranchConfig(width=32, depth=4, skip=3, conditioning="concat", frequencies=0, recipe="igr"), 64)
