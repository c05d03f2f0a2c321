"""Shared fixtures: analytic shapes, and the real meshes where they are at hand."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of third-party meshes beside the checkout; tests that need it skip without it."""
    if not (REAL_DATA / "meshes").is_dir():
        pytest.skip(f"third-party meshes are not at hand (looked for {REAL_DATA.name}/meshes beside the checkout)")
    return REAL_DATA
