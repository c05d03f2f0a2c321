"""The errors users see. Each message says what was expected, what came, and what to do."""


class LatentSDFError(Exception):
    """Base of every error raised on purpose; the command line prints it without a traceback."""


class MeshError(LatentSDFError, ValueError):
    """A mesh file, or a mesh, that cannot be used."""


class StoreError(LatentSDFError):
    """A sample store of another version, with other settings, or with damaged data."""


class CheckpointError(LatentSDFError):
    """A checkpoint folder that is incomplete, damaged, or does not fit the request."""


class ConfigError(LatentSDFError, ValueError):
    """A setting that is unknown or has a value outside its range."""


class EmptyLevelSetError(LatentSDFError, ValueError):
    """A field with no zero crossing in the box, so there is no surface to extract."""


class TrainingError(LatentSDFError, ArithmeticError):
    """Training produced a value that is not finite."""


class MissingExtraError(LatentSDFError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""
