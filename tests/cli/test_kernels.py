"""Compilation of kernels ahead of their first use."""

import pytest

from latentsdf.cli import kernels
from latentsdf.utils import numba_cache


@pytest.mark.slow
def test_every_kernel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """After the runs all kernels are compiled, here or in the cache; then nothing is run any more."""
    with monkeypatch.context() as patch:
        patch.setattr(numba_cache, "is_compiled", lambda _: False)
        kernels.compile_all()
    assert "compiling kernels: " in capsys.readouterr().err
    needed = kernels.needed_kernels()
    assert [kernel.py_func.__qualname__ for kernel in needed if not numba_cache.is_compiled(kernel)] == []
    called = {kernel.py_func.__qualname__ for kernel in needed if kernel.signatures}
    assert {"_clip_ears", "_weighted_sum", "_interpolate", "_step_on_cpu", "_assemble_triangles", "_query"} <= called
    monkeypatch.setattr(kernels, "_sample_meshes", None)
    kernels.compile_all()
    assert capsys.readouterr().err == ""
