"""Fixtures of the tests of latent codes."""

import pytest
import trimesh
from helpers.settings import FIT, LEARNED, REFINEMENT

from latentsdf.data.furniture import furniture
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.space import ShapeSpace


@pytest.fixture(scope="session")
def unseen() -> trimesh.Trimesh:
    """Table that is not a training shape."""
    return furniture("table", 50)


@pytest.fixture(scope="session")
def fit(space: ShapeSpace, unseen: trimesh.Trimesh) -> Inversion:
    """Fit of the unseen table."""
    return space.invert(unseen, FIT)


@pytest.fixture(scope="session")
def refined(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> Inversion:
    """Fit of the unseen table with compressed detail."""
    return space.refine(fit, unseen, REFINEMENT)


@pytest.fixture(scope="session")
def learned(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> Inversion:
    """Fit of the unseen table with learned detail, without a limit of size."""
    return space.refine(fit, unseen, LEARNED)
