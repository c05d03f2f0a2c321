"""Models for one code."""

import pytest
import torch
from helpers.models import small_latent_model

from latentsdf.config.model import Conditioning, Recipe
from latentsdf.models.folded_code import fold_code


@pytest.mark.parametrize("by_layer", [False, True])
@pytest.mark.parametrize(
    ("conditioning", "recipe"),
    [("hyper", "latentsdf"), ("film", "latentsdf"), ("concat", "latentsdf"), ("concat", "deepsdf"), ("concat", "igr")],
)
def test_distances_of_both_branches(conditioning: Conditioning, recipe: Recipe, by_layer: bool) -> None:
    """A folded code changes no distance, and the model stays as it is."""
    model = small_latent_model(conditioning, recipe=recipe).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    code = torch.randn(model.config.code_dim)
    if by_layer:
        code = code + 0.1 * torch.randn(len(model.conditioned_layers()), len(code))
    points = torch.rand(1, 200, 3) * 2 - 1
    folded = fold_code(model, code)
    for expected, found in zip(model(points, code[None]), folded(points, torch.zeros(1, code.shape[-1])), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert folded.grid is model.grid
    assert folded.conditioned_layers() == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
