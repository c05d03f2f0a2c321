"""The state of a fit on its way, kept in one file, so that a run that was stopped goes on as if it never had been."""

import hashlib
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import CheckpointError

_BUDGET = ("steps", "minutes", "patience")  # a longer one is a reason to go on


class Unfinished:
    """The file `path` for one cloud and one configuration, but for its budget."""

    def __init__(self, path: Path | str, cloud: PointCloud, config: ReconstructConfig) -> None:
        self.path = Path(path)
        settings = {name: value for name, value in asdict(config).items() if name not in _BUDGET}
        digest = hashlib.sha256(repr(settings).encode())
        for part in (cloud.points, cloud.normals):
            digest.update(b"" if part is None else part.tobytes())
        self._of = digest.hexdigest()

    def save(self, state: dict[str, Any]) -> None:
        """Replace what is kept."""
        with atomic_write(self.path) as aside:
            torch.save({"of": self._of} | state, aside)

    def load(self) -> dict[str, Any] | None:
        """What is kept, None for nothing; CheckpointError where it is damaged or of other points or settings."""
        if not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            of = state.pop("of")
        except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{self.path}: damaged ({error}); remove it to start again") from error
        if of != self._of:
            raise CheckpointError(
                f"{self.path}: a stopped run on other points or with other settings; pass the same, or remove it to "
                "start again"
            )
        return state
