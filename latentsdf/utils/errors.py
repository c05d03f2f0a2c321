"""Exceptions of the library. Each message states what was expected, what was found, and what to do."""

from pathlib import Path


class LatentSDFError(Exception):
    """Base class of all deliberate errors; the command line prints them without a traceback."""


class MeshError(LatentSDFError, ValueError):
    """A mesh, a point cloud or a file of either is unusable."""


class StoreError(LatentSDFError):
    """A sample store has another version, other settings or damaged data, or its disk is full."""


class OutputError(LatentSDFError, OSError):
    """An output cannot be written, because the disk is full or the file would be too large.

    Attributes:
        path: The file or folder.
        reason: Why there is no room for it.
    """

    path = Path()
    reason = ""


class CheckpointError(LatentSDFError):
    """A checkpoint folder is incomplete, damaged, or does not fit the request."""


class ConfigError(LatentSDFError, ValueError):
    """A setting is unknown or has a value outside its range."""


class EmptyLevelSetError(LatentSDFError, ValueError):
    """A field has no zero crossing in the box, so there is no surface to extract."""


class TrainingError(LatentSDFError, ArithmeticError):
    """Training produced a value that is not finite."""


class MissingExtraError(LatentSDFError, ImportError):
    """An optional package is not installed; the message names the extra that provides it."""
