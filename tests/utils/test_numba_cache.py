"""Cache of compiled kernels, keyed by all of their sources."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import latentsdf.utils.numba_cache
from latentsdf.geometry.mesh_sdf.closest_point_transform import scan_convert_mesh
from latentsdf.utils.numba_cache import cache_folder, compiled, source_digest, source_file

_RUN = "import sys; sys.path.insert(0, sys.argv[1]); from latentsdf.outer import outer; print(outer(3))"


def _result(root: Path) -> int:
    # -B: the bytecode of a file that is changed within a second, to one of the same size, would count as current.
    return int(subprocess.check_output([sys.executable, "-B", "-c", _RUN, str(root)], text=True, env=os.environ))


@pytest.mark.slow
def test_change_of_imported_kernel(tmp_path: Path) -> None:
    """A change of an imported kernel recompiles the importing one; numba's own cache would return the old result."""
    package = tmp_path / "latentsdf"
    (package / "utils").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "utils" / "__init__.py").touch()
    for name in ("numba_cache.py", "console.py"):
        (package / "utils" / name).write_text(Path(latentsdf.utils.numba_cache.__file__).with_name(name).read_text())
    use = "from latentsdf.utils.numba_cache import compiled\n"
    (package / "inner.py").write_text(use + "@compiled()\ndef inner(x):\n    return x + 1\n")
    outer = "from latentsdf.inner import inner\n@compiled()\ndef outer(x):\n    return 2 * inner(x)\n"
    (package / "outer.py").write_text(use + outer)
    assert _result(tmp_path) == 8
    (package / "inner.py").write_text((package / "inner.py").read_text().replace("+ 1", "+ 5"))
    assert _result(tmp_path) == 16
    (package / "inner.py").write_text((package / "inner.py").read_text().replace("+ 5", "+ 1"))
    assert _result(tmp_path) == 8


def test_digest_of_imports() -> None:
    """Modules with different imports have different digests, which name the folders of their kernels."""
    transform = source_digest(source_file("latentsdf.geometry.mesh_sdf.closest_point_transform"))
    assert transform != source_digest(source_file("latentsdf.geometry.mesh_sdf.scan_conversion"))
    assert scan_convert_mesh.stats.cache_path.startswith(cache_folder(transform))


def test_no_writable_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a writable cache folder, kernels are compiled but not cached."""
    monkeypatch.setattr(latentsdf.utils.numba_cache, "cache_folder", lambda _: "")
    twice = compiled()(_twice)
    assert twice(4) == 8
    assert twice.stats.cache_path is None


def test_deletion_of_unused_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that were not used for a week are deleted."""
    monkeypatch.setattr(latentsdf.utils.numba_cache.config, "CACHE_DIR", str(tmp_path))
    old, recent = tmp_path / "latentsdf-old", tmp_path / "latentsdf-recent"
    for folder in (old, recent):
        folder.mkdir()
    os.utime(old, (0, 0))
    found = cache_folder("fresh")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["latentsdf-fresh", "latentsdf-recent"]
    assert Path(found) == tmp_path / "latentsdf-fresh"


def _twice(x: int) -> int:
    return 2 * x


_twice.__module__ = "latentsdf.geometry.mesh_sdf.vector3"
