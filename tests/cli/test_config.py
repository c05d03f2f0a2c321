"""`latentsdf config`: names and content of presets."""

import json

import pytest
import yaml
from helpers.paths import CONFIGS

from latentsdf import cli


def test_names_of_presets(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name all presets are listed."""
    assert cli.main(["config"]) == 0
    assert capsys.readouterr().out.split() == [path.stem for path in CONFIGS]
    assert cli.main(["config", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"presets": [path.stem for path in CONFIGS]}


def test_commented_preset(capsys: pytest.CaptureFixture[str]) -> None:
    """A preset is printed as YAML with comments, or as JSON."""
    assert cli.main(["config", "latentsdf_cpu"]) == 0
    text = capsys.readouterr().out
    values = yaml.safe_load(text)
    assert values["preset"] == "latentsdf_cpu" and text.count("# ") > 40
    assert cli.main(["config", "latentsdf_cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["code_dim"] == values["model"]["code_dim"]


def test_unknown_preset(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown preset is an error."""
    assert cli.main(["config", "latentsdf_gpu"]) == 2
    assert "latentsdf_gpu" in capsys.readouterr().err
