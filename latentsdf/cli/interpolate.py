"""`latentsdf interpolate`: interpolation between shapes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from latentsdf.cli import frame_output, shape_args
from latentsdf.cli.arg_types import cells_per_axis, integer, string_list
from latentsdf.cli.common_args import DecodeArgs, SpaceArgs
from latentsdf.cli.parser import command, command_line
from latentsdf.utils.console import console


@command
class Interpolate(DecodeArgs, SpaceArgs):
    """Interpolate between shapes and write a strip of images, an animation, or meshes."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf interpolate checkpoints/chairs --id A B --steps 9 --out strip.png",
        "latentsdf interpolate checkpoints/chairs --id A B A --steps 48 --out loop.gif",
        "latentsdf interpolate checkpoints/chairs --id A fit/ --method shortest --out meshes/",
    )
    renamed: ClassVar[Mapping[str, str]] = {"--ids": "--id"}

    id: Annotated[tuple[str, ...], string_list("ID")]
    """Two or more training shapes, folders written by latentsdf invert, or code.npy files."""
    steps: Annotated[int, integer(2)] = 9
    """Number of shapes, including both ends."""
    method: Literal["linear", "spherical", "shortest", "prior"] = "linear"
    """Path of the codes: a straight line, an arc traversed at constant angular speed, the path along which the shape
    changes least, or (prior) a path through training shapes that are near each other."""
    out: Path
    """A .png file for a strip, a .gif, .webp or .mp4 (extra: video) file for an animation, or a folder for meshes and
    codes."""
    resolution: Annotated[int, cells_per_axis()] = 128
    """Cells per axis."""

    def run(self) -> dict[str, Any]:
        """Interpolate and write; returns the smoothness of the path."""
        from latentsdf.latent.interpolation import smoothness

        frame_output.require_writable(self.out)
        space = self.load_space()
        ends = [shape_args.named_code(space, name) for name in self.id]
        codes = space.interpolate(*ends, steps=self.steps, method=self.method)
        meshes = frame_output.decode(space, codes, self.resolution, self.mode)
        frame_output.write(self.out, codes, meshes)
        smooth = smoothness(meshes)
        console.print(
            f"{self.out}: {len(codes)} steps from {self.id[0]} to {self.id[-1]}; mean surface displacement "
            f"{smooth.displacement.mean():.4f} per step (coefficient of variation {smooth.variation:.2f}), components "
            + " ".join(map(str, smooth.pieces))
        )
        return {
            "out": str(self.out),
            "ids": list(self.id),
            "steps": len(codes),
            "method": self.method,
            "smoothness": smooth.as_dict(),
        }

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to write the same path in another form."""
        ids = ("interpolate", self.checkpoint, "--id", *self.id)
        if self.out.suffix.lower() == ".png":
            return command_line("latentsdf", *ids, "--steps", 48, "--out", self.out.with_suffix(".gif"))
        return command_line("latentsdf", *ids, "--method", "shortest", "--out", self.out.with_suffix(".png"))
