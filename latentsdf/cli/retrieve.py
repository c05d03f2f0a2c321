"""`latentsdf retrieve`: training shapes nearest to a shape."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from latentsdf.cli import shape_args
from latentsdf.cli.arg_types import UNSET, OptionalPath, integer, path_list, string_list
from latentsdf.cli.common_args import InvertArgs, SpaceArgs, create_output_folder, require_png
from latentsdf.cli.parser import command, command_line
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import ConfigError
from latentsdf.utils.shape_ids import key_part

if TYPE_CHECKING:
    from latentsdf.latent.retrieval import Hits
    from latentsdf.space import CodeLike, ShapeSpace

_RESOLUTION = 128
_SIZE = 200
_QUERY = tyro.conf.create_mutex_group(required=False, title="query")


@command
class Retrieve(InvertArgs, SpaceArgs):
    """Find the training shapes nearest to a shape.

    --add, --remove and --kind modify the index for --metric, which is saved with the space.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf retrieve checkpoints/chairs --mesh new_chair.obj -k 5 --json",
        "latentsdf retrieve checkpoints/chairs --id A --rerank 50 --out rows.png",
        "latentsdf retrieve checkpoints/chairs --add fits/a fits/b --kind hnsw",
    )

    id: Annotated[str | None, _QUERY, UNSET] = None
    """Query by a training shape: id or category/id."""
    code: Annotated[Path | None, _QUERY, UNSET] = None
    """Query by a folder written by latentsdf invert, or a code.npy."""
    mesh: Annotated[Path | None, _QUERY, UNSET] = None
    """Query by a mesh or points (any file that invert accepts), which are inverted first."""
    add: Annotated[tuple[Path, ...], path_list("FIT"), UNSET] = ()
    """Add fits to the index: folders written by latentsdf invert, or code.npy files."""
    remove: Annotated[tuple[str, ...], string_list("ID"), UNSET] = ()
    """Remove the codes with these ids from the index."""
    kind: Annotated[Literal["auto", "flat", "ivf", "hnsw", "pq"] | None, UNSET] = None
    """Kind of the saved index: flat (exact), ivf (inverted lists), hnsw (a graph), pq (compressed), or auto (by the
    number of codes). By default, the index keeps its kind."""
    k: Annotated[int, integer(1), tyro.conf.arg(aliases=("-k",))] = 5
    """Number of shapes to find."""
    metric: Literal["l2", "cosine"] = "l2"
    """Distance between codes."""
    rerank: Annotated[int, integer(0)] = 0
    """Reorder this many hits by the Chamfer distance between surfaces; 0 for none."""
    augmented: bool = False
    """Also find deformed copies of training shapes."""
    out: OptionalPath = None
    """PNG of the query and its hits."""

    def run(self) -> dict[str, Any]:
        """Modify the index, search it and draw the hits; returns the hits, or the size of a modified index."""
        require_png(self.out)
        create_output_folder(self.out.parent if self.out is not None else None)
        if self.mesh is None:
            self.reject_invert_args()
        space = self.load_space()
        changed = self._change_index(space)
        if changed and self.id is None and self.code is None and self.mesh is None:
            return changed
        if self.mesh is not None:
            query: CodeLike = space.invert(self.mesh, self.inversion(space.config), assess=False)
        else:
            query = shape_args.query(space, self.id, self.code, mesh=True)
        hits = space.nearest(
            query, self.k, metric=self.metric, rerank=self.rerank, kind=self.kind, augmented=self.augmented
        )
        for rank, (name, distance) in enumerate(zip(hits.ids, hits.distances, strict=True), start=1):
            console.print(f"{rank:3d}  {name}  {distance:.4f}")
        if self.out is not None:
            _draw_hits(self.out, space, query, hits)
            console.print(f"{self.out}: the query and its hits", soft_wrap=True)
        return dataclasses.asdict(hits)

    def next_step(self, result: dict[str, Any] | None) -> str:
        """Return how to interpolate to the nearest other shape, or how to search a changed index."""
        words: tuple[object, ...] = ("retrieve", self.checkpoint, "--mesh", "MESH")
        query = self.id if self.id is not None else self.code
        others = [name for name in (result or {}).get("ids", ()) if name != query]
        if query is not None and others:
            words = ("interpolate", self.checkpoint, "--id", query, others[0], "--out", "strip.png")
        elif others:
            words = ("extract", self.checkpoint, "--id", others[0], "--out", "nearest.ply")
        return command_line("latentsdf", *words)

    def _change_index(self, space: "ShapeSpace") -> dict[str, Any] | None:
        """Remove ids from the saved index and add fits; returns its kind and size, or None if nothing is requested."""
        if not self.add and not self.remove:
            return None
        create_output_folder(space.folder, "copy the space to a folder of your own")
        names = [key_part(path.resolve().name if path.is_dir() else path.stem) for path in self.add]
        fits = [(name, shape_args.read_code(space, path)) for name, path in zip(names, self.add, strict=True)]
        added = dict(fits)
        if len(added) < len(fits):
            raise ConfigError(f"the fits to add need distinct names, got {', '.join(names)}")
        index = space.update_index(add=added, remove=self.remove, metric=self.metric, kind=self.kind)
        console.print(f"the {self.metric} index holds {len(index.ids)} codes")
        return {"kind": index.kind, "codes": len(index.ids)}


def _draw_hits(out: Path, space: "ShapeSpace", query: "CodeLike", hits: "Hits") -> None:
    from latentsdf.rendering.render import render_mesh
    from latentsdf.rendering.sheets import contact_sheet, save_png

    # All shapes are decoded from their codes in model space. Added fits are left out: some indices do not store codes.
    known = {name: distance for name, distance in zip(hits.ids, hits.distances, strict=True) if name in space.ids}
    if len(known) < len(hits.ids):
        show_note("not drawn", ", ".join(name for name in hits.ids if name not in known))
    row = [render_mesh(space.extract(space.code(one), _RESOLUTION), size=_SIZE) for one in (query, *known)]
    captions = ["query", *(f"{name} {distance:.3f}" for name, distance in known.items())]
    save_png(out, contact_sheet([row], captions=[captions]))
