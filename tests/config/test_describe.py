"""Descriptions of configurations."""

import yaml

from latentsdf.config.describe import describe, settings
from latentsdf.config.loader import from_dict
from latentsdf.config.sampling import SamplingConfig
from latentsdf.config.training import Config


def test_yaml_round_trip_of_description() -> None:
    """The commented YAML loads as the configuration it describes."""
    values = {"loss": {"heat_lambda": [4, 0.2, 4, 30], "code": 1e-4}, "model": {"warp": {"width": 0}}}
    config = from_dict(Config, values, "a")
    assert from_dict(Config, yaml.safe_load(describe(config)), "b") == config


def test_documentation_of_each_setting() -> None:
    """Every setting and section of every configuration has a docstring, and a description of its accepted values."""
    for config in (Config(), SamplingConfig()):
        for setting in settings(config):
            assert setting.doc.endswith((".", "s")), setting.name
            assert bool(setting.accepted) == (setting.default is not None), setting.name


def test_accepted_values_by_type_and_range() -> None:
    """Types and ranges come from the annotations."""
    found = {setting.name: setting for setting in settings(Config())}
    assert found["train.steps"].accepted == "Integer, at least 1."
    assert found["train.beta2"].accepted == "Number, at least 0, below 1."
    assert found["loss.heat"].accepted == "Number or schedule, at least 0."
    assert found["loss.heat_lambda"].accepted == "Number or schedule, above 0."
    assert found["loss.eikonal_norm"].accepted == "One of l1, l2."
    assert found["train.bf16"].accepted == "true or false."
    assert found["model.warp.activation"].default == "softplus" and found["model.warp"].default is None
    assert "Length of the global part of a code, which conditions all networks." in found["model.code_dim"].doc


def test_position_of_comments() -> None:
    """The docstring and the accepted values are comments above the key."""
    lines = [line.strip() for line in describe(Config()).splitlines()]
    at = lines.index("log_every: 50")
    assert lines[at - 2 : at] == ["# Number of steps between lines of `metrics.jsonl`.", "# Integer, at least 1."]
