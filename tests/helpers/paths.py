"""Paths of the checkout."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))
REAL_DATA = REPOSITORY.parent / "shared" / "data"
"""Folder of third-party meshes, which is optional."""
