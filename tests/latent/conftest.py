"""Fixtures of the tests of latent codes."""

from pathlib import Path

import pytest
import trimesh
from helpers.settings import FIT, REFINEMENT

import latentsdf as ls
from latentsdf.data.furniture import furniture
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.space import ShapeSpace


@pytest.fixture(scope="session")
def space(space_path: Path) -> ShapeSpace:
    """The space of the four tables."""
    return ls.load(space_path, device="cpu")


@pytest.fixture(scope="session")
def unseen() -> trimesh.Trimesh:
    """A table that the space was not trained on."""
    return furniture("table", 50)


@pytest.fixture(scope="session")
def fit(space: ShapeSpace, unseen: trimesh.Trimesh) -> Inversion:
    """The fit of the unseen table."""
    return space.invert(unseen, FIT)


@pytest.fixture(scope="session")
def refined(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> Inversion:
    """The fit of the unseen table with its detail."""
    return space.refine(fit, unseen, REFINEMENT)
