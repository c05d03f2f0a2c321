"""Reconstruction configurations of version 0.1."""

from latentsdf.config.loader import from_dict
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.config.reconstruction_migration import RENAMED, migrate


def test_old_keys() -> None:
    """Every old key is replaced and none is accepted any more; the input is left unchanged."""
    old = {
        "network": {"width": 8},
        "lr": 0.5,
        "nearby": "local",
        "loss": {"eikonal_squared": True, "divergence": [1.0], "surface": [2.0]},
        "medial": {"width": 0.1, "levels": 1},
    }
    copy = {key: dict(value) if isinstance(value, dict) else value for key, value in old.items()}
    assert migrate(old) == {
        "model": {"width": 8},
        "train": {"lr_network": 0.5, "offsurface_sampling": "local"},
        "loss": {"eikonal_norm": "l2", "laplacian": [1.0], "surface": [2.0]},
        "medial": {"axis_width": 0.1, "cell_levels": 1},
    }
    assert old == copy


def test_new_keys_exist() -> None:
    """Every key that the table maps to is a setting."""
    for new in RENAMED.values():
        settings: object = ReconstructConfig()
        for name in new.split("."):
            settings = getattr(settings, name)


def test_current_values() -> None:
    """A current configuration is not changed."""
    values = {"train": {"steps": 3}, "loss": {"heat": [1.0]}}
    assert migrate(values) == values
    assert from_dict(ReconstructConfig, migrate(values), "x").train.steps == 3
