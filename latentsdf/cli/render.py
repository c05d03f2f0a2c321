"""`latentsdf render`: images of shapes."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from latentsdf.cli import shape_args
from latentsdf.cli.arg_types import UNSET, finite_float, integer, string_list
from latentsdf.cli.common_args import SpaceArgs, create_output_folder, require_png
from latentsdf.cli.parser import command, command_line
from latentsdf.utils.atomic_files import require_file_output
from latentsdf.utils.console import console
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

    from latentsdf.space import CodeLike, ShapeSpace

    Renderer = Callable[[float], Image]
    """Renders an image for an azimuth in degrees."""

_FRAMES = 24
_MILLISECONDS = 80
_SHAPES = tyro.conf.create_mutex_group(required=False, title="shapes")


@command
class Render(SpaceArgs):
    """Render shapes by sphere tracing (without OpenGL), as slices of the signed distance, or as turntables."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf render checkpoints/chairs --id A --out a.png",
        "latentsdf render checkpoints/chairs --id A B C --style normals --out sheet.png",
        "latentsdf render checkpoints/chairs --code fit/ --out turntable.gif",
        "latentsdf render checkpoints/chairs --id A --out turntable.mp4",
        "latentsdf render checkpoints/chairs --mesh chair.obj --style slice --axis x --out slice.png",
    )

    id: Annotated[tuple[str, ...] | None, string_list("ID"), _SHAPES, UNSET] = None
    """Training shapes: id or category/id. Several are arranged on a sheet."""
    code: Annotated[Path | None, _SHAPES, UNSET] = None
    """Folder written by latentsdf invert, or a code.npy."""
    mesh: Annotated[Path | None, _SHAPES, UNSET] = None
    """Mesh file to render instead, normalized like the training shapes."""
    trace: bool = False
    """Sphere-trace the signed distance of --mesh instead of intersecting rays with its faces."""
    mode: Literal["general", "fused"] = "fused"
    """Branch to render. general: the general branch only. fused: both branches."""
    style: Literal["shaded", "normals", "depth", "slice"] = "shaded"
    """Shaded surface, its normals or depth as colors, or the signed distance on a plane."""
    axis: Literal["x", "y", "z"] = "z"
    """Axis perpendicular to the plane of --style slice."""
    offset: Annotated[float, finite_float(-1, 1)] = 0.0
    """Position of the plane of --style slice on its axis, from -1 to 1."""
    size: Annotated[int, integer(2)] = 512
    """Width and height of each shape in pixels."""
    azimuth: Annotated[float, finite_float()] = 35.0
    """Direction of the camera in degrees about the vertical axis: 0 is +z, 90 is +x. Not used for a turntable."""
    elevation: Annotated[float, finite_float(-90, 90)] = 20.0
    """Angle of the camera above the horizontal plane, in degrees."""
    out: Path
    """PNG file; or GIF, WebP or MP4 (extra: video) for a turntable."""

    def run(self) -> dict[str, Any]:
        """Render and write; returns the path of the file."""
        from latentsdf.rendering import animation
        from latentsdf.rendering.sheets import render_turntable, save_png

        if self.style != "slice" and (self.axis != "z" or self.offset != 0):
            raise ConfigError("--axis and --offset apply to slices only; pass --style slice, or remove them")
        if self.trace and (self.mesh is None or self.style == "slice"):
            raise ConfigError(
                "--trace applies to images of --mesh only; shapes of the space are always traced, slices never"
            )
        turns = self.out.suffix.lower() in animation.SUFFIXES and self.style != "slice"
        if turns:
            animation.require_encoder(self.out)
            require_file_output(self.out)
        else:
            require_png(self.out)
        create_output_folder(self.out.parent)
        space = self.load_space()
        if self.mesh is not None:
            render = self._mesh_renderer(space, self.mesh)
        else:
            shapes = shape_args.queries(space, self.id, self.code, mesh=True)
            render = _sheet({name: self._shape_renderer(space, shape) for name, shape in shapes.items()})
        if turns:
            images = render_turntable(render, _FRAMES)
            animation.save_animation(self.out, images, _MILLISECONDS)
        else:
            images = [render(self.azimuth)]
            save_png(self.out, images[0])
        console.print(f"{self.out}: {images[0].width} x {images[0].height}")
        return {"out": str(self.out)}

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to write a turntable of the same shapes; nothing after one."""
        if self.style == "slice" or self.out.suffix.lower() != ".png":
            return ""
        shape: tuple[object, ...] = ("--id", *self.id) if self.id is not None else ("--mesh", self.mesh)
        shape = ("--code", self.code) if self.code is not None else shape
        return command_line("latentsdf", "render", self.checkpoint, *shape, "--out", self.out.with_suffix(".gif"))

    def _shape_renderer(self, space: "ShapeSpace", shape: "CodeLike") -> "Renderer":
        from latentsdf.rendering.render import render_field
        from latentsdf.rendering.slices import render_slice

        general = self.mode == "general"
        if self.style == "slice":
            field = space.field(shape, frame="model") if general else space.fused(shape, frame="model")
            band = None if general else space.band(shape)
            return lambda _: render_slice(
                field, band=band, device=space.device, axis=self.axis, offset=self.offset, size=self.size
            )
        traced = space.band(shape).tracing_field(space.field(shape, "general" if general else "overfit", frame="model"))
        look: dict[str, Any] = {"size": self.size, "elevation": self.elevation, "style": self.style}
        return lambda azimuth: render_field(traced, azimuth=azimuth, device=space.device, **look)

    def _mesh_renderer(self, space: "ShapeSpace", file: Path) -> "Renderer":
        import torch

        from latentsdf.geometry import mesh as meshes
        from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
        from latentsdf.rendering.render import render_field, render_mesh
        from latentsdf.rendering.slices import render_slice

        mesh, _ = meshes.normalize(meshes.clean(meshes.load(file))[0], space.normalization)
        look: dict[str, Any] = {"size": self.size, "elevation": self.elevation, "style": self.style}
        if self.style != "slice" and not self.trace:
            return lambda azimuth: render_mesh(mesh, azimuth=azimuth, fit=False, **look)
        exact = MeshDistance(mesh)

        def distance(points: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(exact(points.numpy())).float()

        if self.style == "slice":
            return lambda _: render_slice(distance, axis=self.axis, offset=self.offset, size=self.size)
        return lambda azimuth: render_field(distance, azimuth=azimuth, **look)


def _sheet(renderers: "dict[str, Renderer]") -> "Renderer":
    """Combine several renderers into a grid with captions; a single one is returned unchanged."""
    from latentsdf.rendering.sheets import contact_sheet

    names = list(renderers)
    if len(names) == 1:
        return renderers[names[0]]
    columns = math.ceil(math.sqrt(len(names)))
    rows = [names[i : i + columns] for i in range(0, len(names), columns)]
    return lambda azimuth: contact_sheet([[renderers[n](azimuth) for n in row] for row in rows], captions=rows)
