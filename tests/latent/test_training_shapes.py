"""Rows, ids and categories of training shapes."""

from pathlib import Path

import pytest

from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.training_shapes import TrainingShapes
from latentsdf.utils.errors import ConfigError

PLACE = Similarity((0.0, 0.0, 0.0), 1.0)


def shapes(*keys: str, copied: tuple[str, ...] = ()) -> TrainingShapes:
    """Training shapes with these keys, all in the same place."""
    return TrainingShapes(list(keys), [PLACE] * len(keys), frozenset(copied), Path("chairs"))


def test_unique_ids_need_no_category() -> None:
    """Rows are found by id, by key and by row."""
    some = shapes("chair/a", "table/b")
    assert some.ids == list(some) == ["a", "b"] and len(some) == 2
    assert [some.row(name) for name in ("b", "table/b", 1)] == [1, 1, 1]
    assert "b" in some and "table/b" in some and "c" not in some and 1 not in some


def test_ids_of_several_categories() -> None:
    """An id that occurs once needs no category, even if others occur twice; those name their categories."""
    some = shapes("chair/a", "chair/c", "table/a", "table/b")
    assert some.ids == ["chair/a", "chair/c", "table/a", "table/b"]
    assert [some.row(name) for name in ("c", "b", "table/a")] == [1, 3, 2]
    assert "c" in some and "table/a" in some and "a" not in some and "d" not in some
    with pytest.raises(ConfigError, match="several training shapes 'a' .*: chair/a, table/a; name one as category"):
        some.row("a")


def test_unknown_shapes() -> None:
    """The messages name similar ids and the range of rows."""
    some = shapes("chair/old_chair", "chair/stool")
    with pytest.raises(ConfigError, match="no training shape 'old_chai' in chairs; did you mean old_chair"):
        some.row("old_chai")
    for row in (-1, 2):
        with pytest.raises(ConfigError, match=f"0 to 1, got {row}"):
            some.row(row)


def test_copies_and_categories() -> None:
    """Deformed copies are separate from originals, and count in their categories, which keep their order."""
    some = shapes("table/a", "chair/a~1", "chair/a", copied=("chair/a~1",))
    assert some.copies() == [1] and some.originals() == [0, 2]
    assert list(some.categories().items()) == [("table", [0]), ("chair", [1, 2])]
