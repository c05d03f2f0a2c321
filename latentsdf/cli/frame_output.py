"""Output of decoded codes: a PNG strip, an animation, or a folder with the codes and GLB meshes."""

from pathlib import Path
from typing import TYPE_CHECKING

from latentsdf.cli import common_args
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    import trimesh

    from latentsdf.extraction.extract import Mode
    from latentsdf.latent.code import Codes
    from latentsdf.space import ShapeSpace

_SIZE = 256
_MILLISECONDS = 120


def require_writable(out: Path) -> None:
    """Check the output path and create its folder.

    Raises:
        ConfigError: The suffix is not .png, that of an animation, or empty (a folder), or the folder cannot be created.
        MissingExtraError: The suffix is .mp4, and the extra is not installed.
    """
    from latentsdf.rendering import animation

    suffix = out.suffix.lower()
    if suffix not in (".png", "", *animation.SUFFIXES):
        moving = ", ".join(animation.SUFFIXES)
        raise ConfigError(f"frames are written to a .png (strip), {moving} (animation) or a folder, got {out}")
    if suffix in animation.SUFFIXES:
        animation.require_encoder(out)
    common_args.create_output_folder(out.parent if out.suffix else out)


def decode(space: "ShapeSpace", codes: "Codes", resolution: int, mode: "Mode") -> "list[trimesh.Trimesh]":
    """Extract a mesh in model space for each code.

    Args:
        space: The space that decodes the codes.
        codes: N shapes.
        resolution: Cells per axis.
        mode: Extraction mode.

    Returns:
        N meshes.
    """
    from latentsdf.utils.console import track

    meshes = []
    with track("decoding", total=len(codes), unit="frame") as advance:
        for code in codes:
            meshes.append(space.extract(code, resolution, mode, frame="model"))
            advance()
    return meshes


def write(out: Path, codes: "Codes", meshes: "list[trimesh.Trimesh]") -> None:
    """Write frames in the format that the suffix of the path selects; an animation plays forward, then backward.

    Args:
        out: A .png file, an animation, or a folder.
        codes: The N shapes, whose codes (N, L) are saved in a folder only.
        meshes: Their N meshes.
    """
    import numpy as np

    from latentsdf.geometry.mesh import save
    from latentsdf.rendering.animation import save_animation
    from latentsdf.rendering.render import render_mesh
    from latentsdf.rendering.sheets import contact_sheet, save_png

    suffix = out.suffix.lower()
    if not suffix:
        for older in out.glob("frame_*.glb"):
            older.unlink()  # frames of an earlier, longer path would remain
        with atomic_write(out / "codes.npy") as temporary, temporary.open("wb") as file:
            np.save(file, np.asarray(codes))
        for number, mesh in enumerate(meshes):
            save(mesh, out / f"frame_{number:03d}.glb")
        return
    # The same camera for all frames, so that only the shape changes.
    images = [render_mesh(mesh, size=_SIZE, fit=False) for mesh in meshes]
    if suffix == ".png":
        save_png(out, contact_sheet([images]))
    else:
        save_animation(out, images + images[-2:0:-1], _MILLISECONDS)
