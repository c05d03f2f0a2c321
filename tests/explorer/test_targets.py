"""Recognition of what `latentsdf view` shows."""

from pathlib import Path

import pytest

from latentsdf.explorer.targets import kind_of
from latentsdf.utils.errors import ConfigError


def test_kinds(space_path: Path, store_path: Path) -> None:
    """Spaces, stores and fields are recognized by their files."""
    field = Path(__file__).parents[1] / "data_0_1" / "field_2d"
    assert [kind_of(str(path)) for path in (space_path, store_path, field)] == ["space", "store", "field"]


def test_names_are_left_to_load() -> None:
    """Names that are no folders may be those of spaces."""
    assert kind_of("furniture") == "space"


def test_files_and_other_folders(tmp_path: Path) -> None:
    """Other targets are refused with what was expected."""
    file = tmp_path / "a.obj"
    file.write_text("v 0 0 0")
    with pytest.raises(ConfigError, match="is a file"):
        kind_of(str(file))
    with pytest.raises(ConfigError, match="neither"):
        kind_of(str(tmp_path))
