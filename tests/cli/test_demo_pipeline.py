"""Steps of the demo: checks of its output folder, preprocessing, interpolation and retrieval."""

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.settings import small_config
from helpers.training import save_untrained

from latentsdf import cli
from latentsdf.cli import demo_pipeline
from latentsdf.cli.demo_report import DemoResults, write_report
from latentsdf.data.furniture import furniture
from latentsdf.evaluation.evaluate import evaluate
from latentsdf.space import ShapeSpace
from latentsdf.utils.errors import CheckpointError, ConfigError, LatentSDFError


def test_too_few_shapes(tmp_path: Path) -> None:
    """Fewer shapes than the demo evaluates are rejected before anything is written."""
    with pytest.raises(ConfigError, match="evaluates 4 shapes per family, so --per-family must be at least 4, got 3"):
        demo_pipeline.demo(tmp_path / "out", steps=1, per_family=3, workers=1, seed=0)
    assert not (tmp_path / "out").exists()


def test_space_of_another_preset(tmp_path: Path) -> None:
    """The demo does not replace a space that it did not train, and leaves its files unchanged."""
    save_untrained(tmp_path, small_config())
    before = {file.name for file in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="holds a space trained with preset 'small', not by the demo"):
        demo_pipeline.demo(tmp_path, steps=1, per_family=6, workers=1, seed=0, device="cpu")
    assert {file.name for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("code", "error"), [(130, KeyboardInterrupt), (2, LatentSDFError)])
def test_failed_preprocessing(
    code: int, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted subprocess interrupts the demo, and another failure is an error."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=code))
    with pytest.raises(error):
        demo_pipeline._preprocess(tmp_path / "s.zarr", 6, 1)


def test_budget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The demo counts steps; --minutes without --steps leaves their number open."""
    budgets: list[tuple[int, float]] = []
    monkeypatch.setattr(demo_pipeline, "demo", lambda _, **given: budgets.append((given["steps"], given["minutes"])))
    for flags in ([], ["--steps", "7"], ["--minutes", "2"], ["--minutes", "2", "--steps", "7"]):
        assert cli.main(["demo", "--out", str(tmp_path), *flags]) == 0
    assert budgets == [(3000, 0.0), (7, 0.0), (10_000_000, 2.0), (7, 2.0)]


@pytest.mark.slow
def test_unseen_shapes_and_report(
    trained_space: ShapeSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unseen shapes are fitted with the pretrained space and shown; without one, its sections are left out."""
    monkeypatch.setattr(demo_pipeline, "_FAMILIES", ("table", "chair"))
    monkeypatch.setattr(demo_pipeline, "RESOLUTION", 32)
    monkeypatch.setattr(demo_pipeline, "_RANDOM_SHAPES", 1)
    monkeypatch.setattr(demo_pipeline, "_PRETRAINED", str(tmp_path / "none"))
    new = {"table 1": furniture("table", 100_000)}
    assert demo_pipeline._fit_with_pretrained(new, "cpu") is None
    assert "not compared with the pretrained space" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr(demo_pipeline, "_PRETRAINED", str(trained_space.folder))
    pretrained = demo_pipeline._fit_with_pretrained(new, "cpu")
    assert pretrained is not None and pretrained.evaluation.shapes.keys() == new.keys()
    assert [len(row) for row in pretrained.random] == [1]  # the space has no chairs
    fits = trained_space.invert_many(list(new.values()), demo_pipeline._FAST_INVERSION)
    known = {"table_0000": furniture("table", 0)}
    seen, seen_meshes = evaluate(trained_space, known, resolution=32, points=500, field_points=0)
    rows, names = demo_pipeline._retrieval_rows(trained_space, new, fits, k=2)
    summary = {"training_shapes": 4, "training_steps": 20, "self_retrieval_share": 1.0, "seconds": {}, "machine": ""}
    results = DemoResults(
        summary,
        known,
        seen,
        seen_meshes,
        new,
        pretrained,
        pretrained,
        [rows[0]],
        rows,
        names,
        [{"step": 1, "general": 1}],
    )
    write_report(tmp_path / "with.html", results)
    write_report(tmp_path / "without.html", replace(results, pretrained=None))
    both, one = ((tmp_path / name).read_text(encoding="utf-8") for name in ("with.html", "without.html"))
    assert both.count("<h2>") == one.count("<h2>") + 2 and "Random shapes of the pretrained space" in both
    assert "pretrained space, table" not in one and '"label": "pretrained space"' in both
    assert '"label": "pretrained space"' not in one and "<td>not found</td>" in one


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
