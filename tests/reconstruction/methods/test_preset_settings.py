"""Settings and schedules shared by several methods."""

from dataclasses import replace

import pytest
from helpers.presets import initial_field, start_radius_and_slope

from latentsdf.config.reconstruction import FieldLossConfig, FieldTrainConfig
from latentsdf.config.schedules import schedule_value
from latentsdf.reconstruction.methods import preset_settings
from latentsdf.reconstruction.presets import preset

RELEASED = {("digs", 3): (0.70, 0.22), ("steik", 3): (1.06, 0.13), ("hotspot", 3): (1.06, 0.13)}
"""Radius and slope at the surface of the starts of the releases, measured over four seeds of their code."""


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (preset_settings.hold_then_vanish(8.0, 0.6), {0.0: 8, 0.3: 8, 0.6: 8, 0.65: 4, 0.7: 0, 1.0: 0}),
        (preset_settings.hold_then_vanish(100.0, 0.2), {0.0: 100, 0.2: 100, 0.25: 50, 0.3: 0, 1.0: 0}),
        (preset_settings.relaxed(100.0), {0.0: 100, 0.2: 100, 0.25: 75, 0.4: 0, 1.0: 0}),
        (preset_settings.ramp(1.0, 3.0, 0.25, 0.75), {0.0: 1, 0.25: 1, 0.5: 2, 0.75: 3, 1.0: 3}),
    ],
    ids=["hold", "short hold", "relaxed", "ramp"],
)
def test_schedule_values(schedule: tuple[float, ...], expected: dict[float, float]) -> None:
    """Schedules have the documented values at breakpoints, halfway between them and at both ends."""
    assert {time: schedule_value(schedule, time) for time in expected} == pytest.approx(expected)


def test_guide_added_to_sine_preset() -> None:
    """The guide has the weight of the surface term for 60 % of the run, and only the initial sphere changes besides."""
    plain = replace(preset_settings.sine_preset("digs", "sine"), loss=FieldLossConfig(surface=(7.0,)))
    guided = preset_settings.with_guide(plain)
    assert (plain.model.slope, guided.model.slope) == (0.1, 1.0)
    assert guided.loss.guide == preset_settings.hold_then_vanish(7.0, 0.6)
    model = replace(guided.model, radius=plain.model.radius, slope=plain.model.slope)
    assert replace(guided, model=model, loss=plain.loss) == plain


def test_published_adam() -> None:
    """Published training has Adam's default decay of second moments and no warm-up, and keeps everything else."""
    train = FieldTrainConfig(steps=7, warmup_steps=50, beta2=0.9, lr_network=3e-4)
    assert preset_settings.published_training(train) == replace(train, warmup_steps=0, beta2=0.999)


@pytest.mark.parametrize("paper", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("method", ["medial_axis", "steik", "digs", "hotspot", "igr"])
def test_start_of_every_preset(method: str, dim: int, paper: bool) -> None:
    """The initial surface has the radius of the settings or of the release, and the slope on it.

    The default method and SIREN start without a meaningful zero set.
    """
    config = preset(method, dim, paper)
    if config.model.start == "hotspot":
        center, _ = initial_field(config, dim, 0.0)
        value, slope = initial_field(config, dim, 1.0)
        assert 0.4 < center.mean() < 0.75 and value.min() > center.mean()
        assert 4 < slope.mean() < 5.5
        return
    released = RELEASED.get((method, dim)) if paper else None
    radius, slope = start_radius_and_slope(config, dim, seeds=4 if released else 1)
    assert radius == pytest.approx(released[0] if released else config.model.radius, rel=0.1)
    # Few softplus units give |x| - r only roughly: the slope of 96 units on the sphere is 0.73.
    assert slope == pytest.approx(released[1] if released else config.model.slope, rel=0.3)
