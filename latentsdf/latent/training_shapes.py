"""Names, categories and places of the training shapes of a space. Row i belongs to the code with index i."""

import difflib
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import SupportsIndex

from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.code import is_row
from latentsdf.utils.arrays import describe
from latentsdf.utils.errors import ConfigError


@dataclass(frozen=True)
class TrainingShapes:
    """The training shapes of a space, T of them."""

    keys: list[str]
    """category/id of each shape."""
    similarities: list[Similarity]
    """Similarity transform of each shape from the frame of its mesh to model space."""
    copied: frozenset[str]
    """Keys of the shapes that are deformed copies of others."""
    folder: Path
    """Folder of the space, for messages."""

    @cached_property
    def ids(self) -> list[str]:
        """Ids without the category if they are unique, otherwise category/id."""
        short = [key.split("/", 1)[1] for key in self.keys]
        return short if len(set(short)) == len(short) else list(self.keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, shape: object) -> bool:
        return isinstance(shape, str) and len(self._rows_named(shape)) == 1

    def row(self, shape: str | SupportsIndex) -> int:
        """Return the row of a shape; see `ShapeSpace.row`."""
        if is_row(shape):
            row = operator.index(shape)
            if not 0 <= row < len(self):
                raise ConfigError(f"rows of training shapes are 0 to {len(self) - 1}, got {row}")
            return row
        if not isinstance(shape, str):
            raise ConfigError(f"expected the id or the row of a training shape, got {describe(shape)}")
        rows = self._rows_named(shape)
        if len(rows) == 1:
            return rows[0]
        if rows:
            several = ", ".join(self.keys[row] for row in rows[:3])
            raise ConfigError(f"several training shapes '{shape}' in {self.folder}: {several}; name one as category/id")
        close = difflib.get_close_matches(shape, self.ids, n=3) or self.ids[:3]
        raise ConfigError(f"no training shape '{shape}' in {self.folder}; did you mean {', '.join(close)}?")

    def originals(self) -> list[int]:
        """Return the rows of the shapes that are not deformed copies."""
        return [row for row, key in enumerate(self.keys) if key not in self.copied]

    def copies(self) -> list[int]:
        """Return the rows of the deformed copies."""
        return [row for row, key in enumerate(self.keys) if key in self.copied]

    def categories(self) -> dict[str, list[int]]:
        """Return the rows of each category, including deformed copies."""
        rows: dict[str, list[int]] = {}
        for row, key in enumerate(self.keys):
            rows.setdefault(key.split("/", 1)[0], []).append(row)
        return rows

    def _rows_named(self, shape: str) -> list[int]:
        """Rows of the shapes with a key, or else with an id in any category."""
        for names in (self.ids, self.keys):
            if shape in names:
                return [names.index(shape)]
        return [row for row, key in enumerate(self.keys) if key.split("/", 1)[1] == shape]
