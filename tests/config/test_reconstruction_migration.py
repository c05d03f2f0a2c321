"""Configurations of version 0.1."""

from dataclasses import asdict

import pytest

from latentsdf.config.loader import from_dict
from latentsdf.config.migration import migrate
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.utils.errors import ConfigError


def test_reconstruction_keys() -> None:
    """Every reconstruction setting of version 0.1 is converted to a current setting."""
    old = {
        "method": "igr",
        "network": {"width": 8, "depth": 3},
        "loss": {"eikonal_squared": True, "divergence": [1.0], "directional": [2.0], "surface": [3.0]},
        "medial": {"width": 0.1, "first_phase": 0.3, "last_phase": 0.6, "levels": 1},
        "steps": 7,
        "minutes": 1.0,
        "patience": 2,
        "lr": 0.5,
        "lr_matrices": 0.25,
        "lr_rows": 0.125,
        "lr_final": 0.5,
        "warmup_steps": 3,
        "beta2": 0.9,
        "clip": 4.0,
        "surface_points": 5,
        "off_points": 6,
        "nearby": "local",
        "nearby_share": 0.75,
        "gaussian_std": 0.2,
        "denoise": True,
        "extent": 1.5,
        "seed": 8,
    }
    config = from_dict(ReconstructConfig, old, "x")
    assert (config.method, config.denoise, config.extent) == ("igr", True, 1.5)
    assert (config.model.width, config.model.depth) == (8, 3)
    assert (config.loss.eikonal_norm, config.loss.surface) == ("l2", (3.0,))
    assert (config.loss.laplacian, config.loss.directional_divergence) == ((1.0,), (2.0,))
    medial = config.medial
    assert (medial.axis_width, medial.phase_start, medial.phase_freeze, medial.cell_levels) == (0.1, 0.3, 0.6, 1)
    assert asdict(config.train) == {
        "steps": 7,
        "minutes": 1.0,
        "patience": 2,
        "lr_network": 0.5,
        "lr_matrices": 0.25,
        "lr_grid": 0.125,
        "grid_moments": "row",
        "lr_final": 0.5,
        "halve_steps": 0,
        "warmup_steps": 3,
        "beta2": 0.9,
        "clip": 4.0,
        "surface_points": 5,
        "offsurface_points": 6,
        "offsurface_sampling": "local",
        "offsurface_share": 0.75,
        "offsurface_std": 0.2,
        "seed": 8,
    }


def test_current_reconstruction() -> None:
    """A current configuration is not changed; an old key together with its new name is rejected."""
    values = {"train": {"steps": 3}, "loss": {"heat": [1.0]}}
    assert migrate(ReconstructConfig, values) == {"train": {"steps": 3}, "loss": {"heat": [1.0]}}
    with pytest.raises(ConfigError, match=r"'steps' is now 'train\.steps'"):
        from_dict(ReconstructConfig, {"steps": 3, "train": {"steps": 4}}, "x")
