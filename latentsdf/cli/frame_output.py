"""Output of interpolations and samples: a PNG strip, an animated GIF, or a folder of codes and GLB files."""

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
    """Create the output folder; raise ConfigError for other suffixes than .png and .gif."""
    if out.suffix.lower() not in (".png", ".gif", ""):
        raise ConfigError(f"frames are written as .png (a strip), .gif (an animation) or into a folder, got {out}")
    common_args.require_folder(out.parent if out.suffix else out)


def decode(space: "ShapeSpace", codes: "np.ndarray", resolution: int, mode: "Mode") -> "list[trimesh.Trimesh]":
    """Extract one mesh per code (N, L), in model space."""
    from latentsdf.utils.console import track

    meshes = []
    with track("decoding", total=len(codes), unit="frame") as advance:
        for code in codes:
            meshes.append(space.extract(code, resolution, mode))
            advance()
    return meshes


def write(out: Path, codes: "np.ndarray", meshes: "list[trimesh.Trimesh]") -> None:
    """Write in the format of the suffix; an animation plays forward and backward."""
    import numpy as np

    from latentsdf.geometry.mesh import save
    from latentsdf.rendering.render import render_mesh
    from latentsdf.rendering.sheets import contact_sheet, save_gif

    suffix = out.suffix.lower()
    if not suffix:
        for older in out.glob("frame_*.glb"):
            older.unlink()  # A longer earlier path has more frames.
        np.save(out / "codes.npy", codes)
        for number, mesh in enumerate(meshes):
            save(mesh, out / f"frame_{number:03d}.glb")
        return
    # One camera for all frames, so that only the shape changes.
    pictures = [render_mesh(mesh, size=_SIZE, fit=False) for mesh in meshes]
    if suffix == ".png":
        contact_sheet([pictures]).save(out)
    else:
        save_gif(out, pictures + pictures[-2:0:-1], _MILLISECONDS)
