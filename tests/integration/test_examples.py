"""The scripts in `examples/` run on a tiny space and reduce their loss."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from latentsdf.space import ShapeSpace

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "flags"),
    [("own_encoder.py", ["--steps", "40"]), ("fit_to_silhouette.py", ["--size", "16", "--steps", "30"])],
)
def test_example(
    script: str,
    flags: list[str],
    space_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The printed loss of the last step is less than that of the first one."""
    monkeypatch.setattr(sys, "argv", [script, str(space_path), *flags])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    losses = [float(value) for value in re.findall(r"^step \d+: .* ([\d.]+)$", capsys.readouterr().out, re.MULTILINE)]
    assert len(losses) == 2 and losses[1] < 0.8 * losses[0]


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_source(script: Path) -> None:
    """Every script compiles, also those whose packages are not installed, and says how to run it."""
    source = script.read_text()
    compile(source, script.name, "exec")
    assert f"python examples/{script.name}" in source


@pytest.mark.slow
def test_polyscope(space: ShapeSpace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two shapes are shown by Polyscope's backend without a screen."""
    pytest.importorskip("polyscope")
    names = space.ids[:2]
    flags = ["--resolution", "32", "--backend", "openGL_mock"]
    monkeypatch.setattr(sys, "argv", ["show", str(space.folder), *names, *flags])
    runpy.run_path(str(EXAMPLES / "show_in_polyscope.py"), run_name="__main__")
    assert f"showed 2 shapes: {', '.join(names)}" in capsys.readouterr().out


@pytest.mark.slow
def test_rerun(
    space: ShapeSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three steps are logged to a file of Rerun."""
    pytest.importorskip("rerun")
    out = tmp_path / "path.rrd"
    flags = ["--steps", "3", "--resolution", "32"]
    monkeypatch.setattr(sys, "argv", ["log", str(space.folder), *space.ids[:2], str(out), *flags])
    runpy.run_path(str(EXAMPLES / "log_to_rerun.py"), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) == 3 and out.stat().st_size > 10_000
    assert out.read_bytes()[:3] == b"RRF"
