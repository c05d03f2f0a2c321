"""`latentsdf extract`: extract meshes of shapes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from latentsdf.cli import shape_args
from latentsdf.cli.arg_types import UNSET, finite_float, integer, string_list
from latentsdf.cli.common_args import DecodeArgs, SpaceArgs, create_output_folder
from latentsdf.cli.parser import command, command_line
from latentsdf.utils.console import console, show_note, track
from latentsdf.utils.errors import ConfigError, LatentSDFError, OutputError
from latentsdf.utils.output_folders import require_no_links

if TYPE_CHECKING:
    import trimesh

    from latentsdf.space import CodeLike, ShapeSpace

_OTHER_SUFFIXES = (".npz", ".onnx", ".pt2")
_SHAPES = tyro.conf.create_mutex_group(required=False, title="shapes")


@command
class Extract(DecodeArgs, SpaceArgs):
    """Extract meshes of shapes, each in the frame of the shape."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf extract checkpoints/chairs --id kenney_chair --resolution 512 --mode fused --out chair.ply",
        "latentsdf extract checkpoints/chairs --id A B C --out meshes/ --suffix .glb",
        "latentsdf extract checkpoints/chairs --all --out meshes/ --resume",
        "latentsdf extract checkpoints/chairs --code fit/ --normals --out chair.ply",
        "latentsdf extract checkpoints/chairs --id kenney_chair --resolution 128 --out chair.npz",
    )

    id: Annotated[tuple[str, ...] | None, string_list("ID"), _SHAPES, UNSET] = None
    """Training shapes: id or category/id. Several are written to the folder --out."""
    code: Annotated[Path | None, _SHAPES, UNSET] = None
    """Folder written by latentsdf invert, or a code.npy, which is extracted in model space."""
    all: Annotated[bool, _SHAPES] = False
    """Every training shape."""
    largest_component: bool = False
    """Keep only the largest connected component."""
    smallest_piece: Annotated[float, finite_float(0, 1)] = 5e-3
    """Remove connected components whose area is less than this share of the largest component's."""
    faces: Annotated[int | None, integer(4), UNSET] = None
    """Simplify to about this many faces."""
    normals: bool = False
    """Store vertex normals, computed from the field's gradient."""
    method: Literal["sparse", "skimage"] = "sparse"
    """Marching cubes: sparse evaluates the field near the surface only; skimage is scikit-image's, the
    reference, on all (resolution + 1)^3 lattice vertices, at the default resolution about 60 times as many."""
    out: Path
    """Mesh file (.ply .obj .stl .glb .off .usda .usdc), or a folder for several shapes. A .npz file holds distances on
    a lattice; an .onnx or .pt2 file computes distances from points, and from codes if no shape is given."""
    suffix: str = ".ply"
    """File suffix for several shapes; it selects the format."""
    resume: bool = False
    """Skip shapes whose mesh is already in the folder."""

    def run(self) -> dict[str, Any]:
        """Extract and write; returns the size of each mesh and the reason for each failure."""
        from latentsdf.geometry import mesh as meshes

        several = self.all or len(self.id or ()) > 1
        if not self.suffix.startswith("."):
            raise ConfigError(f"--suffix: expected a suffix with its dot, such as .ply, got '{self.suffix}'")
        if self.out.suffix.lower() in _OTHER_SUFFIXES and not several:
            return self._export()
        if self.resume and not several:
            raise ConfigError("--resume requires several shapes: pass --all or several ids, or leave it out")
        file = Path(f"shape{self.suffix}") if several else self.out
        meshes.require_writable(file)
        if self.normals and file.suffix.lower() not in meshes.SUFFIXES_WITH_NORMALS:
            raise ConfigError(
                f"{file.name}: normals can only be stored in {', '.join(meshes.SUFFIXES_WITH_NORMALS)} files"
            )
        if several and self.out.suffix.lower() in meshes.SUFFIXES:
            raise ConfigError(
                f"several shapes are written to a folder, got --out {self.out}; select the format with --suffix"
            )
        create_output_folder(self.out if several else self.out.parent)
        space = self.load_space()
        if several:
            names = space.ids if self.all else list(shape_args.queries(space, self.id, None))
            return self._extract_each(space, names)
        (shape,) = shape_args.queries(space, self.id, self.code).values()
        mesh = self._extract(space, shape)
        meshes.save(mesh, self.out)
        console.print(f"{self.out}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces")
        return {"meshes": {str(self.out): _size(mesh)}, "failed": {}}

    def _export(self) -> dict[str, Any]:
        """Write a volume or a network file; returns its size in bytes."""
        if self.resume or self.normals or self.largest_component or self.faces is not None or self.mode != "fused":
            raise ConfigError(
                f"{self.out.name}: --mode, --faces, --normals, --largest-component and --resume apply to meshes only"
            )
        create_output_folder(self.out.parent)
        space = self.load_space()
        is_given = self.id is not None or self.code is not None
        shape = shape_args.query(space, self.id[0] if self.id else None, self.code) if is_given else None
        space.export(self.out, shape, resolution=self.resolution)
        size = self.out.stat().st_size
        console.print(f"{self.out}: {size / 1e6:.1f} MB")
        return {"file": str(self.out), "bytes": size, "meshes": {}, "failed": {}}

    def exit_code(self, result: dict[str, Any] | None) -> int:
        """Return 1 if every shape failed."""
        return 1 if result and result["failed"] and not result["meshes"] else 0

    def next_step(self, result: dict[str, Any] | None) -> str:
        """Return how to measure or look at what was written."""
        if result is None or "file" in result:
            return ""
        if self.all or len(self.id or ()) > 1:
            return command_line("latentsdf", "evaluate", self.checkpoint, "--meshes", "ORIGINALS", "--out", "metrics/")
        shape = ("--code", self.code) if self.code is not None else ("--id", *(self.id or ()))
        return command_line("latentsdf", "render", self.checkpoint, *shape, "--out", self.out.with_suffix(".gif"))

    def _extract_each(self, space: "ShapeSpace", names: Sequence[str]) -> dict[str, Any]:
        """Write one file per shape; a shape that fails is reported and skipped."""
        from latentsdf.geometry import mesh as meshes

        files = {name: self.out / f"{name}{self.suffix}" for name in names}
        pending = [name for name, file in files.items() if not (self.resume and file.is_file())]
        written: dict[str, Any] = {}
        failed: dict[str, str] = {}
        with track("decoding", total=len(pending), unit="shape") as advance:
            for name in pending:
                try:
                    require_no_links(self.out, *Path(name).parent.parts)
                    mesh = self._extract(space, name)
                    meshes.save(mesh, files[name])
                    written[str(files[name])] = _size(mesh)
                except OutputError:
                    raise  # a full disk would fail all others, too
                except LatentSDFError as error:
                    failed[name] = str(error)
                    show_note("failed", f"{name}: {error}")
                advance()
        skipped = f", {len(names) - len(pending)} already existed" if len(pending) < len(names) else ""
        console.print(f"{self.out}: {len(written)} meshes{skipped}" + (f", {len(failed)} failed" if failed else ""))
        return {"meshes": written, "failed": failed}

    def _extract(self, space: "ShapeSpace", shape: "CodeLike") -> "trimesh.Trimesh":
        return space.extract(
            shape,
            self.resolution,
            self.mode,
            largest_component=self.largest_component,
            smallest_piece=self.smallest_piece,
            faces=self.faces,
            normals=self.normals,
            method=self.method,
        )


def _size(mesh: "trimesh.Trimesh") -> dict[str, int]:
    return {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
