"""Animations: GIF and WebP files, which repeat endlessly, and MP4 files."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import ConfigError, MissingExtraError

SUFFIXES = (".gif", ".webp", ".mp4")
"""Suffixes of animations; MP4 needs the extra `video`."""

_GIF_COLORS = 64
_WEBP_QUALITY = 85
_MP4_CRF = "18"  # constant rate factor of H.264; visually lossless


def require_encoder(path: Path) -> None:
    """Raise an error, before the frames are rendered, if an animation cannot be written.

    Raises:
        ConfigError: The suffix is not one of `SUFFIXES`.
        MissingExtraError: The suffix is .mp4, and the extra is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"animations are written as {', '.join(SUFFIXES)}, got {path}")
    if suffix == ".mp4":
        _import_av()


def save_animation(path: Path, images: Sequence[Image.Image], milliseconds: int) -> None:
    """Write an animation atomically, in the format that the suffix selects.

    Args:
        path: Output file with a suffix of `SUFFIXES`.
        images: Frames of the same size; an MP4 of an odd width or height is one pixel larger, in white.
        milliseconds: Duration of each frame.

    Raises:
        ConfigError: The suffix is not one of `SUFFIXES`.
        MissingExtraError: The suffix is .mp4, and the extra is not installed.
    """
    require_encoder(path)
    suffix = path.suffix.lower()
    with atomic_write(path) as temporary:
        if suffix == ".mp4":
            _encode_mp4(temporary, images, milliseconds)
            return
        repeated: dict[str, Any] = {"save_all": True, "duration": milliseconds, "loop": 0}
        if suffix == ".gif":
            first, *rest = (image.quantize(_GIF_COLORS) for image in images)
            first.save(temporary, format="GIF", append_images=rest, **repeated)
        else:
            first, *rest = images
            first.save(temporary, format="WEBP", append_images=rest, quality=_WEBP_QUALITY, **repeated)


def _encode_mp4(path: Path, images: Sequence[Image.Image], milliseconds: int) -> None:
    av = _import_av()
    width, height = (side + side % 2 for side in images[0].size)  # H.264 stores colors at half the resolution
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=Fraction(1000, milliseconds), options={"crf": _MP4_CRF})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in images:
            padded = Image.new("RGB", (width, height), "white")
            padded.paste(image)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(padded), format="rgb24")))
        file.mux(stream.encode())


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("MP4 files need PyAV; install it: pip install 'latentsdf[video]'") from error
    return av
