"""`latentsdf sample`: new shapes from the distribution of the training codes."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from latentsdf.cli import frame_output, shape_args
from latentsdf.cli.arg_types import UNSET, cells_per_axis, integer, string_list
from latentsdf.cli.common_args import DecodeArgs, SpaceArgs
from latentsdf.cli.parser import command, command_line
from latentsdf.utils.console import console
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.space import CodeLike, ShapeSpace

_CODES = tyro.conf.create_mutex_group(required=True, title="codes")


@command
class Sample(DecodeArgs, SpaceArgs):
    """Generate new shapes: the mean, random samples, principal directions, or weighted sums."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf sample checkpoints/chairs --random 8 --out new/",
        "latentsdf sample checkpoints/furniture --random 8 --category chair --out new.png",
        "latentsdf sample checkpoints/chairs --direction 0 --out direction.gif",
        "latentsdf sample checkpoints/chairs --sum 1*A -1*B 1*C --out sum.png",
    )

    mean: Annotated[bool, _CODES] = False
    """The mean shape."""
    random: Annotated[int | None, integer(1), _CODES, UNSET] = None
    """Number of shapes to draw from the distribution of the training codes."""
    direction: Annotated[int | None, integer(0), _CODES, UNSET] = None
    """Principal direction, counted from 0: five shapes from -2 to 2 standard deviations along it."""
    sum: Annotated[tuple[str, ...] | None, string_list("W*SHAPE"), _CODES, UNSET] = None
    """Weighted sum of shapes, mean + sum of weight * (code - mean), for example 1*A -1*B 1*C."""
    seed: Annotated[int, integer(0)] = 0
    """Seed of --random."""
    category: Annotated[str | None, UNSET] = None
    """Category of the shapes of --random (default: all, in the proportions of the training shapes)."""
    out: Path
    """A .png file for a strip, a .gif, .webp or .mp4 (extra: video) file for an animation, or a folder for meshes and
    codes."""
    resolution: Annotated[int, cells_per_axis()] = 128
    """Cells per axis."""

    def run(self) -> dict[str, Any]:
        """Extract the meshes and write them; returns the codes."""
        from latentsdf.latent.code import Codes

        if self.category is not None and self.random is None:
            raise ConfigError("--category would have no effect: it selects the shapes of --random")
        frame_output.require_writable(self.out)
        space = self.load_space()
        if self.mean:
            codes = Codes([space.mean()])
        elif self.random is not None:
            codes = space.sample(self.random, self.seed, self.category)
        elif self.direction is not None:
            codes = space.direction(self.direction)
        else:
            codes = Codes([space.combine(*(_parse_term(space, token) for token in self.sum or ()))])
        frame_output.write(self.out, codes, frame_output.decode(space, codes, self.resolution, self.mode))
        console.print(f"{self.out}: {len(codes)} shapes")
        return {"out": str(self.out), "shapes": len(codes), "codes": codes.tolist()}

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to get meshes, or more shapes."""
        words: tuple[object, ...] = ("--random", 8)
        if self.random is not None:
            words = ("--random", self.random, "--seed", self.seed + 1)
            words += () if self.category is None else ("--category", self.category)
        other = self.out.with_name(f"{self.out.stem}_{self.seed + 1}{self.out.suffix}")
        return command_line("latentsdf", "sample", self.checkpoint, *words, "--out", other)


def _parse_term(space: "ShapeSpace", token: str) -> "tuple[float, CodeLike]":
    text, star, name = token.partition("*")
    if not star:
        raise ConfigError(f"{token}: expected WEIGHT*SHAPE, such as -1*{token}")
    try:
        weight = float(text)
    except ValueError as error:
        raise ConfigError(f"{token}: expected a number as the weight before *") from error
    if not math.isfinite(weight):
        raise ConfigError(f"{token}: the weight must be a finite number, got {text}")
    return weight, shape_args.named_code(space, name)
