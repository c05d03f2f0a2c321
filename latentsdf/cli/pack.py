"""`latentsdf pack`: write a small copy of a space for sharing."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from latentsdf.cli.arg_types import UNSET, integer, string_list
from latentsdf.cli.common_args import CardArgs, SpaceArgs
from latentsdf.cli.parser import command
from latentsdf.utils.console import console

_KEPT = tyro.conf.create_mutex_group(required=False, title="shapes")


@command
class Pack(CardArgs, SpaceArgs):
    """Write a small copy of a space for sharing, with a model card.

    Rows of the feature grid that training never reached, and the state of the optimizer, are left out. Every command
    reads the copy, but training cannot resume in it.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf pack checkpoints/chairs --out chairs --half --license cc-by-4.0",
        "latentsdf pack checkpoints/furniture --out furniture --half --grid-bits 5 --keep 500",
    )

    out: Path
    """Folder of the copy."""
    half: bool = False
    """Round weights and codes to float16; the effect on distances and surfaces is measured."""
    grid_bits: Annotated[int | None, integer(2), UNSET] = None
    """Round the grid to integers and compress them; the step is the spread of a channel times 2^(3 - bits), 2 to 8."""
    keep: Annotated[int | None, integer(1), _KEPT, UNSET] = None
    """Number of training shapes whose codes are kept, spread over the categories (default: all). The distribution of
    all codes is kept, so that sampling and inversion do not change."""
    ids: Annotated[tuple[str, ...] | None, string_list("ID"), _KEPT, UNSET] = None
    """Training shapes whose codes are kept: id or category/id."""
    overwrite: bool = False
    """Replace the space in --out."""

    def run(self) -> dict[str, Any]:
        """Write the copy; returns its size by part and the changes by rounding."""
        from latentsdf.sharing.pack import rounding_of

        space = self.load_space()
        options = {"half": self.half, "grid_bits": self.grid_bits or 0, "keep": self.keep, "ids": self.ids}
        written = space.save_packed(self.out, **options, overwrite=self.overwrite, **self.card_options())
        sizes = {name: size for name, size in written["bytes"].items() if size}
        for name, size in sizes.items():
            console.print(f"{name:>9}  {size:12,} bytes")
        if self.half or self.grid_bits:
            console.print(rounding_of({"packing": written}) or "the effect of rounding was not measured: no surface")
        console.print(f"{self.out}: {written['shapes']} of {len(space)} shapes")
        return {"out": str(self.out)} | written
