"""Codes as pictures or meshes: a PNG strip, an animated GIF, or a folder of codes and GLB files."""

from pathlib import Path
from typing import TYPE_CHECKING

from latentsdf.cli import common_args
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import trimesh

    from latentsdf.extraction.extract import Mode
    from latentsdf.space import ShapeSpace

_SIZE = 256
_MILLISECONDS = 120


def require_writable(out: Path) -> None:
    """ConfigError for a suffix that is neither a picture's nor a folder's, and for a folder that cannot be made."""
    if out.suffix.lower() not in (".png", ".gif", ""):
        raise ConfigError(f"frames are written as .png (a strip), .gif (an animation) or into a folder, got {out}")
    common_args.require_folder(out.parent if out.suffix else out)


def decode(space: "ShapeSpace", codes: "np.ndarray", resolution: int, mode: "Mode") -> "list[trimesh.Trimesh]":
    """A mesh in model space for each code (N, L)."""
    from latentsdf.utils.console import track

    meshes = []
    with track("decoding", total=len(codes), unit="frame") as advance:
        for code in codes:
            meshes.append(space.extract(code, resolution, mode))
            advance()
    return meshes


def write(out: Path, codes: "np.ndarray", meshes: "list[trimesh.Trimesh]") -> None:
    """Write by suffix; an animation runs forth and back."""
    import numpy as np

    from latentsdf.geometry.mesh import save
    from latentsdf.rendering.render import render_mesh
    from latentsdf.rendering.sheets import contact_sheet, save_gif

    suffix = out.suffix.lower()
    if not suffix:
        for older in out.glob("frame_*.glb"):
            older.unlink()  # of a longer path some would stay between these
        np.save(out / "codes.npy", codes)
        for number, mesh in enumerate(meshes):
            save(mesh, out / f"frame_{number:03d}.glb")
        return
    # One camera for all, so that what moves is the shape.
    pictures = [render_mesh(mesh, size=_SIZE, fit=False) for mesh in meshes]
    if suffix == ".png":
        contact_sheet([pictures]).save(out)
    else:
        save_gif(out, pictures + pictures[-2:0:-1], _MILLISECONDS)
