"""Steps of the demo: checks of its output folder, preprocessing, interpolation and retrieval."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.settings import small_config
from helpers.training import save_untrained

from latentsdf.cli import demo_pipeline
from latentsdf.space import ShapeSpace
from latentsdf.utils.errors import CheckpointError, ConfigError, LatentSDFError


def test_too_few_shapes(tmp_path: Path) -> None:
    """Fewer shapes than the demo evaluates are rejected before anything is written."""
    with pytest.raises(ConfigError, match="evaluates 6 shapes per family, so --per-family must be at least 6, got 5"):
        demo_pipeline.demo(tmp_path / "out", minutes=1, per_family=5, workers=1, seed=0)
    assert not (tmp_path / "out").exists()


def test_space_of_another_preset(tmp_path: Path) -> None:
    """The demo does not replace a space that it did not train, and leaves its files unchanged."""
    save_untrained(tmp_path, small_config())
    before = {file.name for file in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="holds a space trained with preset 'small', not by the demo"):
        demo_pipeline.demo(tmp_path, minutes=1, per_family=6, workers=1, seed=0, device="cpu")
    assert {file.name for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("code", "error"), [(130, KeyboardInterrupt), (2, LatentSDFError)])
def test_failed_preprocessing(
    code: int, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted subprocess interrupts the demo, and another failure is an error."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=code))
    with pytest.raises(error):
        demo_pipeline._preprocess(tmp_path / "s.zarr", 6, 1)


@pytest.mark.slow
def test_retrieval_of_training_shapes(trained_space: ShapeSpace) -> None:
    """Every table of the small space retrieves itself by its mesh."""
    assert demo_pipeline._retrieve_training_shapes(trained_space) == (1.0, {})


@pytest.mark.slow
def test_frames_of_interpolation(trained_space: ShapeSpace) -> None:
    """The strip has one image per step, and its ends show different shapes."""
    strip = demo_pipeline._interpolation_strip(trained_space, "table_0000", steps=2)
    assert [image.size for image in strip] == [(160, 160)] * 2
    assert strip[0].tobytes() != strip[1].tobytes()
