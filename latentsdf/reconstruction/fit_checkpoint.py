"""Checkpoint of an unfinished fit: one file from which the same call continues with an unchanged result."""

import hashlib
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import CheckpointError

_FORMAT = 2
_HEAD = b"latentsdf sha256 "
_BUDGET = ("steps", "minutes", "patience")  # of `train`; a run may be continued with a larger budget


class FitCheckpoint:
    """File with the state of a fit of one cloud with one configuration.

    Args:
        path: The file; its folder must exist.
        cloud: The cloud of the fit.
        config: Configuration of the fit. `train.steps`, `train.minutes` and `train.patience` may change between calls.
    """

    def __init__(self, path: Path | str, cloud: PointCloud, config: ReconstructConfig) -> None:
        self.path = Path(path)
        settings = asdict(config)
        for name in _BUDGET:
            del settings["train"][name]
        digest = hashlib.sha256(repr(settings).encode())
        for array in (cloud.points, cloud.normals):
            digest.update(b"" if array is None else array.tobytes())
        self._fingerprint = digest.hexdigest()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file by a state of tensors and plain values."""
        buffer = io.BytesIO()
        torch.save({"format": _FORMAT, "fingerprint": self._fingerprint, "state": state}, buffer)
        content = buffer.getvalue()
        with atomic_write(self.path) as temporary, temporary.open("wb") as file:
            file.write(_HEAD + hashlib.sha256(content).hexdigest().encode() + b"\n")
            file.write(content)

    def load(self) -> dict[str, Any] | None:
        """Read the state.

        Returns:
            The state, or None if there is no file.

        Raises:
            CheckpointError: The file is damaged, or of another version, cloud or configuration.
        """
        if not self.path.is_file():
            return None
        try:
            saved: dict[str, Any] = torch.load(io.BytesIO(self._content()), map_location="cpu", weights_only=True)
            # Format 1 had no number.
            version = saved.get("format", 1)
        # torch's reader raises exceptions of many types for damaged files.
        except Exception as error:
            raise CheckpointError(f"{self.path}: damaged ({error!s:.200}); remove it to start again") from error
        if version != _FORMAT:
            raise CheckpointError(
                f"{self.path}: expected an unfinished run in format {_FORMAT}, got format {version}, which a "
                "different version of latentsdf wrote; remove it to start again"
            )
        if saved["fingerprint"] != self._fingerprint:
            raise CheckpointError(
                f"{self.path}: an unfinished run with other points or other settings; pass the same, or remove it to "
                "start again"
            )
        state: dict[str, Any] = saved["state"]
        return state

    def _content(self) -> bytes:
        """Read the file; raises ValueError if its content has another SHA-256 than its first line states."""
        data = self.path.read_bytes()
        if not data.startswith(_HEAD):
            return data  # written by an earlier version, without a first line
        head, _, content = data.partition(b"\n")
        if head.removeprefix(_HEAD).decode(errors="replace") != hashlib.sha256(content).hexdigest():
            raise ValueError("its SHA-256 is not that of its first line")
        return content
