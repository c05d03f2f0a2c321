"""The scripts in `examples/` run on a tiny space and reduce their loss."""

import re
import runpy
import sys
from pathlib import Path

import pytest

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
