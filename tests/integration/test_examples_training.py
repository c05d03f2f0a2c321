"""The examples of training run, and do what they say."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from helpers.paths import REPOSITORY

from latentsdf.training import checkpoint


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_own_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The loss is trained and logged under its name; the callback prints it."""
    space = _example("own_loss").main(tmp_path)
    lines = checkpoint.read_metrics(space.folder)
    assert len(space.ids) == 3 and all("mirror" in line for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert "step 60: loss" in capsys.readouterr().out


@pytest.mark.slow
def test_own_dataset(tmp_path: Path) -> None:
    """The decoded capsules are close to the exact ones, and longer for longer capsules."""
    example = _example("own_dataset")
    space = example.main(tmp_path)
    source = example.Capsules([0.1, 0.3, 0.5])
    heights = []
    for row, name in enumerate(source.ids):
        vertices = space.extract(name, resolution=64).vertices
        assert np.abs(source.distance(row, vertices)).mean() < 0.02
        heights.append(float(np.ptp(vertices[:, 2])))
    assert heights == sorted(heights) and heights[0] < 0.8 < heights[2]
