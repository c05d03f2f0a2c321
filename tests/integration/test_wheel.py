"""The wheel: built, installed without the sources, and used from an empty folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.artifacts import write_space
from helpers.paths import REPOSITORY

import latentsdf
from latentsdf.sharing.locations import PRETRAINED

pytestmark = pytest.mark.slow

_NEEDED = (
    "configs",
    "latentsdf",
    "preprocessing",
    "LICENSE",
    "README.md",
    "constraints.txt",
    "pyproject.toml",
    "setup.py",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the installed wheel, which was built without network from a copy of the sources."""
    pytest.importorskip("setuptools", minversion="77")
    pytest.importorskip("pip")
    sources, built, target = (tmp_path_factory.mktemp(name) for name in ("sources", "built", "target"))
    for name in _NEEDED:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, sources / name, ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
        elif path.is_file():
            shutil.copy(path, sources / name)
    for name in PRETRAINED:
        write_space(sources / "checkpoints" / name, 1, with_state=False)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(built), str(sources)])
    (wheel,) = built.glob("latentsdf-*.whl")
    _run([*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)])
    return target


def _run(command: list[str], **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    output: str = done.stdout
    return output


def _command(installed: Path, folder: Path, *words: str) -> str:
    """Run an installed console script from a folder; returns its standard output."""
    script, *rest = words
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    return _run([sys.executable, str(installed / "bin" / script), *rest], cwd=folder, env=environment)


def test_content(installed: Path) -> None:
    """The wheel has both packages, their markers for type checkers, and the presets."""
    presets = sorted(path.name for path in (REPOSITORY / "configs").glob("*.yaml"))
    assert sorted(path.name for path in (installed / "latentsdf" / "presets").glob("*.yaml")) == presets
    assert all((installed / package / "py.typed").is_file() for package in ("latentsdf", "preprocessing"))
    assert (installed / "latentsdf" / "evaluation" / "mesh_viewer.js").is_file()
    pins = (installed / "latentsdf" / "tested_versions.txt").read_text()
    assert pins == (REPOSITORY / "constraints.txt").read_text()
    assert not (installed / "tests").exists()


def test_commands(installed: Path, tmp_path: Path) -> None:
    """Version, presets and help are printed in an empty folder."""
    code = "import latentsdf, preprocessing; print(latentsdf.__file__, preprocessing.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    found = _run([sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment).split()
    assert all(Path(path).is_relative_to(installed) for path in found)
    assert _command(installed, tmp_path, "latentsdf", "--version") == f"latentsdf {latentsdf.__version__}\n"
    assert "preset: latentsdf_cpu" in _command(installed, tmp_path, "latentsdf", "config", "latentsdf_cpu")
    for words in (
        ("latentsdf", "demo", "--help"),
        ("latentsdf", "reconstruct", "--help"),
        ("latentsdf", "train", "--config", "latentsdf_cpu", "--help"),
        ("latentsdf-preprocess", "--help"),
    ):
        assert "examples:" in _command(installed, tmp_path, *words)


def test_pretrained_space(installed: Path, tmp_path: Path) -> None:
    """A pretrained space is found by its name, with all of its files."""
    described = _command(installed, tmp_path, "latentsdf", "info", "furniture", "--verify", "--json")
    assert '"chair/a"' in described and '"README.md"' in described


def test_training(installed: Path, store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A space is trained for one step and described."""
    # Compiling the kernels of this second copy of the package would take longer than running them uncompiled.
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    train = ["train", "--config", "latentsdf_cpu", "--data", str(store_path), "--out", "space", "--steps", "1"]
    small = ["--model.grid.resolution", "16", "--device", "cpu"]
    _command(installed, tmp_path, "latentsdf", *train, *small)
    assert '"preset": "latentsdf_cpu"' in _command(installed, tmp_path, "latentsdf", "info", "space", "--json")
