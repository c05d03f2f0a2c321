"""Configurations of latentsdf 0.1."""

from dataclasses import replace

import pytest

from latentsdf.config.loader import from_dict
from latentsdf.config.training import Config
from latentsdf.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"loss": {"divergence": 1e-4}}, {"loss": {"directional_divergence": 1e-4}}),
        ({"loss": {"general": 2.0}, "train": {"samples": "sdf"}}, {"loss": {"general": 2.0}}),
        ({"train": {"schedule": "halving"}}, {"train": {"halve_epochs": 500}}),
        ({"train": {"schedule": "halving", "halve_epochs": 9}}, {"train": {"halve_epochs": 9}}),
        ({"train": {"schedule": "cosine", "halve_epochs": 500}}, {}),
        ({"train": {"refresh_steps": 4}}, {}),
        ({"train": {"picture_minutes": 5.0}}, {"train": {"image_minutes": 5.0}}),
        ({"loss": {"eikonal_branch": "overfit", "heat_branch": "general"}}, {}),
        (
            {"loss": {"heat": 1, "heat_branch": "overfit", "eikonal_branch": "general"}},
            {"loss": {"heat": 1, "regularizer_branch": "overfit"}},
        ),
    ],
)
def test_equivalence_of_old_and_new_settings(old: dict[str, object], new: dict[str, object]) -> None:
    """Renamed and merged settings of 0.1 give the configuration with the current names."""
    assert from_dict(Config, old, "old.yaml") == from_dict(Config, new, "new.yaml")


def test_surface_term_of_point_training() -> None:
    """With points on the surface, `general` of 0.1 is `surface`, and an explicit `surface` is kept."""
    points = {"train": {"samples": "points"}, "model": {"overfit": {"width": 0}}}
    config = from_dict(Config, points | {"loss": {"general": 2.0, "eikonal": 0.1}}, "old.yaml")
    assert config.loss.surface == (2.0,) and config.loss.general == Config().loss.general
    both = from_dict(Config, points | {"loss": {"general": 2.0, "surface": 3.0, "eikonal": 0.1}}, "new.yaml")
    assert both.loss == replace(config.loss, general=2.0, surface=3.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"refresh_steps": 8}}, "old.yaml: train.refresh_steps is no longer a setting but fixed at 4, got 8"),
        ({"train": {"schedule": "linear"}}, "old.yaml: train.schedule: expected one of 'cosine', 'halving'"),
        (
            {"loss": {"divergence": 1, "directional_divergence": 1}},
            "'loss.divergence' is now 'loss.directional_divergence', and both are given",
        ),
        (
            {"loss": {"heat": 1, "eikonal": 1, "heat_branch": "overfit"}},
            "regularizer_branch applies to .* several branches: heat on overfit",
        ),
    ],
)
def test_inexpressible_settings(values: dict[str, object], message: str) -> None:
    """A setting of 0.1 that has no equivalent is an error, not a silent change."""
    with pytest.raises(ConfigError, match=message):
        from_dict(Config, values, "old.yaml")
