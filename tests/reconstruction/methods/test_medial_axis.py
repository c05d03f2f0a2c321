"""Settings of medial-axis-aware learning."""

import pytest
from helpers.presets import initial_field

from latentsdf.config.schedules import schedule_value
from latentsdf.reconstruction.methods import medial_axis

TERMS = ("second_order", "phase", "surface", "eikonal", "expansion")


@pytest.mark.parametrize(
    ("dim", "first", "last"),
    [
        (2, (10, 0.2, 10, 0.1, 100), (10, 0.2, 10, 0.1, 1)),
        (3, (1, 0.02, 0.01, 0.05, 500), (2.5, 0.2, 0.5, 0.2, 200)),
    ],
)
def test_published_weights(dim: int, first: tuple[float, ...], last: tuple[float, ...]) -> None:
    """Weights have the published start until epoch 5 of 30 and the published end from epoch 20 on."""
    medial = medial_axis.published(dim).medial
    for epoch in (0, 2, 5, 8, 11, 14, 17, 20, 25, 30):
        share = min(1.0, max(0.0, (epoch - 5) / 15))
        weights = [(1 - share) * start + share * end for start, end in zip(first, last, strict=True)]
        assert [schedule_value(getattr(medial, term), epoch / 30) for term in TERMS] == pytest.approx(weights)
    assert (30 * medial.phase_start, 30 * medial.phase_freeze) == pytest.approx((5, 20))


@pytest.mark.parametrize(
    ("dim", "width", "phase", "layers"), [(2, 1e-3, (64, 4, 25.0), 4), (3, 1e-4, (128, 6, 5.0), 8)]
)
def test_published_networks_and_training(dim: int, width: float, phase: tuple[float, ...], layers: int) -> None:
    """Networks, epsilon, rates, batches and box are the published ones, and the gradient norm is that of 0.01 loss."""
    config = medial_axis.published(dim)
    medial, train = config.medial, config.train
    assert (medial.axis_width, medial.lr_phase) == (width, 5e-4)
    assert (medial.phase_width, medial.phase_blocks, medial.phase_omega) == phase
    assert (medial.phase_kind, medial.phase_gain) == ("preactivated", 1.0 if dim == 2 else 0.5)
    assert (config.model.kind, config.model.width, config.model.depth) == ("quadratic", 256, layers)
    assert (train.steps, train.lr_network, train.beta2) == (30 * 500, 5e-5, 0.98)
    assert (train.surface_points, train.offsurface_points, config.extent) == (5000, 20_000, 1.2)
    assert 0.01 * train.clip == pytest.approx(75)


@pytest.mark.parametrize("dim", [2, 3])
def test_initial_bowl(dim: int) -> None:
    """The published field starts as (|x|^2 - 1) / 2, which vanishes on the unit sphere with slope 1."""
    for radius in (0.5, 1.0):
        value, slope = initial_field(medial_axis.published(dim), dim, radius)
        # The last quadratic layer starts at 1e-5 times the squares of 256 units.
        assert value.numpy() == pytest.approx((radius**2 - 1) / 2, abs=1e-3)
        assert slope.numpy() == pytest.approx(radius, abs=0.03)
