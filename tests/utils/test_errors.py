"""Exceptions of the library."""

import pytest

from latentsdf.utils import errors


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("MeshError", ValueError),
        ("StoreError", Exception),
        ("CheckpointError", Exception),
        ("ConfigError", ValueError),
        ("EmptyLevelSetError", ValueError),
        ("TrainingError", ArithmeticError),
        ("MissingExtraError", ImportError),
    ],
)
def test_base_classes(name: str, builtin: type[Exception]) -> None:
    """Every exception can be caught as LatentSDFError and as the matching built-in exception."""
    error = getattr(errors, name)("chair.obj: reason")
    assert isinstance(error, errors.LatentSDFError) and isinstance(error, builtin)
    assert str(error) == "chair.obj: reason"
