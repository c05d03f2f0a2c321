"""Decoders and the dual-branch field."""

import itertools

import pytest
import torch

from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.models.decoder import Decoder, positional_encoding
from latentsdf.models.latent_sdf import LatentSDF


def _model(**changes: object) -> LatentSDF:
    torch.manual_seed(0)
    branch = BranchConfig(width=16, depth=3, frequencies=2)
    small = {"code_dim": 8, "general": branch, "overfit": branch, "grid": GridConfig(4, 3)}
    model = LatentSDF(ModelConfig(**(small | changes)))  # type: ignore[arg-type]
    torch.nn.init.normal_(model.grid.table)
    return model


def test_encoding_is_the_paper_formula() -> None:
    x = torch.tensor([[0.3, -0.7, 0.1]])
    expected = torch.cat([x] + [torch.sin(2.0**k * x) for k in range(3)] + [torch.cos(2.0**k * x) for k in range(3)], 1)
    torch.testing.assert_close(positional_encoding(x, 3), expected)
    assert positional_encoding(x, 0) is x


@pytest.mark.parametrize("conditioning", ["concat", "film", "hyper"])
@pytest.mark.parametrize("skip", [0, 2])
def test_a_batch_of_shapes_equals_one_shape_and_one_point_at_a_time(conditioning: str, skip: int) -> None:
    torch.manual_seed(0)
    config = BranchConfig(width=16, depth=3, skip=skip, conditioning=conditioning, frequencies=2)  # type: ignore[arg-type]
    decoder = Decoder(config, code_dim=8)
    points, codes = torch.randn(3, 5, 3), torch.randn(3, 8)
    together = decoder(points, codes)
    for s, p in itertools.product(range(3), range(5)):
        alone = decoder(points[s : s + 1, p : p + 1], codes[s : s + 1])
        torch.testing.assert_close(alone[0, 0], together[s, p], atol=1e-5, rtol=1e-5)


def test_concatenation_equals_feeding_the_code_to_every_point() -> None:
    torch.manual_seed(0)
    decoder = Decoder(BranchConfig(width=16, depth=1, conditioning="concat", frequencies=0), code_dim=8)
    points, codes = torch.randn(2, 7, 3), torch.randn(2, 8)
    layer = decoder.layers[0]
    weight = torch.cat((layer.linear.weight, layer.shift.weight), dim=1)  # type: ignore[union-attr, arg-type]
    joined = torch.cat((points, codes[:, None].expand(-1, 7, -1)), dim=-1)
    hidden = torch.relu(joined @ weight.T + layer.linear.bias)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(decoder(points, codes), decoder.last(hidden), atol=1e-5, rtol=1e-5)


def test_branches_agree_between_entry_points() -> None:
    model = _model()
    points, codes = torch.rand(2, 6, 3) * 2 - 1, torch.randn(2, 8)
    both = model(points, codes)
    torch.testing.assert_close(both.general, model.branch("general", points, codes))
    torch.testing.assert_close(both.overfit, model.branch("overfit", points, codes))
    assert not torch.allclose(both.general, both.overfit)


def test_the_overfit_network_adds_to_the_general_branch_or_gives_the_whole() -> None:
    points, codes = torch.rand(2, 6, 3) * 2 - 1, torch.randn(2, 8)
    adding, whole = _model(residual=True), _model(residual=False)
    both, alone = adding(points, codes), whole(points, codes)
    torch.testing.assert_close(both.overfit, both.general + alone.overfit)
    torch.nn.init.zeros_(adding.overfit.last.weight)
    assert torch.equal(adding.branch("overfit", points, codes), both.general)


def test_spatial_gradient_matches_central_differences() -> None:
    from latentsdf.training.losses import gradient

    model = _model(general=BranchConfig(width=16, depth=3, activation="softplus", frequencies=2)).double()
    points, codes = torch.rand(2, 6, 3, dtype=torch.float64) * 1.8 - 0.9, torch.randn(2, 8, dtype=torch.float64)
    slope = gradient(lambda x: model.branch("general", x, codes), points)
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[axis] = 1e-6
        ahead, behind = (model.branch("general", points + s * step, codes) for s in (1, -1))
        torch.testing.assert_close(slope[..., axis], (ahead - behind) / 2e-6, atol=1e-5, rtol=1e-4)


def test_the_warp_starts_as_the_identity_and_moves_both_branches() -> None:
    model = _model()
    points, codes = torch.rand(2, 6, 3) * 2 - 1, torch.randn(2, 8)
    assert torch.equal(model.canonical(points, codes), points)
    before = model(points, codes)
    assert model.warp is not None
    torch.nn.init.normal_(model.warp.last.weight)
    canonical = model.canonical(points, codes)
    assert not torch.allclose(canonical[0], points[0])
    after = model(points, codes)
    for name in ("general", "overfit"):
        assert not torch.allclose(getattr(before, name), getattr(after, name))
    torch.testing.assert_close(after.general, model.general(canonical, codes).squeeze(-1))


def test_without_a_warp_canonical_points_are_the_points() -> None:
    model = _model(warp=BranchConfig(width=0))
    points, codes = torch.rand(2, 6, 3), torch.randn(2, 8)
    assert model.canonical(points, codes) is points
    assert not any(name.startswith("warp") for name in model.state_dict())
