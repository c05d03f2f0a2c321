"""`latentsdf sample`: new shapes from the distribution of the training codes."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from latentsdf.cli import frame_output, shape_args
from latentsdf.cli.arg_types import UNSET, cells_per_axis, texts, whole
from latentsdf.cli.common_args import Decoding, OnSpace
from latentsdf.cli.parser import command
from latentsdf.utils.console import console
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.space import CodeLike, ShapeSpace

_CODES = tyro.conf.create_mutex_group(required=True, title="codes")


@command
class Sample(Decoding, OnSpace):
    """Make shapes in no training set: the mean, random shapes, principal directions, sums."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf sample checkpoints/chairs --random 8 --out new/",
        "latentsdf sample checkpoints/chairs --direction 0 --out direction.gif",
        "latentsdf sample checkpoints/chairs --sum 1*A -1*B 1*C --out sum.png",
    )

    mean: Annotated[bool, _CODES] = False
    """The mean shape."""
    random: Annotated[int | None, whole(1), _CODES, UNSET] = None
    """This many shapes drawn from the distribution of the training codes."""
    direction: Annotated[int | None, whole(0), _CODES, UNSET] = None
    """-2 to 2 standard deviations along this principal direction, counted from 0."""
    sum: Annotated[tuple[str, ...] | None, texts("W*SHAPE"), _CODES, UNSET] = None
    """mean + sum of weight * (code - mean), for example 1*A -1*B 1*C."""
    seed: Annotated[int, whole(0)] = 0
    """Seed of --random."""
    out: Path
    """strip.png, animation.gif, or a folder for meshes and codes."""
    resolution: Annotated[int, cells_per_axis()] = 128
    """Cells per axis."""

    def run(self) -> dict[str, Any]:
        """Decode and write; returns the codes."""
        frame_output.require_writable(self.out)
        space = self.load_space()
        if self.mean:
            codes = space.mean()[None]
        elif self.random is not None:
            codes = space.sample(self.random, self.seed)
        elif self.direction is not None:
            codes = space.direction(self.direction)
        else:
            codes = space.combine(*(_term(space, word) for word in self.sum or ()))[None]
        frame_output.write(self.out, codes, frame_output.decode(space, codes, self.resolution, self.mode))
        console.print(f"{self.out}: {len(codes)} shapes")
        return {"out": str(self.out), "shapes": len(codes), "codes": codes.tolist()}


def _term(space: "ShapeSpace", word: str) -> "tuple[float, CodeLike]":
    text, star, name = word.partition("*")
    if not star:
        raise ConfigError(f"{word}: a term is WEIGHT*SHAPE, such as -1*{word}")
    try:
        weight = float(text)
    except ValueError as error:
        raise ConfigError(f"{word}: the part before * is a weight, a number") from error
    if not math.isfinite(weight):
        raise ConfigError(f"{word}: a weight is a finite number, got {text}")
    return weight, shape_args.named_code(space, name)
