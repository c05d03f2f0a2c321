"""Tests of the package as imported: public names, import cost."""

import subprocess
import sys

import jaxtyping
import pytest
import torch

import latentsdf
from latentsdf.training.losses.data import norm_term


def test_import_without_heavy_modules() -> None:
    """`import latentsdf` raises no warning and imports neither torch nor NumPy."""
    code = (
        "import sys, latentsdf;"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'heavy import';"
        "print(latentsdf.__version__)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == latentsdf.__version__


@pytest.mark.parametrize("name", latentsdf.__all__)
def test_resolution_of_public_names(name: str) -> None:
    """Every exported name can be imported."""
    assert getattr(latentsdf, name) is not None


def test_unknown_name() -> None:
    """A name that does not exist is an AttributeError that mentions it."""
    with pytest.raises(AttributeError, match="No latentsdf attribute nonsense"):
        _ = latentsdf.nonsense


def test_shape_checks_are_active() -> None:
    """Tests run with jaxtyping's shape checks, so an argument of a wrong type is refused."""
    with pytest.raises(jaxtyping.TypeCheckError):
        norm_term(torch.ones(3, dtype=torch.int64))
